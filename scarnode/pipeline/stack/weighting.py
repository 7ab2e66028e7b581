"""T1-mapping sources and TI scouts that come as a series for each inversion time.

One series of them looks like late enhancement. Together they do not: the same few places, imaged within seconds, at
inversion times from 100 to over 1000 ms. Late enhancement is repeated too, at two or three inversion times between 200
and 400 ms, a minute or more apart, and under its name.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

import numpy as np

from scarnode.pipeline.stack import geometry
from scarnode.pipeline.stack.grid import centres
from scarnode.pipeline.stack.lge import Assessment, inversion_times
from scarnode.pipeline.stack.method import named_method
from scarnode.pipeline.stack.model import Verdict
from scarnode.pipeline.stack.parts import Part, stem
from scarnode.pipeline.stack.rules import Rules
from scarnode.pipeline.stack.times import seconds

_TIMES = 3
"""Inversion times, at least."""
_FAR = 3.0
"""Ratio of the longest to the shortest inversion time that no repeated late enhancement has."""
_QUICK = 30.0
"""Seconds between two images of one place: late enhancement of the next slices lies between its repeats."""
_FEW = 5
"""Slices of a T1 map's source, at most, where the inversion times alone do not tell."""
_STILL_CANDIDATES = ("NOT_LGE", "UNCERTAIN", "INVERSION_TIME")


def by_inversion_time(judged: Sequence[tuple[Part, Assessment]], rules: Rules) -> Iterator[tuple[list[Part], str]]:
    """Find parts of a study that are one measurement at many inversion times, none of them late enhancement.

    Parameters
    ----------
    judged : sequence of (Part, Assessment)
        All parts of one study.
    rules : Rules

    Yields
    ------
    (list of Part, str)
        And the values that decided.
    """
    alike: dict[tuple, list[Part]] = defaultdict(list)
    for part, said in judged:
        open_still = said.verdict is not Verdict.REJECTED or said.reason in _STILL_CANDIDATES
        if open_still and said.reason != "SITE_ACCEPT" and part.orientation is not None:
            alike[stem(part.first), part.component, part.moco].append(part)
    for candidates in alike.values():
        if len(inversion_times([frame for part in candidates for frame in part.frames])) < _TIMES:
            continue  # most series of a study: their places need not be compared
        for group in _same_places(candidates, rules):
            if detail := _many_times(group, rules):
                yield group, detail


def _same_places(parts: list[Part], rules: Rules) -> list[list[Part]]:
    """Group parts whose slices lie in the same places."""
    groups: list[list[Part]] = []
    for part in sorted(parts, key=lambda part: -len(part.locations)):
        home = next((group for group in groups if _lies_in(part, group[0], rules)), None)
        if home is None:
            groups.append([part])
        else:
            home.append(part)
    return groups


def _lies_in(part: Part, other: Part, rules: Rules) -> bool:
    if geometry.plane_angle(part.normal, other.normal) > rules.parallel:
        return False
    depths = centres([location[0] for location in part.locations]) @ other.normal
    return bool(geometry.coincident(depths, other.depths, rules.same_location).all())


def _many_times(group: Sequence[Part], rules: Rules) -> str:
    """Describe what makes a group of parts a measurement at many inversion times; '' for none."""
    frames = [frame for part in group for frame in part.frames]
    times = sorted(inversion_times(frames))
    if len(group) < 2 or len(times) < _TIMES:
        return ""
    far = times[-1] > rules.inversion_time_long and times[-1] >= _FAR * times[0]
    gap = _usual_gap(group)
    quick = gap is not None and gap <= _QUICK
    few = max(len(part.locations) for part in group) <= _FEW
    named = any(named_method(part.first.name, rules).late for part in group)
    if named:
        many = len(times) >= 5 and (far or (quick and few and len(times) > 5))
    else:
        many = far or (quick and few) or (few and gap is None and len(times) > 5)
    if not many:
        return ""
    return f"{len(times)} inversion times from {times[0]} to {times[-1]} ms at the same places, in {len(group)} series"


def _usual_gap(group: Sequence[Part]) -> float | None:
    """Median time in seconds between images of one place; None where the headers do not say."""
    largest = group[0]
    placed: dict[int, list[float]] = defaultdict(list)
    for part in group:
        for location in part.locations:
            depth = float((centres(location[:1]) @ largest.normal)[0])
            place = int(np.abs(largest.depths - depth).argmin())
            placed[place] += [since for frame in location if (since := seconds(frame.acquired)) is not None]
    gaps = [gap for found in placed.values() for gap in np.diff(sorted(found))]
    return float(np.median(gaps)) if gaps else None
