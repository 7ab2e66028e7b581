"""The results of the search: a short-axis LGE stack, and a reason for every series that is none."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

import numpy as np

from scarnode.util.errors import SystemFaultError

Vector = tuple[float, float, float]
"""A point or direction in the DICOM patient coordinate system (LPS), millimetres for points."""


MAX_VOXELS = 1 << 26
"""The most that one stack may have: a float32 volume of 256 MiB, forty slices of 1295 x 1295."""


class Component(str, Enum):
    """Which image of the complex signal a series shows."""

    MAGNITUDE = "magnitude"
    PSIR = "psir"


class Verdict(str, Enum):
    """The verdict on a series."""

    ACCEPTED = "accepted"
    REVIEW = "review"
    """Perhaps LGE: not processed, a person may decide."""
    REJECTED = "rejected"


class Flag(str, Enum):
    """Something about a stack that a reader of its result must know."""

    FEW_SLICES = "FEW_SLICES"
    """One or two slices only."""
    MISSING_SLICE = "MISSING_SLICE"
    """A gap of 1.8 to 2.2 times the median distance."""
    UNEQUAL_SPACING = "UNEQUAL_SPACING"
    PSIR_ONLY = "PSIR_ONLY"
    """No magnitude image came; the phase-sensitive one was analysed."""
    REPEATED_SLICE = "REPEATED_SLICE"
    """A location was imaged again; the latest image was used."""
    MOCO_ONLY = "MOCO_ONLY"
    """Only a motion-corrected, averaged series came."""
    CONFLICTING_CONTENT = "CONFLICTING_CONTENT"
    """Two different images came under one SOP Instance UID; neither was used."""
    IDENTITY_CHANGED = "IDENTITY_CHANGED"
    """The images came with another name, identifier or accession number than before, or do not agree in them."""
    IDENTITY_INCOMPLETE = "IDENTITY_INCOMPLETE"
    """Some values of patient or study in the images are not valid: they are empty in the results."""
    RESAMPLED_SLICE = "RESAMPLED_SLICE"
    """A slice came on another pixel grid than the others and was resampled to theirs."""
    FRAMES_OF_REFERENCE = "FRAMES_OF_REFERENCE"
    """The slices name several frames of reference; they were taken to share one space."""
    LOSSY = "LOSSY"
    """Of a slice only a lossily compressed image came."""


@dataclass(frozen=True)
class PixelGrid:
    """Where the pixels of one image lie; LPS, mm.

    Attributes
    ----------
    rows, columns : int
    pixel_spacing : tuple of float
        Distance between rows and between columns.
    orientation : tuple of 6 float
        As `Stack.orientation`.
    position : Vector
        Centre of the first pixel.
    """

    rows: int
    columns: int
    pixel_spacing: tuple[float, float]
    orientation: tuple[float, float, float, float, float, float]
    position: Vector


@dataclass(frozen=True)
class SourceFrame:
    """One image of a stack: a single-frame instance, or one frame of an Enhanced MR instance.

    Attributes
    ----------
    path : Path
        The DICOM file.
    sop_class_uid, sop_instance_uid, series_instance_uid : str
        What the file says of itself.
    frame_number : int
        Counted from 1, as in DICOM; 1 for a single-frame instance.
    position : Vector
        Centre of the first voxel of the stack's grid in this slice, LPS, mm: ImagePositionPatient where `grid` is None.
    grid : PixelGrid or None
        The image's own pixels, where they are not those of the stack: it is resampled.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    frame_number: int
    position: Vector
    grid: PixelGrid | None = None


