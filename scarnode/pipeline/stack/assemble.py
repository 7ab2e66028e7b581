"""From files to short-axis late-enhancement stacks, and a reason for every series that is none."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from scarnode.pipeline.stack import geometry, patient
from scarnode.pipeline.stack.acquisitions import Acquisition, acquisitions, choose
from scarnode.pipeline.stack.copies import best, originals, remoteness
from scarnode.pipeline.stack.duplicates import resolve
from scarnode.pipeline.stack.grid import lay
from scarnode.pipeline.stack.headers import SUPPORTED, Frame, read_frames
from scarnode.pipeline.stack.identity import state_identity
from scarnode.pipeline.stack.lge import Assessment, assess, is_short_axis_cine
from scarnode.pipeline.stack.model import MAX_VOXELS, Component, Flag, SeriesVerdict, Stack, StackSearch, Verdict
from scarnode.pipeline.stack.parts import MAGNITUDE, Part, by_space, component_of, split_series, stem
from scarnode.pipeline.stack.rules import Rules
from scarnode.pipeline.stack.times import in_utc
from scarnode.pipeline.stack.weighting import by_inversion_time
from scarnode.util.errors import InputError, SystemFaultError

_DAMAGED = frozenset({"NO_PIXEL_DATA", "TRUNCATED_PIXEL_DATA", "CONFLICTING_CONTENT"})
_DRAWN = frozenset({"BURNED_IN", "SCREEN_SAVE"})
_MAX_STACKS = 100
"""Most stacks of a study. A study has a few; every pair of stacks is compared, and every stack makes a job."""
_Judged = tuple[Part, Assessment]


def find_stacks(
    paths: Sequence[Path], rules: Rules | None = None, arrivals: Mapping[Path, int] | None = None
) -> StackSearch:
    """Find every short-axis late-enhancement stack in DICOM files.

    Parameters
    ----------
    paths : sequence of Path
        Files of one or several studies, in order of arrival: of several files of one image the first is taken. Only
        headers are read, but for files that share an SOP Instance UID.
    rules : Rules, optional
    arrivals : mapping of Path to int, optional
        Place of each file in the order of its last arrival. Of several files of one image the last one gives patient
        and study. None: unknown.

    Returns
    -------
    StackSearch
        One stack for each acquisition; a verdict for every series seen; every file that is no usable DICOM or whose
        pixel data are damaged. But for such files, another order gives the same result.

    Raises
    ------
    SystemFaultError
        The machine could not read a file again whose pixels had to be compared.
    """
    rules = rules or Rules()
    instances, unreadable, faults = [], [], []
    for path in dict.fromkeys(map(Path, paths)):
        try:
            instances.append(read_frames(path))
        except SystemFaultError as error:
            unreadable.append((path, error.what))
            faults.append((path, error))
        except InputError as error:
            unreadable.append((path, error.what))
    studies: dict[str, list[Frame]] = defaultdict(list)
    by_path: dict[Path, Frame] = {}
    for instance in resolve(instances, arrivals):
        first = by_path[instance[0].path] = instance[0]
        studies[first.study_instance_uid] += instance
        if first.fault in _DAMAGED and first.sop_class_uid in SUPPORTED:
            unreadable.append((first.path, f"{first.fault}: {first.fault_detail}"))
    stacks: list[Stack] = []
    verdicts: list[SeriesVerdict] = []
    for study in sorted(studies):
        found, judged = _search_study(studies[study], rules)
        stacks += [state_identity(stack, by_path, arrivals) for stack in found]
        verdicts += _verdicts(judged)
    return StackSearch(tuple(stacks), tuple(verdicts), tuple(sorted(unreadable)), tuple(faults))


def _search_study(frames: Sequence[Frame], rules: Rules) -> tuple[list[Stack], list[_Judged]]:
    series: dict[str, list[Frame]] = defaultdict(list)
    for frame in in_utc(frames):
        series[frame.series_instance_uid].append(frame)
    parts = [part for uid in sorted(series) for part in split_series(series[uid], rules)]
    cines = [part.normal for part in parts if is_short_axis_cine(part, rules)]
    said = [(part, assess(part, rules, cines)) for part in parts]
    judged = {id(part): (part, verdict) for whole, verdict in said for part in by_space(whole)}
    if _reject_mixed(judged, frames):
        return [], list(judged.values())
    for members, detail in by_inversion_time(list(judged.values()), rules):
        _set_verdict(judged, members, Verdict.REJECTED, "MANY_INVERSION_TIMES", detail)
    accepted = [part for part, said in judged.values() if said.verdict is Verdict.ACCEPTED]
    if max(sum(len(part.locations) > 2 for part in accepted), _count_lone_planes(accepted, rules)) > _MAX_STACKS:
        _set_verdict(
            judged, accepted, Verdict.REVIEW, "TOO_MANY_STACKS", f"more than {_MAX_STACKS} stacks in one study"
        )
        return [], list(judged.values())
    usable = []
    for found in acquisitions(accepted, rules):
        if wrong := _incomplete(found.part, rules):
            _set_verdict(judged, found.members, *wrong)
        else:
            usable.append(found)
    if len(usable) > _MAX_STACKS:
        _set_verdict(judged, accepted, Verdict.REVIEW, "TOO_MANY_STACKS", f"{len(usable)} stacks in one study")
        return [], list(judged.values())
    choice = choose(usable, rules)
    for found, reason, detail in choice.passed_over:
        verdict = Verdict.REVIEW if reason in ("FEW_SLICES", "NOT_PARALLEL") else Verdict.REJECTED
        _set_verdict(judged, found.members, verdict, reason, detail)
    lost = [frame for part in parts if part.orientation is None for frame in part.frames if frame.modality == "MR"]
    drawn = [frame for part, said in judged.values() if said.reason in _DRAWN for frame in part.frames]
    lost += [replace(frame, fault="BURNED_IN") for frame in drawn]
    stacks = []
    for found in choice.stacks:
        stack = _stack(found, lost, rules)
        if stack.component is Component.PSIR and not rules.accept_psir_only:
            _set_verdict(
                judged, found.members, Verdict.REVIEW, "PSIR_REFUSED", "no magnitude images of this acquisition came"
            )
            continue
        stacks.append(stack)
        used = set(stack.series_instance_uids)
        late = [part for part in found.members if part.first.series_instance_uid not in used]
        for part in late:
            _set_verdict(judged, [part], Verdict.REJECTED, *_superseded(part, found))
    stacks.sort(key=lambda stack: (stack.series_instance_uids, stack.component.value, stack.frames[0].position))
    return stacks, list(judged.values())


def _count_lone_planes(parts: Sequence[Part], rules: Rules) -> int:
    """Return how many images have no other image parallel to them: each would be a stack of its own."""
    orientations = {frame.geometry.orientation for part in parts for frame in part.frames}
    if len(orientations) <= _MAX_STACKS:
        return 0
    normals = np.array([geometry.normal(orientation) for orientation in orientations])
    parallel = np.abs(normals @ normals.T) >= np.cos(np.radians(rules.parallel))
    return int((parallel.sum(axis=1) == 1).sum())


def _set_verdict(judged: dict[int, _Judged], parts: Iterable[Part], verdict: Verdict, reason: str, detail: str) -> None:
    for part in parts:
        judged[id(part)] = (part, Assessment(verdict, reason, detail, judged[id(part)][1].score))


def _superseded(part: Part, found: Acquisition) -> tuple[str, str]:
    """Return why no image of a part was used, though the part belongs to a stack."""
    used = [best(location) for location in found.part.locations]
    if min(map(remoteness, part.frames)) > min(map(remoteness, used)):
        return "DERIVED_COPY", "an original of every location was analysed"
    return "SUPERSEDED_REPEAT", "every location was imaged again later"


def _reject_mixed(judged: dict[int, _Judged], frames: Iterable[Frame]) -> bool:
    """Reject every part with images, if the study's images are of different patients; return whether they are."""
    found, keyword = patient.kinds(frame.patient for frame in frames if frame.sop_class_uid in SUPPORTED)
    if len(found) < 2:
        return False
    for part, _ in list(judged.values()):
        if part.first.sop_class_uid in SUPPORTED:
            own = {frame.patient for frame in part.frames}
            whose = [str(index) for index, one in enumerate(found, 1) if one in own] or ["either"]
            detail = f"{len(found)} patients differ in {keyword}; here are images of patient {' and '.join(whose)}"
            _set_verdict(judged, [part], Verdict.REVIEW, "PATIENT_MISMATCH", detail)
    return True


