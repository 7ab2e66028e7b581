"""A DICOM Segmentation as masks on the grid of a stack, wherever and however its own frames lie."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from scarnode.dicom.part10 import read
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.stack import Stack
from scarnode.util.errors import InputError, raise_system_fault

Meaning = Callable[[Dataset], int | None]
"""Returns what an item of SegmentSequence outlines; 0 or None: nothing of interest."""
_OFF_PLANE = 1.0
"""mm between a SEG frame and the slice it outlines."""
_MAX_PIXELS = 1 << 29
"""In all frames of a SEG: eight segments on the largest stack that is analysed. Each takes a byte to read."""
_TILT = 2.0
"""Degrees between their planes."""


@dataclass(frozen=True)
class Plane:
    """Where one frame of a SEG lies, and what it was drawn on.

    Attributes
    ----------
    segment : int or None
        Number of the segment it belongs to; None in a LABELMAP, whose frames hold them all.
    position : numpy.ndarray or None
        Centre of the first pixel, LPS, mm; None where the frame does not state it.
    along_row, along_column : numpy.ndarray
        Step from one column to the next, and from one row to the next, LPS, mm.
    sources : tuple of (str, int or None)
        SOP Instance UID and frame number of the images it was drawn on.
    """

    segment: int | None
    position: np.ndarray | None
    along_row: np.ndarray
    along_column: np.ndarray
    sources: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True)
class Frame:
    """What one frame of a SEG outlines.

    Attributes
    ----------
    mask : numpy.ndarray
        bool, (rows, columns).
    meaning : int
        As `Meaning` gave it.
    plane : Plane
    """

    mask: np.ndarray
    meaning: int
    plane: Plane


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
        """Return the stack whose images it names most often, else the first that it lies on; None where there is
        none.
        """
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
        placed: list[tuple[Frame, int, float]] = []
        lost: list[tuple[Frame, None, float]] = []
        normal = stack.normal
        depths = np.array([frame.position for frame in stack.frames]) @ normal
        for frame in self.frames:
            slice_number, distance = self._slice_of(frame, stack, normal, depths)
            if slice_number is None:
                lost.append((frame, None, distance))
            else:
                placed.append((frame, slice_number, distance))
        for frame, slice_number, distance in sorted(placed, key=lambda entry: entry[2]):
            key = (frame.meaning, slice_number)
            if distance <= nearest.setdefault(key, distance) + 0.05:  # of a finer SEG the frame nearest to the slice
                masks[frame.meaning][slice_number] |= _on_slice(frame, stack, slice_number)
        self._check_lost(lost, len(placed), stack)
        return masks

    def _slice_of(self, frame: Frame, stack: Stack, normal: np.ndarray, depths: np.ndarray) -> tuple[int | None, float]:
        """Slice that a frame outlines and its distance from it, mm; no slice where it lies on none."""
        plane = frame.plane
        named = [
            number
            for number, own in enumerate(stack.frames)
            if any(uid == own.sop_instance_uid and index in (None, own.frame_number) for uid, index in plane.sources)
        ]
        if plane.position is None:
            resampled = any(stack.frames[number].grid is not None for number in named)
            if len(named) != 1 or resampled or frame.mask.shape != (stack.rows, stack.columns):
                todo = "export the SEG with its plane positions"
                raise InputError("a frame does not say where it lies", self.where, todo)
            return named[0], 0.0
        its_normal = np.cross(plane.along_row, plane.along_column)
        cosine = abs(float(its_normal @ normal)) / np.linalg.norm(its_normal)
        if cosine < np.cos(np.radians(_TILT)):
            return None, float("inf")
        rows, columns = frame.mask.shape
        middle = plane.position + plane.along_row * (columns - 1) / 2 + plane.along_column * (rows - 1) / 2
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
        depths = [frame.plane.position @ stack.normal for frame in self.frames if frame.plane.position is not None]
        steps = np.diff(np.unique(np.round(depths, 2))) if depths else np.array([])
        finer = len(steps) and np.median(steps) <= 0.5 * np.median(stack.slice_extents)
        if off and not (finer and placed):
            far = f"{min(off):.1f} mm from the nearest slice" if np.isfinite(min(off)) else "in another plane"
            raise InputError(
                f"{len(off)} of its frames lie on no slice of the stack ({far})",
                self.where,
                "put the series that the SEG was drawn on beside it, whole",
            )


def read_seg(path: Path, meaning: Meaning) -> Outline:
    """Read a BINARY, FRACTIONAL (from one half) or LABELMAP Segmentation.

    Raises
    ------
    InputError
        It can not be read, or `meaning` does not understand a segment.
    """
    try:
        seg = read(path, pixels=True)  # highdicom refuses SEGs that lack an attribute, also one that is not needed here
        meanings = {int(item.SegmentNumber): meaning(item) for item in seg.SegmentSequence}
        wanted = {number: int(own) for number, own in meanings.items() if own}
        frames = _frames(seg, wanted)
        references = listed_instances(seg) | {uid for plane in planes(seg) for uid, _ in plane.sources}
        frame_of_reference = str(seg.get("FrameOfReferenceUID", ""))
    except InputError:
        raise
    except Exception as error:  # any error of the parsers is reported with the file's name
        raise_system_fault(error, path.name)
        why = f"{type(error).__name__}: {error}".splitlines()[0][:120]
        raise InputError(f"the SEG can not be read ({why})", path.name, "export it again") from error
    return Outline(path.name, frame_of_reference, frozenset(wanted.values()), frames, frozenset(references))


def merge_masks(masks: Mapping[int, np.ndarray]) -> np.ndarray:
    """Labels of one stack (uint8, values of `Tissue`) from masks by meaning; other meanings are left out.

    Of blood and myocardium the larger is drawn first, because an epicardial outline contains the endocardial one, and
    an outline of the whole ventricle contains its myocardium. Scar is drawn last.
    """
    label = np.zeros(next(iter(masks.values())).shape, np.uint8)
    pair = [key for key in (Tissue.BLOOD, Tissue.MYOCARDIUM) if key in masks]
    for key in sorted(pair, key=lambda key: -int(masks[key].sum())):
        label[masks[key]] = key
    if Tissue.SCAR in masks:
        label[masks[Tissue.SCAR]] = Tissue.SCAR
    return label


def planes(seg: Dataset) -> list[Plane]:
    """Where each frame of a SEG lies, in their order; pixels need not be there."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    return [_plane(own, shared) for own in seg.PerFrameFunctionalGroupsSequence]


