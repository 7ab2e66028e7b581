"""Decides whether a part of a series is short-axis late enhancement: evidence, score and reason.

The order is: site override, hard rejection, score, plane. `assemble` decides whether the slices make a stack.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from scarnode.pipeline.stack import geometry
from scarnode.pipeline.stack.copies import annotated, originals, reformatted
from scarnode.pipeline.stack.headers import SUPPORTED, Frame
from scarnode.pipeline.stack.method import NamedMethod, named_method
from scarnode.pipeline.stack.model import Verdict
from scarnode.pipeline.stack.names import forms, matches, normalise
from scarnode.pipeline.stack.parts import IMAGINARY, PHASE, Part
from scarnode.pipeline.stack.reasons import REASONS
from scarnode.pipeline.stack.rules import Rules

__all__ = ["REASONS", "Assessment", "Rules", "assess", "is_short_axis_cine"]

_MAP_TYPES = (r"\bt[12]( ?star)? map\b", r"\becv\b", r"\bt[12]map\b")


@dataclass(frozen=True)
class Assessment:
    """The decision on one part.

    Attributes
    ----------
    verdict : Verdict
    reason : str
        Key of `REASONS`.
    detail : str
        The values that decided; no patient data.
    score : int
        0 where a hard rejection came first.
    """

    verdict: Verdict
    reason: str
    detail: str
    score: int = 0


def assess(part: Part, rules: Rules, cine_normals: Sequence[np.ndarray] = ()) -> Assessment:  # noqa: PLR0911 (a ladder of reasons)
    """Decide whether a part is short-axis late enhancement.

    Parameters
    ----------
    part : Part
    rules : Rules
    cine_normals : sequence of numpy.ndarray
        Unit normals, shape (3,), of the short-axis cines of the same study.

    Returns
    -------
    Assessment
    """
    if matches(rules.site_reject, part.first.description):
        return Assessment(Verdict.REJECTED, "SITE_REJECT", "site_reject matches the SeriesDescription")
    if unusable := _unusable(part):
        return Assessment(Verdict.REJECTED, *unusable)
    if matches(rules.site_accept, part.first.description):
        score, _ = _score(part, rules)
        return Assessment(Verdict.ACCEPTED, "SITE_ACCEPT", "site_accept matches the SeriesDescription", score)
    named = named_method(part.first.name, rules)
    if other := _other_method(part, named, rules):
        return Assessment(Verdict.REJECTED, *other)
    score, evidence = _score(part, rules)
    summary = f"score {score} ({evidence})"
    if score < rules.review_score:
        return Assessment(Verdict.REJECTED, named.reason or "NOT_LGE", f"{_name_detail(named)}{summary}", score)
    against, plane = _plane(part, rules, cine_normals)
    if against == "NOT_SHORT_AXIS":
        return Assessment(Verdict.REJECTED, against, f"{summary}; {plane}", score)
    if named.reason:
        return Assessment(Verdict.REVIEW, "NAME_UNCERTAIN", f"{_name_detail(named)}{summary}; {plane}", score)
    if score < rules.accept_score:
        return Assessment(Verdict.REVIEW, "UNCERTAIN", f"{summary}; {plane}", score)
    if odd := _odd_inversion_time(part, rules):
        return Assessment(Verdict.REVIEW, "INVERSION_TIME", f"{odd}; {summary}", score)
    if against:
        return Assessment(Verdict.REVIEW, against, f"{summary}; {plane}", score)
    return Assessment(Verdict.ACCEPTED, "LGE_SHORT_AXIS", f"{summary}; {plane}", score)


def is_short_axis_cine(part: Part, rules: Rules) -> bool:
    """Return whether a part is a short-axis cine, by its phases and by its name or its five or more parallel slices."""
    if part.orientation is None or part.first.modality != "MR" or _phases(part) <= rules.max_phases:
        return False
    name = forms(part.first.name)
    if matches(rules.long_axis_names, *name):
        return False
    return bool(matches(rules.short_axis_names, *name)) or len(part.locations) >= 5


def _unusable(part: Part) -> tuple[str, str] | None:
    """Return the reason that no site setting can override: not an MR image with geometry and pixels."""
    frame = part.first
    if frame.modality != "MR":
        return "NOT_MR", f"Modality is {frame.modality[:16] or 'absent'}"
    if frame.sop_class_uid not in SUPPORTED:
        return "SOP_CLASS", f"SOP class {frame.sop_class_uid[:64] or 'absent'}"
    if frame.fault:
        return frame.fault, frame.fault_detail
    if drawn := annotated(frame):
        return drawn
    if frame.samples_per_pixel != 1:
        return "NOT_GRAYSCALE", f"SamplesPerPixel is {frame.samples_per_pixel or 'absent'}"
    return None


def _name_detail(named: NamedMethod) -> str:
    return f"the name says '{named.word}' ({named.reason}); " if named.reason else ""


def _other_method(part: Part, named: NamedMethod, rules: Rules) -> tuple[str, str] | None:  # noqa: PLR0911 (a ladder of reasons)
    """Return reason and detail where the image is certainly no late enhancement."""
    frame = part.first
    if matches(_MAP_TYPES, normalise(" ".join(frame.image_type))):
        return "PARAMETRIC_MAP", "ImageType names a parametric map"
    if named.refused:
        return named.reason, f"the name says '{named.word}'"
    if copied := reformatted(frame):
        return copied
    if part.component in (PHASE, IMAGINARY):
        return "PHASE_IMAGE", f"component {part.component}"
    times = _usual(len(inversion_times(location)) for location in part.locations)
    most = max(len(inversion_times(location)) for location in part.locations)
    if times > 1 or most > 2:  # two at one location of many is a slice repeated with a better TI
        return "MANY_INVERSION_TIMES", f"{most} inversion times at one location"
    if (phases := _phases(part)) > rules.max_phases:
        return "MANY_PHASES", f"{phases} images at one location"
    if "SE" in frame.scanning_sequence:
        return "SPIN_ECHO", "ScanningSequence has SE"
    if (echo := _median(frame.echo_time for frame in part.frames)) is not None and echo > rules.max_echo_time:
        return "LONG_ECHO", f"TE {echo:g} ms"
    return None


def _score(part: Part, rules: Rules) -> tuple[int, str]:
    """Add up the evidence; return the sum and the pieces that counted."""
    frame = part.first
    pieces: list[tuple[str, int]] = [_name_evidence(frame.name, rules)]
    if any(frame.inverted for frame in part.frames):
        pieces.append(("inversion recovery", rules.weight_inversion))
    time = _median(frame.inversion_time for frame in part.frames)
    if time is not None and rules.inversion_time_min <= time <= rules.inversion_time_max:
        pieces.append((f"TI {time:g} ms", rules.weight_inversion_time))
    elif time is not None and time > rules.inversion_time_long:
        pieces.append((f"TI {time:g} ms", rules.weight_long_inversion_time))
    if any(frame.contrast_agent for frame in part.frames):
        pieces.append(("contrast agent", rules.weight_contrast_agent))
    echo = _median(frame.echo_time for frame in part.frames)
    # A sequence that is not stated counts as gradient echo: no spin echo is that short.
    if echo is not None and echo <= rules.gradient_echo_time and "SE" not in frame.scanning_sequence:
        pieces.append((f"gradient echo, TE {echo:g} ms", rules.weight_gradient_echo))
    if _phases(part) == 1:
        pieces.append(("one image a location", rules.weight_single_phase))
    pieces = [(what, points) for what, points in pieces if points]
    return sum(points for _, points in pieces), ", ".join(
        f"{what} {points:+d}" for what, points in pieces
    ) or "no evidence"


def _name_evidence(name: str, rules: Rules) -> tuple[str, int]:
    if found := matches(rules.lge_names, *forms(name)):
        return f"name '{found[0]}'", rules.weight_name
    if found := matches(rules.weak_lge_names, *forms(name)):
        first = found.start() == 0
        return f"name '{found[0]}'", rules.weight_weak_name_first if first else rules.weight_weak_name
    return "", 0


def _plane(part: Part, rules: Rules, cine_normals: Sequence[np.ndarray]) -> tuple[str, str]:
    """Return the reason against a short-axis plane ('' for none), and the angle as text."""
    angle = geometry.plane_angle(part.normal, rules.base)
    summary = f"{angle:.0f} degrees from the short axis"
    name = forms(part.first.name)
    named, named_long = matches(rules.short_axis_names, *name), matches(rules.long_axis_names, *name)
    if angle > rules.plane_limit:
        return "NOT_SHORT_AXIS", summary
    if named_long and not named:
        return "NOT_SHORT_AXIS", f"the name says '{named_long[0]}'; {summary}"
    if angle <= rules.plane_accept:
        return "", summary
    if named and not named_long:
        return "", f"{summary}, short axis by name"
    if any(geometry.plane_angle(part.normal, cine) <= rules.cine_agreement for cine in cine_normals):
        return "", f"{summary}, parallel to a short-axis cine"
    return "PLANE_UNCERTAIN", summary


def _odd_inversion_time(part: Part, rules: Rules) -> str:
    time = _median(frame.inversion_time for frame in part.frames)
    if time is not None and (time > rules.inversion_time_long or time < rules.inversion_time_min):
        return f"TI {time:g} ms"
    return ""


def _phases(part: Part) -> int:
    """Images at the usual location (upper median): one slice that was repeated often does not make a cine."""
    return _usual(len(originals(location)) for location in part.locations)


def _usual(counts: Iterable[int]) -> int:
    ordered = sorted(counts)
    return ordered[len(ordered) // 2]


def inversion_times(location: Sequence[Frame]) -> set[int]:
    """Return the inversion times of images, ms, as whole numbers."""
    return {round(frame.inversion_time) for frame in location if frame.inversion_time is not None}


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None