@dataclass(frozen=True)
class Stack:
    """A short-axis LGE stack of one study, ordered base to apex. Holds no pixels: see `read_volume`.

    Attributes
    ----------
    study_instance_uid, frame_of_reference_uid : str
    component : Component
    description : str
        SeriesDescription of its first series. May hold free text: never log it.
    rows, columns : int
    pixel_spacing : tuple of float
        Distance between rows and between columns, mm (DICOM's PixelSpacing).
    orientation : tuple of 6 float
        ImageOrientationPatient shared by all frames: direction along a row (increasing column
        index), then along a column (increasing row index), LPS.
    slice_thickness : float or None
        mm, as the header states it.
    spacing_between_slices : float or None
        mm, as the header states it; used only where the positions can not tell (one slice).
    frames : tuple of SourceFrame
        Base to apex.
    flags : tuple of Flag
    identity_frame : int
        Index of the frame whose header gives patient and study: the one that came last, where they differ.
    left_empty : tuple of str
        Keywords of values in that header that no result can copy (`scarnode.dicom.values`).
    """

    study_instance_uid: str
    frame_of_reference_uid: str
    component: Component
    description: str
    rows: int
    columns: int
    pixel_spacing: tuple[float, float]
    orientation: tuple[float, float, float, float, float, float]
    slice_thickness: float | None
    spacing_between_slices: float | None
    frames: tuple[SourceFrame, ...]
    flags: tuple[Flag, ...] = ()
    identity_frame: int = 0
    left_empty: tuple[str, ...] = ()

    @property
    def series_instance_uids(self) -> tuple[str, ...]:
        """The series the frames come from, in order of first use."""
        return tuple(dict.fromkeys(frame.series_instance_uid for frame in self.frames))

    @property
    def normal(self) -> np.ndarray:
        """Unit normal of the planes, shape (3,), LPS, pointing from apex to base for an ordered stack."""
        row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        normal = np.cross(row, column)
        normal /= np.linalg.norm(normal)
        if len(self.frames) > 1:
            apex_to_base = np.subtract(self.frames[0].position, self.frames[-1].position)
            normal = normal if normal @ apex_to_base >= 0 else -normal
        return normal

    @property
    def slice_extents(self) -> np.ndarray:
        """Depth of myocardium that each slice stands for, shape (n,), mm.

        Centre-to-centre distance from the positions: half the distance to each neighbour, the whole
        distance to the only neighbour at the ends. A single slice takes its stated spacing, else its thickness.
        """
        if len(self.frames) == 1:
            return np.array([self.spacing_between_slices or self.slice_thickness or 0.0])
        depth = np.array([frame.position for frame in self.frames]) @ self.normal
        gaps = np.abs(np.diff(depth))
        return (np.concatenate([gaps[:1], gaps]) + np.concatenate([gaps, gaps[-1:]])) / 2


@dataclass(frozen=True)
class SeriesVerdict:
    """Why a series is, or is not, part of a stack.

    Attributes
    ----------
    study_instance_uid, series_instance_uid : str
    verdict : Verdict
    reason : str
        A code from `scarnode.pipeline.stack.lge.REASONS`, e.g. ``CINE`` or ``LGE_SHORT_AXIS``.
    detail : str
        One sentence with the values that decided (no patient data).
    score : int
        Evidence for late enhancement; 0 where a hard rejection came first.
    instances : int
        Number of instances the verdict speaks of.
    description, modality : str
        SeriesDescription and Modality, for an admin's table. Never log the description.
    """

    study_instance_uid: str
    series_instance_uid: str
    verdict: Verdict
    reason: str
    detail: str
    score: int
    instances: int
    description: str = ""
    modality: str = ""


@dataclass(frozen=True)
class StackSearch:
    """What was found in a set of files.

    Attributes
    ----------
    stacks : tuple of Stack
    series : tuple of SeriesVerdict
        One for every series that was seen (several verdicts where a series was split, e.g. magnitude and phase).
    unreadable : tuple of (Path, str)
        Files that are not usable DICOM, each with what is wrong.
    system_faults : tuple of (Path, SystemFaultError)
        Those of them that the machine could not read: what is found without them is not the whole.
    """

    stacks: tuple[Stack, ...]
    series: tuple[SeriesVerdict, ...]
    unreadable: tuple[tuple[Path, str], ...] = ()
    system_faults: tuple[tuple[Path, SystemFaultError], ...] = ()