def listed_instances(seg: Dataset) -> set[str]:
    """SOP Instance UIDs in ReferencedSeriesSequence: all images a SEG was drawn on, outlined or not."""
    return {
        str(instance.ReferencedSOPInstanceUID)
        for series in seg.get("ReferencedSeriesSequence", [])
        for instance in series.get("ReferencedInstanceSequence", [])
    }


def _plane(own: Dataset, shared: Dataset) -> Plane:
    position = _item(own, shared, "PlanePositionSequence")
    orientation = _item(own, shared, "PlaneOrientationSequence")
    measures = _item(own, shared, "PixelMeasuresSequence")
    identification = _item(own, shared, "SegmentIdentificationSequence")
    number = None if identification is None else int(identification.ReferencedSegmentNumber)
    sources = tuple(_sources(own, shared))
    if position is None:
        return Plane(number, None, np.zeros(3), np.zeros(3), sources)
    if orientation is None or measures is None:
        raise InputError(
            "a frame of the SEG has a position, but no orientation or no pixel size", "", "export it again"
        )
    cosines = np.array(orientation.ImageOrientationPatient, np.float64)
    between_rows, between_columns = (float(size) for size in measures.PixelSpacing)
    start = np.array(position.ImagePositionPatient, np.float64)
    return Plane(number, start, cosines[:3] * between_columns, cosines[3:] * between_rows, sources)


def _frames(seg: Dataset, meanings: Mapping[int, int]) -> tuple[Frame, ...]:
    """All frames that outline something of what is wanted."""
    size = int(seg.get("NumberOfFrames") or 1) * seg.Rows * seg.Columns
    if size > _MAX_PIXELS:
        raise InputError(f"the SEG has {size} pixels, {_MAX_PIXELS} at most", "", "send a SEG of one stack")
    pixels = np.asarray(seg.pixel_array)
    pixels = pixels if pixels.ndim == 3 else pixels[None]
    half = 0.5 * float(seg.get("MaximumFractionalValue", 1)) if seg.SegmentationType == "FRACTIONAL" else 0.5
    frames = []
    for plane, stored in zip(planes(seg), pixels, strict=True):
        if seg.SegmentationType == "LABELMAP":
            frames += [Frame(stored == number, meaning, plane) for number, meaning in meanings.items()]
        elif plane.segment is not None and plane.segment in meanings:
            frames.append(Frame(stored >= half, meanings[plane.segment], plane))
    return tuple(frames)


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
    plane = frame.plane
    if plane.position is None:
        return frame.mask
    along_row = np.array(stack.orientation[:3]) * stack.pixel_spacing[1]
    along_column = np.array(stack.orientation[3:]) * stack.pixel_spacing[0]
    start = np.array(stack.frames[slice_number].position) - plane.position
    rows, columns = np.indices((stack.rows, stack.columns))
    # In the frame's own steps; its two directions are at right angles.
    at = []
    for axis in (plane.along_column, plane.along_row):
        unit = axis / (axis @ axis)
        at.append(np.rint(start @ unit + rows * (along_column @ unit) + columns * (along_row @ unit)).astype(int))
    inside = (at[0] >= 0) & (at[0] < frame.mask.shape[0]) & (at[1] >= 0) & (at[1] < frame.mask.shape[1])
    mask = np.zeros((stack.rows, stack.columns), bool)
    mask[inside] = frame.mask[at[0][inside], at[1][inside]]
    return mask
