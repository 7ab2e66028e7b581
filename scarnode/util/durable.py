"""Files that are whole or absent, also after a crash. They have mode 0600, and no symbolic link is followed."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from io import FileIO
from pathlib import Path
from typing import TextIO
from uuid import uuid4


class LinkError(OSError):
    """A symbolic link, or another user's file, lies where the node expects its own file or folder."""

    def __init__(self, path: object, what: str) -> None:
        super().__init__(errno.ELOOP, what, str(path))


LINK = "a symbolic link lies there, which is not followed: remove it"


def replace_durably(path: Path, parts: Iterable[bytes], root: Path | None = None, sync: bool = True) -> None:
    """Write a file (mode 0600) through a hidden temporary file beside it. A symbolic link in its place is replaced.

    The temporary file of a process that was killed is removed.

    Parameters
    ----------
    path : Path
        Replaced where it exists. Only one process at a time writes it.
    parts : iterable of bytes
        Written one after the other.
    root : Path, optional
        The folder that the user or config.ini named. Links in its own path are followed, links below it are not.
        Folders below it are created (mode 0700). Default: the file's folder, which must exist.
    sync : bool
        Contents and name survive a power loss once this returns.

    Raises
    ------
    OSError
        Disk full or the like; no part of the file is left behind. `LinkError`: a folder is a symbolic link.
    """
    with _opened(path.parent, root, make=root is not None) as folder:
        left_over = re.compile(re.escape(f".{path.name}-") + "[0-9a-f]{32}")
        for name in filter(left_over.fullmatch, os.listdir(folder)):  # noqa: PTH208 (an open folder)
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=folder)
        temporary = f".{path.name}-{uuid4().hex}"
        with os.fdopen(_create(temporary, folder), "wb", buffering=0) as file:
            try:
                _write_all(file, parts)
                if sync:
                    os.fsync(file.fileno())
                os.replace(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
            except BaseException:
                with suppress(OSError):
                    os.unlink(temporary, dir_fd=folder)
                raise
        if sync:
            os.fsync(folder)


def open_to_append(path: Path, root: Path | None = None) -> TextIO:
    """Open a text file (mode 0600) for reading and appending; create it where it is absent.

    Parameters
    ----------
    path : Path
    root : Path, optional
        As of `replace_durably`.

    Raises
    ------
    OSError
        It can not be opened. `LinkError`: it is a link, no plain file, or another user's file.
    """
    with _opened(path.parent, root, make=root is not None) as folder:
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            number = os.open(path.name, flags, 0o600, dir_fd=folder)
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise LinkError(path, LINK) from None
            raise
        try:
            status, owner = os.fstat(number), os.fstat(folder).st_uid
            if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
                raise LinkError(path, "no plain file lies there, or one with other names (hard links): remove it")
            if status.st_uid not in (os.geteuid(), owner):
                raise LinkError(path, "another user's file lies there: remove it")
            os.fchmod(number, 0o600)
        except BaseException:
            os.close(number)
            raise
    return os.fdopen(number, "a+", encoding="utf-8")


def make_folder(path: Path, root: Path | None = None) -> None:
    """Create a folder (mode 0700) and its parents. Their names survive a power loss once this returns.

    Parameters
    ----------
    path : Path
    root : Path, optional
        No symbolic link below it is followed. Default: the folder itself.

    Raises
    ------
    OSError
        It can not be made. `LinkError`: a folder is a symbolic link.
    """
    top = path if root is None else root
    above = [parent for parent in top.parents if not parent.exists()]
    top.mkdir(parents=True, exist_ok=True, mode=0o700)
    for folder in (top, *above):
        sync_folder(folder.parent)
    if root is not None:
        with _opened(path, root, make=True):
            pass


@contextmanager
def _opened(folder: Path, root: Path | None, make: bool) -> Iterator[int]:
    """Open a folder for the ``dir_fd`` of other calls, so that replacing it by a link meanwhile has no effect."""
    top = folder if root is None else root
    names = folder.relative_to(top).parts
    if make:
        top.mkdir(parents=True, exist_ok=True, mode=0o700)
    number = os.open(top, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for place, name in enumerate(names, 1):
            inner = _enter(name, number, make, top.joinpath(*names[:place]))
            os.close(number)
            number = inner
        yield number
    finally:
        os.close(number)


def _enter(name: str, above: int, make: bool, path: Path) -> int:
    """Open a folder inside an open one; create it where it is absent."""
    if name == "..":
        raise LinkError(path, "it leads out of its folder")
    if make:
        with suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=above)
            os.fsync(above)
    try:
        return os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above)
    except OSError:
        if stat.S_ISLNK(os.stat(name, dir_fd=above, follow_symlinks=False).st_mode):
            raise LinkError(path, LINK) from None
        raise


def _create(name: str | Path, folder: int | None = None) -> int:
    """Create a file that only its owner can read from the start, and return its descriptor."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    number = os.open(name, flags, 0o600, dir_fd=folder)
    os.fchmod(number, 0o600)  # a umask may have removed the owner's permissions too
    return number


def _write_all(file: FileIO, parts: Iterable[bytes]) -> None:
    for part in parts:
        view = memoryview(part)
        while view:  # a raw write may be short, e.g. on a disk that fills up
            view = view[file.write(view) :]


def check_writable(folder: Path) -> None:
    """Check that a folder can be written, by creating and removing a file: its mode alone does not show that.

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
"""Syncs a folder while the caller syncs the file. One after the other took six times as long on a busy machine."""


def write_durably(path: Path, temporary: Path, parts: Iterable[bytes]) -> None:
    """Write a file (mode 0600) so that its bytes survive a power loss once this returns.

    Parameters
    ----------
    path : Path
        Replaced where it exists.
    temporary : Path
        A new name on the same file system.
    parts : iterable of bytes
        Written one after the other.

    Raises
    ------
    OSError
        Disk full or the like; no part of the file is left behind.
    """
    file = os.fdopen(_create(temporary), "wb", buffering=0)
    with file:
        try:
            _write_all(file, parts)
            place(file, temporary, path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def place(file: FileIO, temporary: Path, path: Path, placing: AbstractContextManager[object] = NOT_GUARDED) -> None:
    """Sync a written file and rename it, so that contents and name survive a power loss once this returns.

    Parameters
    ----------
    file : FileIO
        Open.
    temporary : Path
        The name that it has.
    path : Path
        Replaced where it exists, by bytes that are synced.
    placing : context manager
        Held during the rename, e.g. a lock.

    Raises
    ------
    OSError
        The file may still have its former name.
    """
    os.fsync(file.fileno())
    with placing:
        temporary.replace(path)
    sync_folder(path.parent)


def place_new(file: FileIO, temporary: Path, path: Path, placing: AbstractContextManager[object] = NOT_GUARDED) -> bool:
    """Rename a written file to a new name, then sync contents and name at once.

    A journaling file system writes both in one commit. After a crash in between, the named file may be short, empty or
    zeros. Use it only where the reader can detect that.

    Parameters
    ----------
    file, temporary, path, placing
        As of `place`.

    Returns
    -------
    bool
        False: a file has this name already; nothing was done.

    Raises
    ------
    OSError
        The file has no name any more, or still has the temporary one.
    """
    with placing:
        if path.exists():
            return False
        temporary.rename(path)
    try:
        folder = SYNCING.submit(sync_folder, path.parent)
        os.fsync(file.fileno())
        folder.result()
    except BaseException:
        with placing:
            _unlink_if_same(path, file.fileno())
        raise
    return True


def _unlink_if_same(path: Path, descriptor: int) -> None:
    """Remove a file, unless another file has replaced it."""
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
