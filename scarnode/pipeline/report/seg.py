"""The segmentation as DICOM Segmentation objects."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    SegmentationFractionalTypeValues,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.seg import (
    Segmentation as SegmentationObject,
)
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import format_number_as_ds

from scarnode.dicom.uids import derived_uid
from scarnode.pipeline.report import codes, common
from scarnode.pipeline.report.model import Provenance
from scarnode.pipeline.report.source import instances, is_multi_frame, reference_to, stand_in_index, stand_ins
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.stack.model import Stack

_BINARY = {"segmentation_type": SegmentationTypeValues.BINARY}
_WHOLE_BYTES = {
    "segmentation_type": SegmentationTypeValues.FRACTIONAL,
    "fractional_type": SegmentationFractionalTypeValues.OCCUPANCY,
    "max_fractional_value": 1,
}
_LABELMAP = {"segmentation_type": SegmentationTypeValues.LABELMAP}
_PROBABILITY = {
    "segmentation_type": SegmentationTypeValues.FRACTIONAL,
    "fractional_type": SegmentationFractionalTypeValues.PROBABILITY,
    "max_fractional_value": 255,
}


def build_seg(stack: Stack, segmentation: Segmentation, header: Dataset, provenance: Provenance) -> Dataset:
    """Write the labels as one Segmentation with a segment per tissue.

    The SEG is BINARY, one bit per voxel, where a frame is a whole number of bytes. Else (251 x 253, for example) a
    frame begins in the middle of a byte (PS3.5 section 8.1.1), and OHIF shows torn and displaced masks without a
    warning. Then the same masks are written as FRACTIONAL OCCUPANCY of 0 or 1, one byte per voxel (docs/viewers.md).

    A slice on another pixel grid is outlined on the stack's grid. Its frames have their own position there, and their
    reference to the source image has SpatialLocationsPreserved NO.

    Every frame of the stack is written for every segment, also where it is empty. So viewers that count frames can not
    shift masks, and a segment without a voxel is present.

    Parameters
    ----------
    stack : Stack
    segmentation : Segmentation
        Labels of shape (slices, rows, columns) on the stack's grid. Segment numbers are the values of `Tissue`.
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Segmentation Storage, explicit VR little endian. Frames reference the real source frames.
    """
    form = _BINARY if stack.rows * stack.columns % 8 == 0 else _WHOLE_BYTES
    return _build(stack, segmentation, common.SEG, segmentation.labels, form, header, provenance)


def build_labelmap(stack: Stack, segmentation: Segmentation, header: Dataset, provenance: Provenance) -> Dataset:
    """Write the labels as one LABELMAP Segmentation: a frame per slice, one byte per voxel.

    Every pixel value needs an item in SegmentSequence (PS3.3 section C.8.20.2), also the background, which
    PixelPaddingValue names. highdicom writes that item first; here it is last. cornerstone3D before its change 2882
    (OHIF 3.13.2 has an older one) counts the items, and would show each segment in the colour of the one before.

    Parameters
    ----------
    stack, segmentation, header, provenance
        As `build_seg`.

    Returns
    -------
    pydicom.Dataset
        Label Map Segmentation Storage (DICOM Supplement 243), explicit VR little endian.
    """
    return _build(stack, segmentation, common.LABELMAP, segmentation.labels, _LABELMAP, header, provenance)


def build_probability(stack: Stack, segmentation: Segmentation, header: Dataset, provenance: Provenance) -> Dataset:
    """Write the probability of scar as one FRACTIONAL Segmentation with one segment, one byte per voxel.

    Parameters
    ----------
    stack, segmentation, header, provenance
        As `build_seg`; the segmentation must have its `scar_probability`.

    Returns
    -------
    pydicom.Dataset
        Segmentation Storage, SegmentationFractionalType PROBABILITY, MaximumFractionalValue 255.
    """
    if segmentation.scar_probability is None:
        raise ValueError("the segmentation has no probability of scar")
    pixels = segmentation.scar_probability.astype(np.float32) / 255
    return _build(stack, segmentation, common.PROBABILITY, pixels, _PROBABILITY, header, provenance)


def _build(
    stack: Stack,
    segmentation: Segmentation,
    kind: common.Kind,
    pixels: np.ndarray,
    form: Mapping[str, Any],
    header: Dataset,
    provenance: Provenance,
) -> Dataset:
    model = segmentation.model
    if kind is common.PROBABILITY:
        segments = [_describe(Tissue.SCAR, stack, model, number=1, label="LV scar probability")]
        label, description = "LGE_SCAR_PROB", "Probability of LGE scar"
    else:
        segments = [_describe(tissue, stack, model) for tissue in codes.SEGMENTS]
        label, description = "LGE_SCAR", "LGE scar, normal myocardium, LV blood pool"
    dataset = SegmentationObject(
        source_images=stand_ins(stack, header),
        pixel_array=pixels,
        segment_descriptions=segments,
        series_instance_uid=common.series_uid(kind, provenance),
        series_number=kind.series_number,
        sop_instance_uid=common.instance_uid(kind, provenance),
        instance_number=1,
        omit_empty_frames=False,
        content_label=label,
        content_description=description,
        content_creator_name="scarnode^",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        **form,
        **common.equipment(model, provenance),
    )
    if kind is common.LABELMAP:
        background, *tissues = dataset.SegmentSequence
        dataset.SegmentSequence = [*tissues, background]
    _state_depth(dataset, stack)
    _name_sources(dataset, stack)
    _name_dimensions(dataset, kind, provenance)
    return common.finish(dataset, kind, header, stack, model, provenance)


def _describe(
    tissue: Tissue, stack: Stack, model: ModelIdentity, number: int | None = None, label: str | None = None
) -> SegmentDescription:
    segment = codes.SEGMENTS[tissue]
    label = label or segment.label
    return SegmentDescription(
        segment_number=number or int(tissue),
        segment_label=label,
        segmented_property_category=segment.category,
        segmented_property_type=segment.type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=model.name[:64],
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=model.version[:64],
            source=common.MANUFACTURER,
            parameters={"model_sha256": model.sha256},
        ),
        tracking_uid=common.tracking_uid(stack, label),
        tracking_id=label,
        anatomic_regions=[codes.LEFT_VENTRICLE],
        primary_anatomic_structures=[segment.structure] if segment.structure else None,
        display_color=CIELabColor.from_rgb(*segment.rgb),
    )


def _state_depth(dataset: Dataset, stack: Stack) -> None:
    """Set the depth of a single slice to the one that it is measured with; highdicom writes 1 mm."""
    if len(stack.frames) == 1:
        measures = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        depth = float(stack.slice_extents[0])
        if depth > 0:
            measures.SpacingBetweenSlices = format_number_as_ds(depth)
        elif "SpacingBetweenSlices" in measures:
            del measures.SpacingBetweenSlices


def _name_sources(dataset: Dataset, stack: Stack) -> None:
    """Replace the references to the stand-ins by those to the real frames, series by series."""
    references = [
        item.DerivationImageSequence[0].SourceImageSequence[0] for item in dataset.PerFrameFunctionalGroupsSequence
    ]
    # highdicom shares one reference between the segments of a slice: first look all up, then rename
    frames = [stack.frames[stand_in_index(reference.ReferencedSOPInstanceUID)] for reference in references]
    for reference, frame in zip(references, frames, strict=True):
        reference.ReferencedSOPClassUID = frame.sop_class_uid
        reference.ReferencedSOPInstanceUID = frame.sop_instance_uid
        if is_multi_frame(frame):
            reference.ReferencedFrameNumber = frame.frame_number
        if frame.grid is not None:
            reference.SpatialLocationsPreserved = "NO"

    dataset.SourceImageSequence = [reference_to(frame, stack) for frame in instances(stack)]
    series = []
    for series_uid in stack.series_instance_uids:
        item = Dataset()
        item.SeriesInstanceUID = series_uid
        item.ReferencedInstanceSequence = [
            reference_to(frame) for frame in instances(stack) if frame.series_instance_uid == series_uid
        ]
        series.append(item)
    dataset.ReferencedSeriesSequence = series


def _name_dimensions(dataset: Dataset, kind: common.Kind, provenance: Provenance) -> None:
    """Return the dimension organisation a UID that is the same every time."""
    uid = derived_uid(provenance.job_key, kind.name, "dimensions")
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid
