"""Copies of images: which are rejected, and which are used only where the original of a location is missing.

Scanners also mark images as DERIVED that are the only ones of their kind (phase-sensitive, motion-corrected). So that
value alone rejects nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from scarnode.pipeline.stack.headers import Frame

_SCREEN = re.compile(r"\bSCREEN|\bSCRNSAVE|\bCAPTURE|\bSNAPSHOT\b|\bANNOTAT|\bPRINT\b|\bFILM\b")
_REFORMAT = re.compile(
    r"\b(MPR|CPR|MIP|MINIP|MAXIP|VRT?|SSD)\b|\b(MAX|MIN|MEAN) IP\b|REFORMAT|\bCURVED\b|\bPROJECTION|\bRESAMPLED\b"
    r"|\bVOLUME RENDER"
)


def annotated(frame: Frame) -> tuple[str, str] | None:
    """Return reason and detail where something was drawn into the pixels; None for other images.

    No setting accepts such an image: lines and letters would be measured as signal.
    """
    if frame.burned_in:
        return "BURNED_IN", "BurnedInAnnotation is YES"
    if found := _SCREEN.search(_image_type_text(frame)):
        return "SCREEN_SAVE", f"ImageType says '{found[0]}'"
    return None


def reformatted(frame: Frame) -> tuple[str, str] | None:
    """Return reason and detail where an image was computed from other slices; None for other images."""
    if not _is_derived(frame) or "MOCO" in frame.image_type:  # motion correction resamples within the slice
        return None
    found = _REFORMAT.search(_image_type_text(frame))
    return ("REFORMATTED", f"ImageType says DERIVED and '{found[0]}'") if found else None


def remoteness(frame: Frame) -> tuple[bool, bool]:
    """Return a sort key of the distance from the scanner's reconstruction: derived, lossy. Originals sort first."""
    return _is_derived(frame), frame.lossy


def originals(location: Iterable[Frame]) -> list[Frame]:
    """Of the images of one place, those that are least remote."""
    frames = list(location)
    nearest = min(map(remoteness, frames))
    return [frame for frame in frames if remoteness(frame) == nearest]


def best(location: Iterable[Frame]) -> Frame:
    """Choose the image of a location to analyse: the latest original; of equally late ones always the same."""
    return max(originals(location), key=lambda frame: (frame.acquired, frame.sop_instance_uid, frame.frame_number))


def is_copy(frames: Sequence[Frame], others: Sequence[Frame]) -> bool:
    """Return whether images are copies of others of the same places, component and plane.

    They are where all of them are more remote than the others and no inversion time speaks against it.
    """
    if min(map(remoteness, frames)) <= min(map(remoteness, others)):
        return False
    times = {frame.inversion_time for frame in frames} - {None}
    return not times or bool(times & {frame.inversion_time for frame in others}) or not _timed(others)


def _timed(frames: Iterable[Frame]) -> bool:
    return any(frame.inversion_time is not None for frame in frames)


def _is_derived(frame: Frame) -> bool:
    return "DERIVED" in frame.image_type[:1] or "SECONDARY" in frame.image_type[1:2]


def _image_type_text(frame: Frame) -> str:
    """Return the values of ImageType as words, joined by blanks."""
    return " ".join(re.findall(r"[A-Z0-9]+", " ".join(frame.image_type)))
