"""The identity of a stack: whose header counts where its images differ, and which values no result can copy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from scarnode.dicom.part10 import read
from scarnode.dicom.values import PATIENT_AND_STUDY, read_value
from scarnode.pipeline.stack.headers import Frame
from scarnode.pipeline.stack.model import Flag, Stack

_CHECKED = (*(keyword for keyword in PATIENT_AND_STUDY if keyword != "TimezoneOffsetFromUTC"), "InstitutionName")


def state_identity(stack: Stack, frames: Mapping[Path, Frame], arrivals: Mapping[Path, int] | None) -> Stack:
    """Choose the image whose header gives patient and study of a stack, and flag what a reader must know.

    Parameters
    ----------
    stack : Stack
    frames : mapping of Path to Frame
        The first frame of each file.
    arrivals : mapping of Path to int or None
        As of `find_stacks`.

    Returns
    -------
    Stack
        With `identity_frame`, `left_empty` and the flags IDENTITY_CHANGED and IDENTITY_INCOMPLETE.
    """
    own = [frames[frame.path] for frame in stack.frames]
    identities = list(dict.fromkeys(frame.identity for frame in own))
    index = 0
    if arrivals is not None and len(identities) > 1:
        index = max(range(len(own)), key=lambda at: (arrivals.get(own[at].path, -1), -at))
    flags = set(stack.flags)
    if any(frame.identity_changed for frame in own) or any(one.contradicts(two) for one, two in pairwise(identities)):
        flags.add(Flag.IDENTITY_CHANGED)
    left_empty = _left_empty(own[index].path)
    if left_empty:
        flags.add(Flag.IDENTITY_INCOMPLETE)
    ordered = tuple(flag for flag in Flag if flag in flags)
    return replace(stack, flags=ordered, identity_frame=index, left_empty=left_empty)


def _left_empty(path: Path) -> tuple[str, ...]:
    try:
        header = read(path, ["SpecificCharacterSet", *_CHECKED])
    except Exception:  # it was read a moment ago: the next reader reports the fault
        return ()
    return tuple(keyword for keyword in _CHECKED if read_value(header, keyword).lost)
