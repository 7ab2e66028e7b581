"""Files that are whole or absent, also after a crash."""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

NOT_GUARDED = nullcontext()


def write_durably(
    path: Path, temporary: Path, parts: Iterable[bytes], placing: AbstractContextManager[object] = NOT_GUARDED
) -> None:
    """Write a file (mode 0600) so that its bytes survive a power loss once this returns.

    Parameters
    ----------
    path : Path
        Replaced where it exists.
    temporary : Path
        A new name on the same file system.
    parts : iterable of bytes
        Written one after the other.
    placing : context manager
        Held while the file takes its place, e.g. a lock.

    Raises
    ------
    OSError
        Disk full or the like; no part of the file is left behind.
    """
    try:
        with temporary.open("xb", buffering=0) as file:
            os.fchmod(file.fileno(), 0o600)
            for part in parts:
                view = memoryview(part)
                while view:  # a raw write may stop short, e.g. on a disk that fills up
                    view = view[file.write(view) :]
            os.fsync(file.fileno())
        with placing:
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
