"""A DICOM Segmentation as masks on the grid of a stack, wherever and however its own frames lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from scarnode.errors import InputError
from scarnode.lab.readers.labels import KNOWN, LEGEND, meaning_of
from scarnode.segment.heart import RIGHT_VENTRICLE
from scarnode.segment.model import Tissue
from scarnode.stack import Stack

_CODES: tuple[tuple[Code, int], ...] = (
    (Code("12402003", "SCT", "Scar"), Tissue.SCAR),
    (Code("22298006", "SCT", "Myocardial infarction"), Tissue.SCAR),
    (Code("55641003", "SCT", "Infarct"), Tissue.SCAR),
    (Code("112674009", "SCT", "Fibrosis"), Tissue.SCAR),
    (Code("49848007", "SCT", "Myocardium of left ventricle"), Tissue.MYOCARDIUM),
    (Code("74281007", "SCT", "Myocardium"), Tissue.MYOCARDIUM),
    (Code("87612001", "SCT", "Blood"), Tissue.BLOOD),
    (Code("53085002", "SCT", "Right ventricle"), RIGHT_VENTRICLE),
)
"""Segmented property types (SNOMED CT); pydicom compares retired SRT codes as their SCT successors."""
_OFF_PLANE = 1.0
"""mm between a SEG frame and the slice it outlines."""
_TILT = 2.0
"""Degrees between their planes."""


@dataclass(frozen=True)
class Frame:
    """One frame of a SEG.

    Attributes
    ----------
    mask : numpy.ndarray
        bool, (rows, columns).
    meaning : int
        Value of `Tissue`, or `RIGHT_VENTRICLE`.
    position : numpy.ndarray or None
        Centre of the first pixel, LPS, mm; None where the frame does not tell.
    along_row, along_column : numpy.ndarray
        Step from one column to the next, and from one row to the next, LPS, mm.
    sources : tuple of (str, int or None)
        SOP Instance UID and frame number of the images it was drawn on.
    """

    mask: np.ndarray
    meaning: int
    position: np.ndarray | None
    along_row: np.ndarray
    along_column: np.ndarray
    sources: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Outline:
    """A SEG that was read, ready to be laid on a stack.

    Attributes
    ----------
    where : str
        The file's name, for messages.
    frame_of_reference : str
    meanings : frozenset of int
        What its segments outline, also where they are empty.
    frames : tuple of Frame
    instances : frozenset of str
        SOP Instance UIDs of all images it names.
    """

    where: str
    frame_of_reference: str
    meanings: frozenset[int]
    frames: tuple[Frame, ...]
    instances: frozenset[str]

    def best_of(self, stacks: Sequence[Stack]) -> Stack | None:
        """The stack whose images it names most often, else the first that it lies on; None where there is none."""
        named = [sum(frame.sop_instance_uid in self.instances for frame in stack.frames) for stack in stacks]
        if any(named):
            return stacks[int(np.argmax(named))]
        for stack in stacks:
            if stack.frame_of_reference_uid == self.frame_of_reference:
                try:
                    self.on(stack)
                except InputError:
                    continue
                return stack
        return None

    def on(self, stack: Stack) -> dict[int, np.ndarray]:
        """Masks by meaning, bool, (slices, rows, columns) of the stack.

        Frames are placed by the image they name, and by their geometry; never by their order.

        Raises
        ------
        InputError
            A frame lies elsewhere than the image it names, or where no slice of the stack is.
        """
        shape = (len(stack.frames), stack.rows, stack.columns)
        masks = {meaning: np.zeros(shape, bool) for meaning in self.meanings}
        nearest: dict[tuple[int, int], float] = {}
        placed, lost = [], []
        normal = stack.normal
        depths = np.array([frame.position for frame in stack.frames]) @ normal
        for frame in self.frames:
            slice_number, distance = self._slice_of(frame, stack, normal, depths)
            (placed if slice_number is not None else lost).append((frame, slice_number, distance))
        for frame, slice_number, distance in sorted(placed, key=lambda entry: entry[2]):
            key = (frame.meaning, slice_number)
            if distance <= nearest.setdefault(key, distance) + 0.05:  # of a finer SEG the frame nearest to the slice
                masks[frame.meaning][slice_number] |= _on_slice(frame, stack, slice_number)
        self._check_lost(lost, len(placed), stack)
        return masks

    def _slice_of(self, frame: Frame, stack: Stack, normal: np.ndarray, depths: np.ndarray) -> tuple[int | None, float]:
        """Slice that a frame outlines and its distance from it, mm; no slice where it lies on none."""
        named = [
            number
            for number, own in enumerate(stack.frames)
            if any(uid == own.sop_instance_uid and index in (None, own.frame_number) for uid, index in frame.sources)
        ]
        if frame.position is None:
            if len(named) != 1 or frame.mask.shape != (stack.rows, stack.columns):
                todo = "export the SEG with its plane positions"
                raise InputError("a frame does not say where it lies", self.where, todo)
            return named[0], 0.0
        its_normal = np.cross(frame.along_row, frame.along_column)
        cosine = abs(float(its_normal @ normal)) / np.linalg.norm(its_normal)
        if cosine < np.cos(np.radians(_TILT)):
            return None, float("inf")
        rows, columns = frame.mask.shape
        middle = frame.position + frame.along_row * (columns - 1) / 2 + frame.along_column * (rows - 1) / 2
        distances = np.abs(middle @ normal - depths)
        best = int(distances.argmin())
        if len(named) == 1 and distances[named[0]] > _OFF_PLANE:
            raise InputError(
                f"a frame lies {distances[named[0]]:.1f} mm from the image it names",
                self.where,
                "export the SEG again: its geometry and its references do not agree",
            )
        if len(named) == 1:
            best = named[0]
        return (best if distances[best] <= _OFF_PLANE else None), float(distances[best])

    def _check_lost(self, lost: Sequence[tuple[Frame, None, float]], placed: int, stack: Stack) -> None:
        """Frames off every slice are well where the SEG is finer than the stack, and a fault where it is not."""
        off = [distance for frame, _, distance in lost if frame.mask.any()]
        depths = [frame.position @ stack.normal for frame in self.frames if frame.position is not None]
        steps = np.diff(np.unique(np.round(depths, 2))) if depths else np.array([])
        finer = len(steps) and np.median(steps) <= 0.5 * np.median(stack.slice_extents)
        if off and not (finer and placed):
            far = f"{min(off):.1f} mm from the nearest slice" if np.isfinite(min(off)) else "in another plane"
            raise InputError(
                f"{len(off)} of its frames lie on no slice of the stack ({far})",
                self.where,
                "put the series that the SEG was drawn on beside it, whole",
            )


def read_seg(path: Path, legend: Mapping[str, int]) -> Outline:
    """Read a BINARY, FRACTIONAL (from one half) or LABELMAP Segmentation.

    Raises
    ------
    InputError
        It can not be read, or what a segment outlines is not understood.
    """
    try:
        seg = dcmread(path)  # highdicom would refuse many SEGs that lack an attribute nobody needs here
        pixels = _stored_frames(seg)
        frames, references = _frames(seg, pixels, _meanings(seg, path.name, legend))
        frame_of_reference = str(seg.get("FrameOfReferenceUID", ""))
    except InputError:
        raise
    except Exception as error:  # whatever the parsers meet, the reader learns which file it was
        why = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise InputError(f"the SEG can not be read ({why})", path.name, "export it again") from error
    meanings = frozenset(frame.meaning for frame in frames) | {
        meaning for meaning in _meanings(seg, path.name, legend).values() if meaning
    }
    return Outline(path.name, frame_of_reference, meanings, frames, references)


def _stored_frames(seg: Dataset) -> np.ndarray:
    pixels = np.asarray(seg.pixel_array)
    return pixels if pixels.ndim == 3 else pixels[None]


def _meanings(seg: Dataset, where: str, legend: Mapping[str, int]) -> dict[int, int]:
    """Meaning by segment number. What labels.json says counts first, then the segment's name, then its coded type."""
    meanings = {}
    for item in seg.SegmentSequence:
        label = str(item.get("SegmentLabel", "")).strip()
        meaning = legend.get(label.lower())
        if meaning is None:
            meaning = meaning_of(label)
        for kind in item.get("SegmentedPropertyTypeCodeSequence", [])[:1] if meaning is None else []:
            code = Code(str(kind.get("CodeValue", "")), str(kind.get("CodingSchemeDesignator", "")), "")
            meaning = next((own for known, own in _CODES if known == code), None)
        if meaning is None:
            raise InputError(
                f"segment {label!r} is not understood",
                where,
                f'say in {LEGEND}, in the folder of the cases, what it is, as {{"{label}": "background"}}; one of: '
                f"{KNOWN}",
            )
        meanings[int(item.SegmentNumber)] = int(meaning)
    return meanings