def _incomplete(part: Part, rules: Rules) -> tuple[Verdict, str, str] | None:
    """Return why the slices are no single stack: verdict, reason and detail."""
    widest = max(
        geometry.plane_angle(geometry.normal(frame.geometry.orientation), geometry.normal(part.plane))
        for frame in part.frames
    )
    if widest > rules.parallel:
        return Verdict.REVIEW, "NOT_PARALLEL", f"a slice is {widest:.1f} degrees off the mean plane"
    count = len(part.locations)
    rows, columns = (max(getattr(frame, side) for frame in part.frames) for side in ("rows", "columns"))
    if count > rules.max_slices:
        return Verdict.REJECTED, "TOO_MANY_SLICES", f"{count} slices, {rules.max_slices} at most"
    if count * rows * columns > MAX_VOXELS:
        return Verdict.REJECTED, "TOO_MANY_PIXELS", f"{count} slices of {rows} x {columns}"
    return None


def _stack(found: Acquisition, lost: Sequence[Frame], rules: Rules) -> Stack:
    part = found.part
    frames = [best(location) for location in part.locations]
    first = frames[0]
    laid = lay(frames)
    flags = _flags(found, frames, rules) | _losses(part, frames, lost, rules)
    if any(frame.grid is not None for frame in laid.frames):
        flags.add(Flag.RESAMPLED_SLICE)
    if laid.incomplete:
        flags.add(Flag.MISSING_SLICE)
    spaces = Counter(frame.frame_of_reference_uid for frame in frames)
    return Stack(
        study_instance_uid=first.study_instance_uid,
        frame_of_reference_uid=spaces.most_common(1)[0][0],
        component=Component.MAGNITUDE if part.component == MAGNITUDE else Component.PSIR,
        description=first.description,
        rows=laid.rows,
        columns=laid.columns,
        pixel_spacing=laid.pixel_spacing,
        orientation=laid.orientation,
        slice_thickness=first.slice_thickness,
        spacing_between_slices=first.spacing_between_slices,
        frames=laid.frames,
        flags=tuple(flag for flag in Flag if flag in flags),
    )


