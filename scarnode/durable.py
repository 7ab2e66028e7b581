"""Files that are whole or absent, also after a crash."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from uuid import uuid4


def replace_durably(path: Path, parts: Iterable[bytes]) -> None:
    """Write a file as `write_durably` does, by way of a hidden one beside it.

    What a process that was killed left of the same file is removed.

    Parameters
    ----------
    path : Path
        Replaced where it exists. Only one process at a time writes it.
    parts : iterable of bytes
        Written one after the other.

    Raises
    ------
    OSError
        Disk full or the like; no part of the file is left behind.
    """
    for left_over in path.parent.glob(f".{glob.escape(path.name)}-" + "[0-9a-f]" * 32):
        left_over.unlink(missing_ok=True)
    write_durably(path, path.parent / f".{path.name}-{uuid4().hex}", parts)


def make_folder(path: Path) -> None:
    """Make a folder (mode 0700), and those above it, whose names survive a power loss once this returns.

    Raises
    ------
    OSError
        It can not be made.
    """
    above = [parent for parent in path.parents if not parent.exists()]
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (path, *above):
        sync_folder(folder.parent)


def check_writable(folder: Path) -> None:
    """Make a file in a folder and remove it: what the file system says, not what its mode promises.

    Raises
    ------
    OSError
        It can not be written.
    """
    probe = folder / f".probe-{uuid4().hex}"
    probe.touch()
    probe.unlink()


NOT_GUARDED = nullcontext()

SYNCING = ThreadPoolExecutor(16, "sync")
"""Syncs a folder while its writer syncs the file. One after the other took six times as long on a busy machine."""


def write_durably(
    path: Path,
    temporary: Path,
    parts: Iterable[bytes],
    placing: AbstractContextManager[object] = NOT_GUARDED,
    place_first: bool = False,
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
    place_first : bool
        Give a file whose name is new that name before its bytes are synced, and sync both at once: a journaling file
        system writes them down in one commit. After a crash in between, what bears the name may be short, empty or
        zeros: only for a reader that can tell. A name that is there already is replaced as ever.

    Raises
    ------
    OSError
        Disk full or the like; no part of the file is left behind.
    """
    placed = False
    file = temporary.open("xb", buffering=0)
    with file:
        try:
            os.fchmod(file.fileno(), 0o600)
            for part in parts:
                view = memoryview(part)
                while view:  # a raw write may stop short, e.g. on a disk that fills up
                    view = view[file.write(view) :]
            if place_first:
                with placing:
                    if placed := not path.exists():
                        temporary.rename(path)
            if placed:
                folder = SYNCING.submit(sync_folder, path.parent)
                os.fsync(file.fileno())
                folder.result()
                return
            os.fsync(file.fileno())
            with placing:
                temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            if placed:
                with placing:
                    _unlink_if_same(path, file.fileno())
            raise
    sync_folder(path.parent)


def _unlink_if_same(path: Path, descriptor: int) -> None:
    """Remove a file, unless another has taken its place."""
    with suppress(FileNotFoundError):
        if os.path.samestat(path.stat(), os.fstat(descriptor)):
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a power loss: fsync of a file does not do that."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
