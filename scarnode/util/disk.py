"""How much room a disk has left, and the floor below which nothing new is begun on it."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Why a write fails on a file system, or for a user, without space."""

MARKER = ".scarnode"
"""Empty folder in the results folder that tells it from the empty mount point of its disk."""

FULL = 4_000_000
"""Free bytes, or the fiftieth part of a smaller disk, below which a disk is full whatever its floor. SQLite's log grows
to about this size between checkpoints."""

INODES = 10_000
"""Files that can still be made where a file system has a fixed number of them: the floor is no higher than this."""

RESERVE_FOR_WORK = 0.5
"""Share of the floor that jobs in hand may use up.

New images stop at the floor. Were the jobs to stop there too, a node with everything on one disk could not deliver
what it has, and so never free anything. What is left below belongs to the ledger.
"""


@dataclass(frozen=True)
class DiskUsage:
    """What a file system has left.

    Attributes
    ----------
    free, total, floor : int
        Bytes: what this user can still write, all there are, and what shall stay free.
    files : bool
        Whether enough files can still be made (inodes).
    no_files : bool
        Whether none can be made, whatever the floor.
    """

    free: int
    total: int
    floor: int
    files: bool = True
    no_files: bool = False

    @property
    def spare(self) -> int:
        """Bytes above the floor; negative below it."""
        return self.free - self.floor if self.files else -self.floor - 1

    @property
    def full(self) -> bool:
        """Return whether next to nothing can be written, whatever the floor."""
        return self.no_files or self.free < min(FULL, self.total // 50)

    @property
    def for_work(self) -> bool:
        """Return whether results of what was received before may be written."""
        return self.spare >= -self.floor * RESERVE_FOR_WORK

    def __str__(self) -> str:
        """Format it for a person."""
        if not self.files:
            return f"fewer than {INODES} files can still be made (inodes)"
        if self.no_files:
            return "no file can be made any more (inodes)"
        return f"{_amount(self.free)} free of {_amount(self.total)}, floor {_amount(self.floor)}"


@dataclass(frozen=True)
class FreeSpaceLimit:
    """What shall stay free on a file system: the smaller of a share and an amount.

    The reserve is for the work in hand: results of what was received, and the ledger. How much that is does not grow
    with the disk, so a share alone would stop a large archive's node with hundreds of gigabytes free, and an amount
    alone would take most of a small disk.

    Attributes
    ----------
    percent : float
        Of the file system's size. 0: no floor.
    gigabytes : float
        1 GB is 10**9 bytes. 0: no floor.
    """

    percent: float = 5.0
    gigabytes: float = 2.0

    def usage(self, folder: Path) -> DiskUsage:
        """Ask the file system of a folder (statvfs(3)): microseconds, where storing an image takes milliseconds."""
        status = os.statvfs(folder)
        total = status.f_blocks * status.f_frsize
        floor = int(min(total * self.percent / 100, self.gigabytes * 1e9))
        inodes = min(status.f_files * self.percent / 100, INODES) if floor else 0  # btrfs tells 0 inodes: no limit
        no_files = bool(status.f_files) and not status.f_favail
        return DiskUsage(status.f_bavail * status.f_frsize, total, floor, status.f_favail >= inodes, no_files)


NO_LIMIT = FreeSpaceLimit(0, 0)


def why_away(folder: Path, marker: str) -> str:
    """Describe why a folder can not be used; empty where it can.

    Parameters
    ----------
    folder : Path
    marker : str
        What lies in it as long as it is the one that it was at the start.
    """
    try:
        folder.stat()
    except OSError as error:
        return f"{folder}: {error.strerror}"
    try:
        (folder / marker).stat()
    except FileNotFoundError:
        return f"{folder}: another folder lies in its place (it has no {marker})"
    except OSError as error:
        return f"{folder}: {error.strerror}"
    return ""


def _amount(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.1f} MB"
