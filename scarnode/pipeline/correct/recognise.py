"""Decides whether a received Segmentation is a correction, and of which stack. Only its header is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from scarnode.dicom.part10 import read
from scarnode.dicom.values import read_value
from scarnode.pipeline.correct.outline import Plane, listed_instances, planes
from scarnode.pipeline.report.codes import SEGMENTS, TISSUE
from scarnode.pipeline.report.model import Origin
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.stack import Stack
from scarnode.util.errors import name_of, raise_system_fault

NEEDED = (Tissue.BLOOD, Tissue.MYOCARDIUM)
"""Tissues without whose segment nothing is measured. Scar may be missing: see `Corrected`."""

_DIRECTION = 1e-3
"""Largest difference of a direction cosine between a SEG frame and its stack."""
_SIZE = 0.01
"""Largest relative difference of the pixel spacing."""
_PLACE = 0.1
"""Largest distance between a SEG frame's first pixel and its image's, in pixels."""


class NoCorrectionError(Exception):
    """Why a Segmentation makes no result.

    Attributes
    ----------
    reason : str
        A code of `scarnode.pipeline.stack.REASONS`.
    detail : str
        For an admin; without patient data.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


def find_corrected_stack(path: Path, stacks: Sequence[Stack]) -> Stack:
    """Find the stack that a Segmentation corrects.

    It must carry this node's segment codes (`scarnode.pipeline.report.codes.SEGMENTS`, by SegmentedPropertyType), a
    person must
    have had a hand in it (SegmentAlgorithmType), and its frames must lie on the pixels of one stack, in any order;
    empty ones may be missing.

    Parameters
    ----------
    path : Path
    stacks : sequence of Stack
        The study's.

    Returns
    -------
    Stack

    Raises
    ------
    NoCorrectionError
    SystemFaultError
        The machine could not read it.
    """
    try:
        seg = read(path)
        origin, frames, listed = read_origin(seg), planes(seg), listed_instances(seg)
    except NoCorrectionError:
        raise
    except Exception as error:  # whatever the parser meets is a fact about the file
        raise_system_fault(error, path.name)
        detail = f"its header can not be understood ({name_of(error)})"
        raise NoCorrectionError("CORRECTION_REFUSED", detail) from error
    numbers = set(origin.segments.values())
    frames = [frame for frame in frames if frame.segment is None or frame.segment in numbers]
    stack = _stack_of(frames, listed, stacks)
    _check_complete(origin)
    _check_slices(frames, listed, stack)
    for frame in frames:
        _check_grid(frame, int(seg.Rows), int(seg.Columns), stack)
    return stack


def read_origin(seg: Dataset) -> Origin:
    """Read who made a Segmentation, and which of its segments are which tissue.

    Raises
    ------
    NoCorrectionError
        No segment is a myocardium or a scar by its code, or no person had a hand in it.
    """
    items = [(item, tissue_of(item)) for item in seg.SegmentSequence]
    ours = [(item, tissue) for item, tissue in items if tissue is not None]
    if not {tissue for _, tissue in ours} & {Tissue.MYOCARDIUM, Tissue.SCAR}:
        others = ", ".join(sorted({_code_of(item) for item, _ in items}))
        raise NoCorrectionError("FOREIGN_SEG", f"its segments are other findings: {others[:200]}")
    types = {str(item.get("SegmentAlgorithmType", "")) for item, _ in ours}
    if types == {"AUTOMATIC"}:
        raise NoCorrectionError("AUTOMATIC_SEG", "SegmentAlgorithmType is AUTOMATIC in every segment")
    twice = [tissue for tissue, count in Counter(tissue for _, tissue in ours).items() if count > 1]
    if twice:
        raise NoCorrectionError("CORRECTION_REFUSED", f"two segments are coded as {_names(twice)}: merge them into one")
    return Origin(
        str(seg.SOPClassUID),
        str(seg.SOPInstanceUID),
        str(seg.SeriesInstanceUID),
        {tissue: int(item.SegmentNumber) for item, tissue in ours},
        types == {"MANUAL"},
        read_value(seg, "ContentCreatorName").text,
        str(seg.get("ContentDate") or ""),
    )


def tissue_of(item: Dataset) -> Tissue | None:
    """Return the tissue of a segment by its coded property type.

    OHIF 3.13 writes "Tissue" as the type of every segment and drops what stood there. Such a code says nothing, so
    the label decides then, if it is exactly one of ours.
    """
    kind = (item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()])[0]
    code = Code(str(kind.get("CodeValue", "")), str(kind.get("CodingSchemeDesignator", "")), "")
    if not code.value or code == TISSUE:
        label = str(item.get("SegmentLabel", "")).strip()
        return next((tissue for tissue, own in SEGMENTS.items() if own.label == label), None)
    return next((tissue for tissue, own in SEGMENTS.items() if own.type == code), None)


