"""The report page, and how it becomes a Secondary Capture."""

from __future__ import annotations

import numpy as np
from highdicom import UID
from highdicom.sc import SCImage
from PIL import Image
from pydicom.dataset import Dataset

from scarnode.pipeline.measure.model import Measurements
from scarnode.pipeline.report import bullseye, common
from scarnode.pipeline.report.bullseye import draw_bullseye
from scarnode.pipeline.report.model import Provenance
from scarnode.pipeline.report.page_header import draw_header, draw_provenance, draw_reason
from scarnode.pipeline.report.panels import draw_flags, draw_methods, draw_numbers, draw_slices_table
from scarnode.pipeline.report.style import GAP, INNER, MARGIN, beside, stacked
from scarnode.pipeline.report.texts import describe_flags
from scarnode.pipeline.report.tiles import draw_slices
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation
from scarnode.pipeline.stack.model import Stack


def draw_sheet(
    stack: Stack,
    volume: np.ndarray,
    segmentation: Segmentation,
    measurements: Measurements,
    header: Dataset,
    provenance: Provenance,
) -> Image.Image:
    """Draw the report page.

    Parameters
    ----------
    stack : Stack
    volume : numpy.ndarray
        float32, shape (slices, rows, columns).
    segmentation : Segmentation
    measurements : Measurements
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    PIL.Image.Image
        RGB, 1400 pixels wide.
    """
    panels = [draw_header(stack, header), draw_numbers(measurements)]
    flags = describe_flags(stack, segmentation)
    slices = draw_slices(stack, volume, segmentation, measurements)
    if measurements.lge_percent is None:
        panels += [draw_flags(flags, INNER), slices]
    else:
        rest = INNER - bullseye.WIDTH - GAP
        reader = "Corrected by a person" if provenance.correction else f"CNN ({segmentation.model.name})"
        lists = stacked([draw_methods(measurements, reader, rest), draw_flags(flags, rest)])
        unseen = segmentation.right_ventricle is None
        reason = "direction of the right ventricle not seen" if unseen else "these slices do not tell the segments"
        seventeen = draw_bullseye(measurements.segments, reason)
        panels += [beside([seventeen, lists]), slices, draw_slices_table(measurements.slices)]
    return stacked([*panels, draw_provenance(stack, segmentation.model, provenance)], margin=MARGIN)


def draw_failure(stack: Stack, header: Dataset, provenance: Provenance, reason: str) -> Image.Image:
    """Draw the page of an analysis that failed: patient, reason, provenance, no numbers.

    Parameters
    ----------
    stack : Stack
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.
    provenance : Provenance
    reason : str
        What went wrong and what to do; may have several lines.

    Returns
    -------
    PIL.Image.Image
        RGB, 1400 pixels wide.
    """
    return stacked(
        [draw_header(stack, header), draw_reason(reason), draw_provenance(stack, None, provenance)], margin=MARGIN
    )


def capture(page: Image.Image, stack: Stack, model: ModelIdentity, header: Dataset, provenance: Provenance) -> Dataset:
    """Write a page as Secondary Capture.

    Parameters
    ----------
    page : PIL.Image.Image
        RGB, of `draw_sheet` or `draw_failure`.
    stack : Stack
    model : ModelIdentity
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Secondary Capture Image Storage, explicit VR little endian, with BurnedInAnnotation YES.
    """
    dataset: Dataset = SCImage(
        pixel_array=np.asarray(page),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        patient_orientation=("L", "P"),
        study_instance_uid=stack.study_instance_uid,
        series_instance_uid=common.series_uid(common.SC, provenance),
        series_number=common.SC.series_number,
        sop_instance_uid=UID(common.instance_uid(common.SC, provenance)),
        instance_number=1,
        study_date=header.StudyDate or None,
        study_time=header.StudyTime or None,
        specific_character_set="ISO_IR 192",
        **common.equipment(model, provenance),
    )
    dataset.PatientOrientation = None  # a page has none; the attribute is type 2C
    dataset.ImageType = ["DERIVED", "SECONDARY", "CONTACT_SHEET"]
    dataset.ConversionType = "WSD"
    dataset.BurnedInAnnotation = "YES"
    made_at = common.local_time(header, provenance)
    dataset.DateOfSecondaryCapture = made_at.strftime("%Y%m%d")
    dataset.TimeOfSecondaryCapture = made_at.strftime("%H%M%S.%f")
    return common.finish(dataset, common.SC, header, stack, model, provenance)