def _frames(seg: Dataset, pixels: np.ndarray, meanings: Mapping[int, int]) -> tuple[tuple[Frame, ...], frozenset[str]]:
    """All frames that outline something of the heart, and the SOP Instance UIDs of all images named anywhere."""
    kind = str(seg.SegmentationType)
    full = float(seg.get("MaximumFractionalValue", 1))
    shared = seg.SharedFunctionalGroupsSequence[0]
    frames = []
    instances = {
        str(instance.ReferencedSOPInstanceUID)
        for series in seg.get("ReferencedSeriesSequence", [])
        for instance in series.get("ReferencedInstanceSequence", [])
    }
    for own, stored in zip(seg.PerFrameFunctionalGroupsSequence, pixels, strict=True):
        position = _item(own, shared, "PlanePositionSequence")
        orientation = _item(own, shared, "PlaneOrientationSequence")
        measures = _item(own, shared, "PixelMeasuresSequence")
        along_row = along_column = np.zeros(3)
        if position is not None:
            cosines = np.array(orientation.ImageOrientationPatient, float)
            between_rows, between_columns = (float(size) for size in measures.PixelSpacing)
            along_row, along_column = cosines[:3] * between_columns, cosines[3:] * between_rows
            position = np.array(position.ImagePositionPatient, float)
        sources = tuple(_sources(own, shared))
        instances |= {uid for uid, _ in sources}
        for meaning, mask in _masks(own, shared, stored, kind, full, meanings):
            if meaning:
                frames.append(Frame(mask, meaning, position, along_row, along_column, sources))
    return tuple(frames), frozenset(instances)