def _code_of(item: Dataset) -> str:
    kinds = item.get("SegmentedPropertyTypeCodeSequence") or [Dataset()]
    return f"{kinds[0].get('CodeValue', '?')} {kinds[0].get('CodingSchemeDesignator', '?')}"


def _stack_of(frames: Sequence[Plane], listed: set[str], stacks: Sequence[Stack]) -> Stack:
    """Choose the stack that shares images with the SEG."""
    named = {uid for frame in frames for uid, _ in frame.sources} | listed
    if not named:
        raise NoCorrectionError("CORRECTION_REFUSED", "it names no image that it was drawn on")
    shared = [sum(frame.sop_instance_uid in named for frame in stack.frames) for stack in stacks]
    if not any(shared):
        detail = f"none of the {len(named)} images it names is part of an analysed stack here"
        raise NoCorrectionError("CORRECTION_WAITS", detail)
    return stacks[int(np.argmax(shared))]


def _check_complete(origin: Origin) -> None:
    missing = [tissue for tissue in NEEDED if tissue not in origin.segments]
    if missing:
        detail = f"the segment {_names(missing)} is missing: send all segments in one SEG"
        raise NoCorrectionError("CORRECTION_REFUSED", detail)


def _check_slices(frames: Sequence[Plane], listed: set[str], stack: Stack) -> None:
    """Check that every frame is drawn on the stack, and that the reader had every image of the stack."""
    images = {frame.sop_instance_uid for frame in stack.frames}
    drawn = {uid for frame in frames for uid, _ in frame.sources}
    if not all(frame.sources for frame in frames):
        raise NoCorrectionError("CORRECTION_REFUSED", "a frame does not say on which image it was drawn")
    elsewhere = drawn - images
    if elsewhere:
        detail = f"{len(elsewhere)} of its images are no part of the stack that it outlines most of"
        raise NoCorrectionError("CORRECTION_REFUSED", detail)
    unseen = images - drawn - listed
    if unseen and listed:
        detail = f"drawn on {len(images) - len(unseen)} of the stack's {len(images)} images: correct the newest result"
        raise NoCorrectionError("CORRECTION_REFUSED", detail)


def _check_grid(plane: Plane, rows: int, columns: int, stack: Stack) -> None:
    """Check that a frame lies on the pixels of its image: a resampled mask is not what the reader drew."""
    if (rows, columns) != (stack.rows, stack.columns):
        detail = f"its frames have {rows} x {columns} pixels, the images {stack.rows} x {stack.columns}"
        raise NoCorrectionError("CORRECTION_REFUSED", detail)
    if plane.position is None:
        raise NoCorrectionError("CORRECTION_REFUSED", "a frame does not say where it lies (no ImagePositionPatient)")
    steps = np.array([np.linalg.norm(plane.along_column), np.linalg.norm(plane.along_row)])
    if not np.all(np.abs(steps - stack.pixel_spacing) <= _SIZE * np.array(stack.pixel_spacing)):
        raise NoCorrectionError("CORRECTION_REFUSED", "its PixelSpacing is not the images'")
    directions = np.concatenate([plane.along_row / steps[1], plane.along_column / steps[0]])
    if np.abs(directions - stack.orientation).max() > _DIRECTION:
        detail = "its ImageOrientationPatient is not the images' (turned or mirrored)"
        raise NoCorrectionError("CORRECTION_REFUSED", detail)
    own = [frame for frame in stack.frames if _drawn_on(plane.sources, frame.sop_instance_uid, frame.frame_number)]
    if not own:
        raise NoCorrectionError("CORRECTION_REFUSED", "a frame is drawn on an image frame that was not analysed")
    apart = min(float(np.linalg.norm(plane.position - frame.position)) for frame in own)
    if apart > _PLACE * min(stack.pixel_spacing):
        detail = f"a frame lies {apart:.1f} mm from the image that it names"
        raise NoCorrectionError("CORRECTION_REFUSED", detail)


def _drawn_on(sources: Iterable[tuple[str, int | None]], uid: str, number: int) -> bool:
    return any(own == uid and index in (None, number) for own, index in sources)


def _names(tissues: Iterable[Tissue]) -> str:
    return " and ".join(SEGMENTS[tissue].label for tissue in tissues)
