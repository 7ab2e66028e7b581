"""The measurements, or why there are none, as a DICOM Comprehensive 3D SR, template TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from highdicom.sr import (
    Comprehensive3DSR,
    MeasurementReport,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from scarnode.pipeline.measure import Measurements, segment_map
from scarnode.pipeline.report import codes, common, observers
from scarnode.pipeline.report.measurement_groups import Group, Groups
from scarnode.pipeline.report.model import Provenance
from scarnode.pipeline.report.source import evidence
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation
from scarnode.pipeline.stack.model import Flag, Stack

INCOMPLETE_FLAGS = frozenset({Flag.MISSING_SLICE, Flag.FEW_SLICES, Flag.CONFLICTING_CONTENT})
"""With one of these the numbers speak of a part of the ventricle only."""


def build_sr(
    stack: Stack,
    segmentation: Segmentation,
    measurements: Measurements,
    seg: Dataset,
    header: Dataset,
    provenance: Provenance,
) -> Dataset:
    """Write the measurements as one measurement report.

    One TID 1411 group per segment of the SEG; TID 1501 groups for the myocardium as a whole, every slice, each of the
    17 segments, every threshold method, and the run (status and provenance).

    Parameters
    ----------
    stack : Stack
    segmentation : Segmentation
    measurements : Measurements
    seg : pydicom.Dataset
        What was measured: from `scarnode.pipeline.report.seg.build_seg`, or
        `scarnode.pipeline.report.observers.referenced_seg`.
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Comprehensive 3D SR Storage, explicit VR little endian.
    """
    wall = segment_map(stack, segmentation.labels, segmentation.right_ventricle) if measurements.segments else None
    make = Groups(stack, segmentation.labels, segmentation.model, provenance, wall)
    status = run_status(stack, measurements)
    flags = _flags(stack, segmentation.flags)
    groups = [
        *make.tissues(measurements, late_enhancement(measurements), seg),
        *map(make.slice, measurements.slices),
        *map(make.wall_segment, measurements.segments),
        *map(make.threshold, measurements.by_threshold),
        make.run(status, flags, measurements),
    ]
    dataset = _document(groups, status, [*evidence(stack, header), seg], stack, segmentation.model, provenance)
    if status != codes.SUCCEEDED:
        dataset.CompletionFlagDescription = flags[:64]
    return common.finish(dataset, common.SR, header, stack, segmentation.model, provenance)


def build_failure_sr(
    stack: Stack, reason: str, model: ModelIdentity, header: Dataset, provenance: Provenance
) -> Dataset:
    """Write that a stack could not be analysed, and why: the run alone, beside the middle of the middle image.

    Parameters
    ----------
    stack : Stack
    reason : str
        For a person; without patient data.
    model : ModelIdentity
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        As `build_sr`, PARTIAL.
    """
    nothing = np.broadcast_to(np.uint8(0), (len(stack.frames), stack.rows, stack.columns))
    run = Groups(stack, nothing, model, provenance).run(codes.FAILED, _flags(stack, ()), reason=reason)
    dataset = _document([run], codes.FAILED, evidence(stack, header), stack, model, provenance)
    dataset.CompletionFlagDescription = "The analysis failed"
    return common.finish(dataset, common.SR, header, stack, model, provenance)


def run_status(stack: Stack, measurements: Measurements) -> Code:
    """Judge the analysis: failed without myocardium, partial where part of the ventricle is not in the images."""
    if measurements.lge_percent is None:
        return codes.FAILED
    return codes.PARTIALLY_SUCCEEDED if INCOMPLETE_FLAGS & set(stack.flags) else codes.SUCCEEDED


def late_enhancement(measurements: Measurements) -> Code:
    """Late enhancement present or absent; undetermined where no myocardium was found."""
    if measurements.lge_percent is None:
        return codes.UNDETERMINED
    return codes.PRESENT if measurements.scar_volume > 0 else codes.ABSENT


def _document(
    groups: Sequence[Group],
    status: Code,
    sources: Sequence[Dataset],
    stack: Stack,
    model: ModelIdentity,
    provenance: Provenance,
) -> Dataset:
    """Put measurement groups into a document, TID 1500."""
    # highdicom copies and searches the whole tree several times: it gets the shortest group, all of them go in below
    shortest = min(groups, key=lambda group: len(group[0].ContentSequence))
    report = MeasurementReport(
        observation_context=observers.observers(model, provenance),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=[shortest],
        title=codes.IMAGING_MEASUREMENT_REPORT,
    )
    dataset = Comprehensive3DSR(
        evidence=sources,
        content=report,
        series_instance_uid=common.series_uid(common.SR, provenance),
        series_number=common.SR.series_number,
        sop_instance_uid=common.instance_uid(common.SR, provenance),
        instance_number=1,
        is_complete=status == codes.SUCCEEDED,
        previous_versions=_predecessors(stack, provenance),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        coding_schemes=[codes.private_scheme()],
        **common.equipment(model, provenance),
    )
    dataset.ContentSequence[-1].ContentSequence[:] = [group[0] for group in groups]
    return dataset


def _predecessors(stack: Stack, provenance: Provenance) -> list[Dataset] | None:
    """Return the report that this one revises, for PredecessorDocumentsSequence."""
    if provenance.predecessor is None:
        return None
    dataset = Dataset()
    dataset.SOPClassUID = Comprehensive3DSRStorage
    dataset.StudyInstanceUID = stack.study_instance_uid
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = provenance.predecessor
    return [dataset]


def _flags(stack: Stack, more: Sequence[str]) -> str:
    """List the flags of a stack and `more`."""
    return ", ".join([*(flag.value for flag in stack.flags), *more]) or "none"