def _masks(
    own: Dataset, shared: Dataset, stored: np.ndarray, kind: str, full: float, meanings: Mapping[int, int]
) -> list[tuple[int, np.ndarray]]:
    if kind == "LABELMAP":
        return [(meaning, stored == number) for number, meaning in meanings.items()]
    number = int(_item(own, shared, "SegmentIdentificationSequence").ReferencedSegmentNumber)
    mask = stored >= 0.5 * full if kind == "FRACTIONAL" else stored > 0
    return [(meanings[number], mask)]


def _sources(own: Dataset, shared: Dataset) -> list[tuple[str, int | None]]:
    derivation = _item(own, shared, "DerivationImageSequence")
    images = derivation.get("SourceImageSequence", []) if derivation is not None else []
    found: list[tuple[str, int | None]] = []
    for image in images:
        numbers = image.get("ReferencedFrameNumber")
        numbers = [None] if numbers is None else np.atleast_1d(numbers).tolist()
        found += [(str(image.ReferencedSOPInstanceUID), None if n is None else int(n)) for n in numbers]
    return found


def _item(own: Dataset, shared: Dataset, keyword: str) -> Dataset | None:
    """First item of a functional group: the frame's own, else the shared one."""
    for group in (own, shared):
        sequence = group.get(keyword)
        if sequence:
            return sequence[0]
    return None


def _on_slice(frame: Frame, stack: Stack, slice_number: int) -> np.ndarray:
    """Look up each pixel of a slice in a frame (the nearest pixel; nothing beyond the frame's edge)."""
    if frame.position is None:
        return frame.mask
    along_row = np.array(stack.orientation[:3]) * stack.pixel_spacing[1]
    along_column = np.array(stack.orientation[3:]) * stack.pixel_spacing[0]
    start = np.array(stack.frames[slice_number].position) - frame.position
    rows, columns = np.indices((stack.rows, stack.columns))
    # In the frame's own steps; its two directions are at right angles.
    at = []
    for axis in (frame.along_column, frame.along_row):
        unit = axis / (axis @ axis)
        at.append(np.rint(start @ unit + rows * (along_column @ unit) + columns * (along_row @ unit)).astype(int))
    inside = (at[0] >= 0) & (at[0] < frame.mask.shape[0]) & (at[1] >= 0) & (at[1] < frame.mask.shape[1])
    mask = np.zeros((stack.rows, stack.columns), bool)
    mask[inside] = frame.mask[at[0][inside], at[1][inside]]
    return mask