def _flags(found: Acquisition, frames: Sequence[Frame], rules: Rules) -> set[Flag]:
    part = found.part
    missing, unequal = geometry.gap_kinds(part.depths, rules.missing_gap, rules.spacing_tolerance)
    conditions = {
        Flag.FEW_SLICES: len(part.locations) <= 2,
        Flag.MISSING_SLICE: missing or found.lacks_slices,
        Flag.UNEQUAL_SPACING: unequal,
        Flag.PSIR_ONLY: part.component != MAGNITUDE,
        Flag.REPEATED_SLICE: any(len(originals(location)) > 1 for location in part.locations),
        Flag.MOCO_ONLY: part.moco,
        Flag.FRAMES_OF_REFERENCE: len({frame.frame_of_reference_uid for frame in frames}) > 1,
        Flag.LOSSY: any(frame.lossy for frame in frames),
    }
    return {flag for flag, holds in conditions.items() if holds}


def _losses(part: Part, used: Sequence[Frame], lost: Sequence[Frame], rules: Rules) -> set[Flag]:
    """Return flags for images that belonged to this stack but could not be used: a gap at its end would not show."""
    series = {frame.series_instance_uid for frame in part.frames}
    names = {stem(frame) for frame in used}
    flags: set[Flag] = set()
    for frame in lost:
        if frame.sop_class_uid not in SUPPORTED or not frame.fault or component_of(frame) != part.component:
            continue
        if frame.series_instance_uid not in series and stem(frame) not in names:
            continue
        place = _place(frame, part, rules)
        if place == "elsewhere":
            continue
        if frame.fault == "CONFLICTING_CONTENT":
            flags.add(Flag.CONFLICTING_CONTENT)
        if place != "covered":
            flags.add(Flag.MISSING_SLICE)
    return flags


def _place(frame: Frame, part: Part, rules: Rules) -> str:
    """Return whether a lost image's slice is 'covered' by another, 'missing', 'elsewhere' (no slice of it),
    'unknown'.
    """
    if frame.position is None or frame.orientation is None or frame.fault in ("BAD_GEOMETRY", "NO_GEOMETRY"):
        return "unknown"
    if not geometry.is_orthonormal(frame.orientation, rules.orthonormality):
        return "unknown"
    if geometry.plane_angle(geometry.normal(frame.orientation), part.normal) > rules.split:
        return "elsewhere"
    depth = np.array([np.dot(frame.position, part.normal)])
    return "covered" if geometry.coincident(depth, part.depths, rules.same_location)[0] else "missing"


def _verdicts(judged: Sequence[_Judged]) -> list[SeriesVerdict]:
    """One verdict for each series, or several where its parts fared differently."""
    alike: dict[tuple, list[_Judged]] = defaultdict(list)
    for part, said in judged:
        alike[part.first.series_instance_uid, said.verdict.value, said.reason].append((part, said))
    verdicts = []
    for (uid, _, reason), members in sorted(alike.items(), key=lambda entry: entry[0]):
        part, said = members[0]
        verdicts.append(
            SeriesVerdict(
                study_instance_uid=part.first.study_instance_uid,
                series_instance_uid=uid,
                verdict=said.verdict,
                reason=reason,
                detail=said.detail,
                score=max(own.score for _, own in members),
                instances=len({frame.sop_instance_uid for own, _ in members for frame in own.frames}),
                description=part.first.description,
                modality=part.first.modality,
            )
        )
    return verdicts
