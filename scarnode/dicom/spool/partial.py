"""A dataset on its way to disk: written to the spool's folder ``partial`` while it arrives."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Callable
from io import FileIO
from pathlib import Path

BUFFER = 512 << 10
"""Bytes of a dataset that lie in memory before they are written. A usual slice is smaller: it is written when whole."""

LARGE = 64 << 10
"""Bytes of a piece that is written without being copied first."""


class PartialFile:
    """A DICOM file that grows while its dataset arrives.

    Whoever made it discards it, or gives the
    file another name.

    Parameters
    ----------
    path : Path
        A new name.
    head : bytes
        What stands before the dataset: preamble, prefix and file meta group.
    room : callable
        Gives the bytes that may be written on the file system; asked before every write.

    Attributes
    ----------
    size : int
        Bytes of the dataset so far.
    """

    def __init__(self, path: Path, head: bytes, room: Callable[[], int]) -> None:
        self.path, self.head, self._room = path, head, room
        self.size = 0
        self._file: FileIO | None = None
        self._waiting = bytearray()
        self._sha256 = hashlib.sha256()

    def write(self, piece: bytes | memoryview) -> None:
        """Add bytes of the dataset.

        Raises
        ------
        OSError
            They can not be written; ENOSPC also where there is no room by `room`.
        """
        self.size += len(piece)
        if len(piece) >= LARGE:
            if self._waiting:
                self.flush()
            self._write(piece)
            return
        self._waiting += piece
        if len(self._waiting) >= BUFFER:
            self.flush()

    def flush(self) -> FileIO:
        """Hand all that came to the operating system, and give the file; OSError as of `write`."""
        file = self._file
        if self._waiting or file is None:
            file = self._write(self._waiting)
            self._waiting = bytearray()
        return file

    def _write(self, data: bytes | bytearray | memoryview) -> FileIO:
        if self._room() < len(data):
            raise OSError(errno.ENOSPC, "below the floor of free disk space")
        file = self._file
        if file is None:
            file = self._file = FileIO(self.path, "xb+")
            os.fchmod(file.fileno(), 0o600)
            write_all(file, self.head)
        write_all(file, data)
        self._sha256.update(data)
        return file

    def digest(self, more: bytes = b"") -> str:
        """Return the SHA-256 of what was flushed of the dataset, and of `more` behind it."""
        sha256 = self._sha256.copy()
        sha256.update(more)
        return sha256.hexdigest()

    def give_head(self, path: Path, head: bytes) -> None:
        """Write another head before the same dataset: in a copy under another new name, which is the file from now on.

        Raises
        ------
        OSError
            As of `write`; the file is then discarded.
        """
        source, old = self.flush(), self.path
        try:
            if self._room() < self.size:
                raise OSError(errno.ENOSPC, "below the floor of free disk space")
            start = len(self.head)
            self.path, self.head, self._file = path, head, FileIO(path, "xb+")
            os.fchmod(self._file.fileno(), 0o600)
            write_all(self._file, head)
            while piece := os.pread(source.fileno(), BUFFER, start):
                write_all(self._file, piece)
                start += len(piece)
        finally:
            source.close()
            old.unlink(missing_ok=True)

    def close(self) -> None:
        """Return the descriptor; the file stays."""
        if self._file is not None:
            self._file.close()

    def discard(self) -> None:
        """Delete the file, where it still has its first name."""
        self._waiting = bytearray()
        if self._file is not None:
            self._file.close()
            self.path.unlink(missing_ok=True)


def write_all(file: FileIO, data: bytes | bytearray | memoryview) -> None:
    """Write to a raw file: one write may stop short, e.g. on a disk that fills up."""
    with memoryview(data) as whole:
        start = 0
        while start < len(whole):
            start += file.write(whole[start:])
