"""Several files under one SOP Instance UID: sent again, or two different images?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from scarnode.errors import InputError
from scarnode.stack.digest import dataset_digest
from scarnode.stack.headers import Frame
from scarnode.stack.pixels import content_digest

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
    for instance in instances:
        by_uid[instance[0].sop_instance_uid].append(instance)
    kept: list[Instance] = []
    for uid in sorted(by_uid):
        same = sorted(by_uid[uid], key=lambda instance: str(instance[0].path))
        sound = [instance for instance in same if not any(frame.fault for frame in instance)] or same
        if len(sound) == 1 or _one_image(sound):
            kept.append(sound[0])
            continue
        detail = f"{len(sound)} files with different content"
        kept += [
            tuple(replace(frame, fault="CONFLICTING_CONTENT", fault_detail=detail) for frame in instance)
            for instance in sound
        ]
    return kept


def _one_image(instances: list[Instance]) -> bool:
    paths = [instance[0].path for instance in instances]
    owners = {(instance[0].study_instance_uid, instance[0].series_instance_uid) for instance in instances}
    try:
        if len({dataset_digest(path) for path in paths}) == 1:
            return True
        return len(owners) == 1 and len({content_digest(path) for path in paths}) == 1
    except InputError:
        return False
