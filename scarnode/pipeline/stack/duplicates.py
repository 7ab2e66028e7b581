"""Decides for several files of one SOP Instance UID whether one image was sent again, or the images differ."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path

from scarnode.pipeline.stack.digest import dataset_digest
from scarnode.pipeline.stack.headers import Frame
from scarnode.pipeline.stack.patient import difference
from scarnode.pipeline.stack.pixels import content_digests, stored_digest
from scarnode.util.errors import InputError, SystemFaultError

Instance = tuple[Frame, ...]
_MANY = 50
"""Most versions of one header that are compared. No archive coerces an image more often."""


def resolve(instances: Iterable[Instance], arrivals: Mapping[Path, int] | None = None) -> list[Instance]:
    """Keep one file of each SOP instance: the first that came with the identity that came last.

    Files with equal datasets, or with equal pixels and geometry, are one instance that was sent again. An archive may
    have coerced its header, or compressed it without loss. A sound file replaces a damaged one.

    If all files agree on patient and study, the first is kept, so that an image that arrives again makes no second job.
    If they differ, the header was corrected: the last file counts, and its frames are marked `identity_changed`.

    Files of different images are all kept, and their frames get the fault CONFLICTING_CONTENT, because it is unknown
    which one is right. The same holds for files of one image with two patients, unless it is known which came last. A
    copy whose identity was removed for research never replaces the original.

    Parameters
    ----------
    instances : iterable of tuple of Frame
        As `read_frames` gives them, in order of arrival.
    arrivals : mapping of Path to int, optional
        Place of each file in the order of its last arrival; None where unknown.

    Returns
    -------
    list of tuple of Frame
        Ordered by UID.

    Raises
    ------
    SystemFaultError
        A file whose content decides can not be read.
    """
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    for instance in instances:
        by_uid[instance[0].sop_instance_uid].append(instance)
    several = {uid: _sound(same) for uid, same in by_uid.items() if len(same) > 1}
    unlike = [uid for uid, same in several.items() if len(same) > 1 and not _same_bytes(same)]
    why = {uid: _header_conflict(several[uid], arrivals is not None) for uid in unlike}
    alike = [uid for uid in unlike if not why[uid]]
    again = [uid for uid in alike if not _same_stored_pixels(several[uid])]
    shown = content_digests([instance[0].path for uid in again for instance in several[uid]])
    for uid in again:
        contents = {shown.get(instance[0].path) for instance in several[uid]}
        if len(contents) > 1 or None in contents:
            why[uid] = "another file of the same SOP Instance UID has different content"
    kept: list[Instance] = []
    for uid in sorted(by_uid):
        same = several.get(uid, by_uid[uid])
        kept += [_quarantined(one, why[uid]) for one in same] if why.get(uid) else [_current(same, arrivals)]
    return kept


def _current(same: list[Instance], arrivals: Mapping[Path, int] | None) -> Instance:
    """Return the valid version of one image."""
    identities = {one[0].identity for one in same}
    if len(identities) == 1:
        return same[0]
    last = same[0] if arrivals is None else max(same, key=lambda one: arrivals.get(one[0].path, -1))
    first = next(one for one in same if one[0].identity == last[0].identity)
    return tuple(replace(frame, identity_changed=True) for frame in first)


def _sound(same: list[Instance]) -> list[Instance]:
    """Leave out damaged files where there is a sound one."""
    return [instance for instance in same if not any(frame.fault for frame in instance)] or same


def _same_bytes(same: list[Instance]) -> bool:
    try:
        return len({dataset_digest(instance[0].path) for instance in same}) == 1
    except SystemFaultError:
        raise
    except InputError:
        return False


def _header_conflict(same: list[Instance], ordered: bool) -> str:
    """Return which header values make two images of one UID; '' where the pixels have to decide."""
    if len({(one[0].study_instance_uid, one[0].series_instance_uid) for one in same}) > 1:
        return "another file of the same SOP Instance UID belongs to another series"
    if len({tuple(map(_geometry, one)) for one in same}) > 1:
        return "another file of the same SOP Instance UID has different content: it lies elsewhere"
    if ordered and len({one[0].identity.removed for one in same}) == 1:
        return ""  # corrected at the source: the last one counts
    # What one header lacks makes the relation no equivalence: every two must agree.
    patients = list(dict.fromkeys(one[0].patient for one in same))
    for one, other in combinations(patients[:_MANY], 2):
        if keyword := difference(one, other, same_image=True):
            return f"another file of the same SOP Instance UID names another patient ({keyword})"
    return ""


def _geometry(frame: Frame) -> tuple:
    return (
        frame.frame_number,
        frame.rows,
        frame.columns,
        frame.frame_of_reference_uid,
        frame.position,
        frame.orientation,
        frame.pixel_spacing,
        frame.slice_thickness,
        frame.spacing_between_slices,
    )


def _same_stored_pixels(same: list[Instance]) -> bool:
    """Return whether files hold the same encoded pixel data and the same attributes of it, so that none is decoded."""
    return len({stored_digest(one[0].path) or str(one[0].path) for one in same}) == 1


def _quarantined(instance: Instance, why: str) -> Instance:
    return tuple(replace(frame, fault="CONFLICTING_CONTENT", fault_detail=why) for frame in instance)
