"""A series cut into parts that one verdict fits: one component of the signal, one plane."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from scarnode.pipeline.stack import geometry
from scarnode.pipeline.stack.copies import annotated, reformatted
from scarnode.pipeline.stack.grid import centres
from scarnode.pipeline.stack.headers import SUPPORTED, Frame
from scarnode.pipeline.stack.names import normalise
from scarnode.pipeline.stack.rules import Rules

MAGNITUDE, PSIR, REAL, PHASE, IMAGINARY = "magnitude", "psir", "real", "phase", "imaginary"

_PHASE_TYPES = frozenset({"P", "PHASE", "PHASE MAP", "PHASE_MAP"})
_PSIR_TYPES = frozenset({"CR", "CR_IR", "PSIR"})
_REAL_TYPES = frozenset({"R", "R_IR", "REAL"})
_IMAGINARY_TYPES = frozenset({"I", "I_IR", "IMAGINARY"})
_MAGNITUDE_TYPES = frozenset({"M", "MAGNITUDE"})
_SUFFIX = re.compile(r"\b(mag|psir)( (moco|nd|dis[23]d|avg|ave|fb|rr|\d+))*$")
_ONE_PLANNING = 5.0
"""Degrees: within these, orientations are averaged."""
_COMPONENT_WORDS = frozenset({"mag", "magnitude", "ps", "psir", "cr", "real", "moco", "nd", "avg", "ave"})


@dataclass(frozen=True, eq=False)
class Part:
    """Frames of one series that share component and plane (or one fault).

    They may differ in matrix, pixel size and the direction of rows: `scarnode.pipeline.stack.grid` brings them to
    one grid.

    Attributes
    ----------
    frames : tuple of Frame
    component : str
        magnitude, psir, real, phase or imaginary.
    moco : bool
        Motion corrected (and mostly averaged).
    orientation : tuple of 6 float or None
        Mean orientation of most of them, orthonormal; None where the frames have no usable geometry.
    base : numpy.ndarray
        Direction from apex to base (not of unit length) that sorts the locations.
    same_location : float
        mm; frames closer along the normal share a location.
    """

    frames: tuple[Frame, ...]
    component: str
    moco: bool
    orientation: geometry.Orientation | None
    base: np.ndarray
    same_location: float

    @property
    def plane(self) -> geometry.Orientation:
        """The orientation, of a part of sound frames; ValueError where it has none."""
        if self.orientation is None:
            raise ValueError("a part without geometry")
        return self.orientation

    @cached_property
    def normal(self) -> np.ndarray:
        """Unit normal towards the base, shape (3,)."""
        return geometry.towards_base(self.plane, self.base)

    @cached_property
    def locations(self) -> tuple[tuple[Frame, ...], ...]:
        """Frames by location, base to apex."""
        found = geometry.locations(centres(self.frames), self.normal, self.same_location)
        return tuple(tuple(self.frames[index] for index in location) for location in found)

    @cached_property
    def depths(self) -> np.ndarray:
        """Depth of each location along the normal, mm, descending."""
        return centres([location[0] for location in self.locations]) @ self.normal

    @property
    def first(self) -> Frame:
        """The first frame, for attributes that all frames share."""
        return self.frames[0]

    @property
    def instances(self) -> int:
        """Number of SOP instances."""
        return len({frame.sop_instance_uid for frame in self.frames})


def component_of(frame: Frame) -> str:
    """Return which image of the complex signal a frame shows: as it states, else by its name."""
    if stated := stated_component(frame):
        return stated
    words = set(normalise(frame.name).split())
    return PSIR if words & {"psir", "ps"} and not words & {"mag", "magnitude"} else MAGNITUDE


def stated_component(frame: Frame) -> str:  # noqa: PLR0911 (a ladder of reasons)
    """Return which image of the complex signal a frame says that it shows; '' where it does not.

    In the order of what is reliable: Siemens' suffix ``_MAG`` / ``_PSIR`` of the SeriesDescription,
    ComplexImageComponent and GE's (0043,102F), ImageType from its third value on (Philips ``CR_IR``, ``PHASE MAP``
    ...).
    """
    name = normalise(frame.name)
    types = set(frame.image_type[2:])
    suffix = _SUFFIX.search(name)
    if suffix and frame.manufacturer.upper().startswith("SIEMENS"):
        return MAGNITUDE if suffix[1] == "mag" else PSIR
    if types & _PHASE_TYPES:
        return PHASE
    if types & _PSIR_TYPES:
        return PSIR
    if frame.complex_component in ("MAGNITUDE", "PHASE", "IMAGINARY"):
        return frame.complex_component.lower()
    if frame.complex_component == "REAL" or types & _REAL_TYPES:
        return REAL
    if types & _IMAGINARY_TYPES:
        return IMAGINARY
    if types & _MAGNITUDE_TYPES or any(word.startswith("M_") for word in types):
        return MAGNITUDE
    return ""


def is_moco(frame: Frame) -> bool:
    """Return whether a frame is motion corrected, by ImageType or name."""
    return "MOCO" in frame.image_type or "moco" in normalise(frame.name).split()


def stem(frame: Frame) -> str:
    """Return the name without what differs between components, slices and inversion times of an acquisition."""
    words = re.sub(r"\d+", " ", normalise(frame.name)).split()
    return " ".join(word for word in words if word not in _COMPONENT_WORDS and word != "ti")


def split_series(frames: Sequence[Frame], rules: Rules) -> list[Part]:
    """Cut one series into parts, sound ones by component and plane, faulty ones by their fault.

    Images with drawings in their pixels are parts of their own, because they are never measured.

    The order of `frames` does not matter.
    """
    ordered = sorted(frames, key=lambda frame: (frame.sop_instance_uid, frame.frame_number, str(frame.path)))
    buckets: dict[tuple, list[Frame]] = defaultdict(list)
    for frame in (_checked(frame, rules) for frame in ordered):
        component = component_of(frame) if frame.sop_class_uid in SUPPORTED else MAGNITUDE
        copied = (annotated(frame), reformatted(frame))
        kind = (frame.fault, frame.sop_class_uid, frame.modality, component, is_moco(frame))
        buckets[kind + (copied,)].append(frame)  # noqa: RUF005 (Python 3.10)
    parts = []
    for (fault, sop_class, _, component, moco, *_), bucket in buckets.items():
        if fault or sop_class not in SUPPORTED:
            parts.append(Part(tuple(bucket), component, moco, None, rules.base, rules.same_location))
            continue
        parts += _by_plane(bucket, component, moco, rules)
    return parts


def by_space(part: Part) -> list[Part]:
    """Cut a part by frame of reference: positions in two of them can not be compared without more.

    A part is assessed as a whole before: many images of one location are a cine, also where an anonymiser gave each its
    own frame of reference.
    """
    spaces: dict[str, list[Frame]] = defaultdict(list)
    for frame in part.frames:
        spaces[frame.frame_of_reference_uid].append(frame)
    if len(spaces) == 1 or part.orientation is None:
        return [part]
    return [replace(part, frames=tuple(frames)) for frames in spaces.values()]


def join(parts: Iterable[Part]) -> Part:
    """Make one part of several that share component and (nearly) plane."""
    parts = list(parts)
    frames = tuple(frame for part in parts for frame in part.frames)
    orientation = geometry.usual_orientation([frame.geometry.orientation for frame in frames], _ONE_PLANNING)
    return replace(parts[0], frames=frames, orientation=orientation)


def _checked(frame: Frame, rules: Rules) -> Frame:
    if frame.fault or frame.sop_class_uid not in SUPPORTED:
        return frame
    if not geometry.is_orthonormal(frame.geometry.orientation, rules.orthonormality):
        return replace(
            frame,
            fault="BAD_GEOMETRY",
            fault_detail="ImageOrientationPatient is no pair of unit vectors at right angles",
        )
    return frame


def _by_plane(frames: list[Frame], component: str, moco: bool, rules: Rules) -> list[Part]:
    labels = geometry.cluster_planes([frame.geometry.orientation for frame in frames], rules.split)
    parts = []
    for label in range(labels.max() + 1):
        members = tuple(frame for frame, own in zip(frames, labels, strict=True) if own == label)
        mean = geometry.usual_orientation([frame.geometry.orientation for frame in members], _ONE_PLANNING)
        parts.append(Part(members, component, moco, mean, rules.base, rules.same_location))
    return parts
