"""The segmentation as a DICOM Segmentation object."""

from __future__ import annotations

from highdicom import AlgorithmIdentificationSequence
from highdicom.color import CIELabColor
from highdicom.seg import (
    SegmentAlgorithmTypeValues,
    SegmentationTypeValues,
    SegmentDescription,
)
from highdicom.seg import (
    Segmentation as SegmentationObject,
)
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian

from scarnode.report import codes, stamp
from scarnode.report.model import Provenance
from scarnode.report.source import instances, is_multi_frame, stand_in_index, stand_ins
from scarnode.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.stack.model import SourceFrame, Stack
from scarnode.uids import derived_uid


def build_seg(stack: Stack, segmentation: Segmentation, header: Dataset, provenance: Provenance) -> Dataset:
    """Write the labels as one BINARY Segmentation with a segment per tissue.

    Every frame of the stack is written for every segment, empty or not: viewers that count frames can not shift
    masks, and a segment without a voxel is still there to say so.

    Parameters
    ----------
    stack : Stack
    segmentation : Segmentation
        Labels of shape (slices, rows, columns) on the stack's grid. Segment numbers are the values of `Tissue`.
    header : pydicom.Dataset
        From `scarnode.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Segmentation Storage, explicit VR little endian. Frames reference the real source frames.
    """
    model = segmentation.model
    dataset = SegmentationObject(
        source_images=stand_ins(stack, header),
        pixel_array=segmentation.labels,
        segmentation_type=SegmentationTypeValues.BINARY,
        segment_descriptions=[_describe(tissue, stack, model) for tissue in codes.SEGMENTS],
        series_instance_uid=stamp.series_uid(stamp.SEG, provenance),
        series_number=stamp.SEG.series_number,
        sop_instance_uid=stamp.instance_uid(stamp.SEG, provenance),
        instance_number=1,
        omit_empty_frames=False,
        content_label="LGE_SCAR",
        content_description="LGE scar, normal myocardium, LV blood pool",
        content_creator_name="scarnode^",
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        **stamp.equipment(model, provenance),
    )
    _name_sources(dataset, stack)
    _name_dimensions(dataset, provenance)
    return stamp.finish(dataset, stamp.SEG, header, stack, model, provenance)


def _describe(tissue: Tissue, stack: Stack, model: ModelIdentity) -> SegmentDescription:
    segment = codes.SEGMENTS[tissue]
    return SegmentDescription(
        segment_number=int(tissue),
        segment_label=segment.label,
        segmented_property_category=segment.category,
        segmented_property_type=segment.type,
        algorithm_type=SegmentAlgorithmTypeValues.AUTOMATIC,
        algorithm_identification=AlgorithmIdentificationSequence(
            name=model.name[:64],
            family=codes.ARTIFICIAL_INTELLIGENCE,
            version=model.version[:64],
            source=stamp.MANUFACTURER,
            parameters={"model_sha256": model.sha256},
        ),
        tracking_uid=stamp.tracking_uid(stack, segment.label),
        tracking_id=segment.label,
        anatomic_regions=[codes.LEFT_VENTRICLE],
        primary_anatomic_structures=[segment.structure] if segment.structure else None,
        display_color=CIELabColor.from_rgb(*segment.rgb),
    )


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

    dataset.SourceImageSequence = [_instance_item(frame, stack) for frame in instances(stack)]
    series = []
    for series_uid in stack.series_instance_uids:
        item = Dataset()
        item.SeriesInstanceUID = series_uid
        item.ReferencedInstanceSequence = [
            _instance_item(frame) for frame in instances(stack) if frame.series_instance_uid == series_uid
        ]
        series.append(item)
    dataset.ReferencedSeriesSequence = series


def _instance_item(frame: SourceFrame, stack: Stack | None = None) -> Dataset:
    """Reference an instance; with the stack given, also which of its frames were used."""
    item = Dataset()
    item.ReferencedSOPClassUID = frame.sop_class_uid
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    if stack is not None and is_multi_frame(frame):
        item.ReferencedFrameNumber = sorted(
            other.frame_number for other in stack.frames if other.sop_instance_uid == frame.sop_instance_uid
        )
    return item


def _name_dimensions(dataset: Dataset, provenance: Provenance) -> None:
    """Give the dimension organisation a UID that is the same every time."""
    uid = derived_uid(provenance.job_key, stamp.SEG.name, "dimensions")
    dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID = uid
    for index in dataset.DimensionIndexSequence:
        index.DimensionOrganizationUID = uid
