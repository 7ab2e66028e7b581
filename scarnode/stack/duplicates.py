"""Several files under one SOP Instance UID: sent again, or two different images?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from scarnode.errors import InputError
from scarnode.stack.digest import dataset_digest
from scarnode.stack.headers import Frame
from scarnode.stack.pixels import content_digests

Instance = tuple[Frame, ...]


def resolve(instances: Iterable[Instance]) -> list[Instance]:
    """Keep one file of each SOP instance.

    Files of equal datasets, or of equal pixels and geometry, are one instance that was sent again; a damaged file
    gives way to a sound one. Files that show different images are all kept, and their frames carry the fault
    CONFLICTING_CONTENT: nobody can tell which is right.

    Parameters
    ----------
    instances : iterable of tuple of Frame
        As `read_frames` gives them, in any order.

    Returns
    -------
    list of tuple of Frame
        Ordered by UID.
    """
    by_uid: dict[str, list[Instance]] = defaultdict(list)
    for instance in sorted(instances, key=lambda instance: str(instance[0].path)):
        by_uid[instance[0].sop_instance_uid].append(instance)
    several = {uid: _sound(same) for uid, same in by_uid.items() if len(same) > 1}
    unlike = [uid for uid, same in several.items() if len(same) > 1 and not _same_bytes(same)]
    shown = content_digests([instance[0].path for uid in unlike for instance in several[uid]])
    conflicts = {uid for uid in unlike if not _same_image(several[uid], shown)}
    kept: list[Instance] = []
    for uid in sorted(by_uid):
        same = several.get(uid, by_uid[uid])
        kept += map(_quarantined, same) if uid in conflicts else same[:1]
    return kept


def _sound(same: list[Instance]) -> list[Instance]:
    """Leave out damaged files where there is a sound one."""
    return [instance for instance in same if not any(frame.fault for frame in instance)] or same


def _same_bytes(same: list[Instance]) -> bool:
    try:
        return len({dataset_digest(instance[0].path) for instance in same}) == 1
    except InputError:
        return False


def _same_image(same: list[Instance], shown: dict[Path, str]) -> bool:
    """Tell whether files of different bytes belong to one series of one study and show one image there."""
    owners = {(instance[0].study_instance_uid, instance[0].series_instance_uid) for instance in same}
    contents = {shown.get(instance[0].path) for instance in same}
    return len(owners) == 1 and len(contents) == 1 and None not in contents


def _quarantined(instance: Instance) -> Instance:
    detail = "another file of the same SOP Instance UID has different content"
    return tuple(replace(frame, fault="CONFLICTING_CONTENT", fault_detail=detail) for frame in instance)
