"""Joins accepted parts to whole acquisitions, and chooses the image of each acquisition that is analysed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from scarnode.pipeline.stack import geometry
from scarnode.pipeline.stack.copies import is_copy, remoteness
from scarnode.pipeline.stack.grid import centres
from scarnode.pipeline.stack.parts import MAGNITUDE, PSIR, REAL, Part, join, stated_component, stem
from scarnode.pipeline.stack.rules import Rules

_ADJOINING = 3.0
"""Steps: parts of one name so far apart are one stack that lacks slices."""
_OTHER_PLANNING = 15.0
"""Degrees: slices of one series within these were meant for one ventricle."""
_RANK = {MAGNITUDE: 0, PSIR: 1, REAL: 2}


@dataclass(frozen=True, eq=False)
class Acquisition:
    """Parts, of one or many series, that make one stack.

    Attributes
    ----------
    part : Part
        All their frames as one.
    members : tuple of Part
        The parts it was joined from.
    lacks_slices : bool
        Other images of the same acquisition have slices that this one has not. Found by `choose`.
    """

    part: Part
    members: tuple[Part, ...]
    lacks_slices: bool = False


@dataclass(frozen=True)
class Choice:
    """The acquisitions to analyse, and the others with reasons.

    Attributes
    ----------
    stacks : list of Acquisition
    passed_over : list of (Acquisition, str, str)
        With reason code and detail.
    """

    stacks: list[Acquisition] = field(default_factory=list)
    passed_over: list[tuple[Acquisition, str, str]] = field(default_factory=list)


def acquisitions(parts: Iterable[Part], rules: Rules) -> list[Acquisition]:
    """Join parts of accepted series to acquisitions.

    Parts of at most two locations each (one series per slice) are joined; so are parts that repeat or continue
    another one of the same study, component, plane, thickness and name, on whatever pixel grid. Whole stacks stay
    apart. Parts of several frames of reference are joined only where they make one regular stack together.
    """
    kinds: dict[tuple, list[Part]] = defaultdict(list)
    for part in sorted(parts, key=_age):
        kinds[_kind(part)].append(part)
    found: list[Acquisition] = []
    for alike in kinds.values():
        for group in _alike_in_space(alike, rules):
            for shared in _one_space(group, rules):
                found += _joined(shared, rules)
    return found


def choose(found: Sequence[Acquisition], rules: Rules) -> Choice:
    """Pick one image of each acquisition of a study: uncorrected magnitude, phase-sensitive, motion-corrected last."""
    choice = Choice()
    for candidate in sorted(found, key=lambda one: _preference(one, found, rules)):
        reason, counterpart = _passed_over(candidate, choice.stacks, rules)
        if not reason:
            choice.stacks.append(candidate)
            continue
        choice.passed_over.append((candidate, reason[0], reason[1]))
        if counterpart is not None and _has_more(candidate, counterpart, rules):
            index = choice.stacks.index(counterpart)
            choice.stacks[index] = Acquisition(counterpart.part, counterpart.members, lacks_slices=True)
    return choice


# --- joining -------------------------------------------------------------------------------------


def _kind(part: Part) -> tuple:
    frame = part.first
    return (
        frame.study_instance_uid,
        part.component,
        part.moco,
        "ND" in frame.image_type,
        frame.acquisition_type,
        round(frame.slice_thickness or 0, 1),
        stem(frame),
    )


def _age(part: Part) -> tuple:
    return (min(frame.acquired for frame in part.frames), part.first.series_instance_uid, part.first.sop_instance_uid)


def _alike_in_space(parts: list[Part], rules: Rules) -> list[list[Part]]:
    """Group parts by plane."""
    labels = geometry.cluster_planes([part.plane for part in parts], rules.split)
    return [
        [part for part, own in zip(parts, labels, strict=True) if own == label] for label in range(labels.max() + 1)
    ]


def _one_space(parts: list[Part], rules: Rules) -> list[list[Part]]:
    """Group parts by frame of reference; all are one group where their slices make one regular stack together.

    Anonymisers and some scanners give every image a frame of reference of its own. Whether positions in several can
    be compared is unknown: a stack of them is flagged.
    """
    by_space: dict[str, list[Part]] = defaultdict(list)
    for part in parts:
        by_space[part.first.frame_of_reference_uid].append(part)
    if len(by_space) == 1:
        return [parts]
    normal = parts[0].normal
    each = [_depths(own, normal, rules) for own in by_space.values()]
    gaps = np.diff(np.sort(np.concatenate(each)))
    usual = geometry.step(np.concatenate([[0.0], np.cumsum(gaps)]))
    one_series = len({part.first.series_instance_uid for part in parts}) == 1
    if gaps.min() > rules.same_location and (one_series or len(gaps) > 1):
        ratio = gaps / usual
        whole = np.abs(ratio - np.round(ratio)) <= rules.spacing_tolerance
        if bool(np.all(whole & (ratio <= _ADJOINING + rules.spacing_tolerance))):
            return [parts]
    return list(by_space.values())


def _joined(parts: list[Part], rules: Rules) -> list[Acquisition]:
    if len({part.first.frame_of_reference_uid for part in parts}) > 1:
        return [Acquisition(join(parts), tuple(parts))]  # found to be one regular stack
    small = [part for part in parts if len(part.locations) <= 2]
    large = [[part] for part in parts if len(part.locations) > 2]
    seeds = _merge_where(large, lambda first, second: _continues(first, second, rules))
    if small:
        seeds = _absorb(seeds, small, rules)
    return [Acquisition(join(members), tuple(members)) for members in seeds]


def _merge_where(groups: list[list[Part]], fits: Callable[[list[Part], list[Part]], bool]) -> list[list[Part]]:
    """Merge groups pair by pair while any two fit."""
    groups = [list(group) for group in groups]
    index = 0
    while index < len(groups):
        other = next((k for k in range(index + 1, len(groups)) if fits(groups[index], groups[k])), None)
        if other is None:
            index += 1
        else:
            groups[index] += groups.pop(other)
    return groups


def _absorb(seeds: list[list[Part]], small: list[Part], rules: Rules) -> list[list[Part]]:
    """Return each small part to the latest large one that it repeats or continues; the rest make one of their own."""
    left: list[Part] = []
    for part in small:
        home = next((seed for seed in reversed(seeds) if _repeats([part], seed, rules)), None) or next(
            (seed for seed in reversed(seeds) if _continues([part], seed, rules)), None
        )
        if home is None:
            left.append(part)
        else:
            home.append(part)
    return [*seeds, left] if left else seeds


def _depths(parts: Sequence[Part], normal: np.ndarray, rules: Rules) -> np.ndarray:
    """Distinct depths of all frames along one normal."""
    positions = centres([frame for part in parts for frame in part.frames])
    found = geometry.locations(positions, normal, rules.same_location)
    return np.array([positions[location[0]] for location in found]) @ normal


def _repeats(part: list[Part], seed: list[Part], rules: Rules) -> bool:
    normal = seed[0].normal
    return bool(
        geometry.coincident(_depths(part, normal, rules), _depths(seed, normal, rules), rules.same_location).all()
    )


def _continues(first: list[Part], second: list[Part], rules: Rules) -> bool:
    normal = second[0].normal
    depths = _depths(first, normal, rules), _depths(second, normal, rules)
    thickness = first[0].first.slice_thickness or 0.0
    if min(map(len, depths)) > 2 and geometry.adjoining(*depths, rules.same_location, _ADJOINING):
        return True
    return geometry.complementary(*depths, thickness, rules.same_location, rules.spacing_tolerance)


# --- choosing ------------------------------------------------------------------------------------


def _preference(one: Acquisition, found: Sequence[Acquisition], rules: Rules) -> tuple:
    part = one.part
    most = max((len(other.part.locations) for other in found if _same_region(one, other, rules)), default=0)
    incomplete = 2 * len(part.locations) < most
    return (
        incomplete,
        part.moco,
        _is_derived_without_component(part),
        _RANK[part.component],
        min(map(remoteness, part.frames)),
        "ND" in part.first.image_type,
        -len(part.locations),
        _age(part),
    )


def _passed_over(
    one: Acquisition, chosen: Sequence[Acquisition], rules: Rules
) -> tuple[tuple[str, str] | None, Acquisition | None]:
    """Return why a candidate is not analysed beside those already chosen, and which of them is its counterpart.

    (None, None) where it is to be analysed.
    """
    part = one.part
    for other in chosen:
        if not _same_region(one, other, rules):
            continue
        if copied := _copied(one, other):
            return copied, other
        if not _same_acquisition(one, other, rules):
            continue
        slices = f"{len(part.locations)} of {len(other.part.locations)} slices"
        if 2 * len(part.locations) < len(other.part.locations):
            return ("INCOMPLETE_TWIN", slices), other
        if part.moco and not other.part.moco:
            return ("MOCO_TWIN", slices), other
        if _RANK[part.component] > _RANK[other.part.component]:
            return ("PSIR_TWIN", slices), other
        return ("DUPLICATE_RECONSTRUCTION", slices), other
    return _beside_others(one, chosen, rules)


def _beside_others(
    one: Acquisition, chosen: Sequence[Acquisition], rules: Rules
) -> tuple[tuple[str, str] | None, Acquisition | None]:
    """Return as `_passed_over` does, for a candidate that is no image of a chosen acquisition."""
    part = one.part
    for other in chosen:
        if (tilt := _other_planning(one, other, rules)) is not None:
            return ("NOT_PARALLEL", f"{tilt:.1f} degrees off the other slices of its series"), other
        if part.moco and not other.part.moco and 2 * len(other.part.locations) >= len(part.locations):
            return ("MOCO_TWIN", f"an uncorrected stack of {len(other.part.locations)} slices was analysed"), None
    largest = max((len(other.part.locations) for other in chosen), default=0)
    if len(part.locations) <= 2 < largest:
        return ("FEW_SLICES", f"{len(part.locations)} slices beside a stack of {largest}"), None
    return None, None


def _same_region(one: Acquisition, other: Acquisition, rules: Rules) -> bool:
    """Return whether at least half of the slices of the smaller one lie where the other has slices."""
    first, second = sorted((one.part, other.part), key=lambda part: len(part.locations))
    if not _spaces(first) & _spaces(second):
        return False
    if geometry.plane_angle(first.normal, second.normal) > rules.parallel:
        return False
    depths = _depths([first], second.normal, rules)
    return bool(2 * geometry.coincident(depths, second.depths, rules.same_location).sum() >= len(depths))


def _copied(one: Acquisition, other: Acquisition) -> tuple[str, str] | None:
    """Return the reason where one of two stacks of a region is a copy of the other: one ventricle gets one result."""
    first, second = one.part, other.part
    if first.moco != second.moco:
        return None
    slices = f"{len(first.locations)} of {len(second.locations)} slices"
    if is_copy(first.frames, second.frames):
        counterpart = _RANK[first.component] > _RANK[second.component]
        return "PSIR_TWIN" if counterpart else "DERIVED_COPY", slices
    if first.component != second.component:
        return None
    return ("INCOMPLETE_TWIN", slices) if is_copy(second.frames, first.frames) else None


def _is_derived_without_component(part: Part) -> bool:
    """Return whether images may be a copy: they are derived, and only their name states the component."""
    derived, _ = min(map(remoteness, part.frames))
    return derived and not any(map(stated_component, part.frames))


def _other_planning(one: Acquisition, other: Acquisition, rules: Rules) -> float | None:
    """Return the angle to other slices of one series and component where it keeps them from being one stack."""
    if not {frame.series_instance_uid for frame in one.part.frames} & {
        frame.series_instance_uid for frame in other.part.frames
    }:
        return None
    if (one.part.component, one.part.moco) != (other.part.component, other.part.moco):
        return None
    tilt = geometry.plane_angle(one.part.normal, other.part.normal)
    return tilt if rules.parallel < tilt <= _OTHER_PLANNING else None


def _spaces(part: Part) -> set[str]:
    return {frame.frame_of_reference_uid for frame in part.frames}


def _same_acquisition(one: Acquisition, other: Acquisition, rules: Rules) -> bool:
    """Return whether two acquisitions of one region are two images of the same signal: by time, by series, or by
    name.
    """
    first, second = one.part, other.part
    times = {frame.acquired for frame in first.frames} & {frame.acquired for frame in second.frames}
    if any(date and time for date, time in times):
        return True
    if (first.component, first.moco) == (second.component, second.moco):
        return False  # a later acquisition of the same kind is a stack of its own
    shared = {frame.series_instance_uid for frame in first.frames} & {
        frame.series_instance_uid for frame in second.frames
    }
    return bool(shared) or stem(first.first) == stem(second.first)


def _has_more(counterpart: Acquisition, chosen: Acquisition, rules: Rules) -> bool:
    depths = _depths([counterpart.part], chosen.part.normal, rules)
    return not geometry.coincident(depths, chosen.part.depths, rules.same_location).all()
