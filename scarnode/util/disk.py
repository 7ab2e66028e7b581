"""Disk usage, and the limit of free space below which a disk takes no new images."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
"""Errors of a write where the file system is full, or the user's quota is used up."""

MARKER = ".scarnode"
"""Empty folder in the results folder. It is missing where the disk is not mounted."""

FULL = 4_000_000
"""Free bytes below which a disk counts as full whatever its limit; on a smaller disk a fiftieth of its size. SQLite's
log grows to about this size between checkpoints."""

INODES = 10_000
"""Largest limit of free inodes, for file systems with a fixed number of them."""

RESERVE_FOR_WORK = 0.5
"""Share of the limit that running jobs may use.

The node refuses new images at the limit. If jobs stopped there too, a node with one disk could not deliver its results,
and so could free no space. The rest below the limit is for the ledger.
"""


@dataclass(frozen=True)
class DiskUsage:
    """The usage of a file system.

    Attributes
    ----------
    free, total, floor : int
        Bytes: what this user can still write, the size, and the limit of free space.
    files : bool
        Whether enough files can still be made (inodes).
    no_files : bool
        Whether no file can be made at all, whatever the limit.
    """

    free: int
    total: int
    floor: int
    files: bool = True
    no_files: bool = False

    @property
    def spare(self) -> int:
        """Bytes above the limit; negative below it."""
        return self.free - self.floor if self.files else -self.floor - 1

    @property
    def full(self) -> bool:
        """Return whether the disk is full, whatever the limit."""
        return self.no_files or self.free < min(FULL, self.total // 50)

    @property
    def for_work(self) -> bool:
        """Return whether results of images that are already here may be written."""
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
    """The space that must stay free on a file system: the smaller of a share and an amount.

    The reserve is for results of received images and for the ledger. Its size does not depend on the disk. A share
    alone would stop the node of a large archive with hundreds of gigabytes free. An amount alone would take most of a
    small disk.

    Attributes
    ----------
    percent : float
        Of the file system's size. 0: no limit.
    gigabytes : float
        1 GB is 10**9 bytes. 0: no limit.
    """

    percent: float = 5.0
    gigabytes: float = 2.0

    def usage(self, folder: Path) -> DiskUsage:
        """Return the usage of a folder's file system. statvfs(3) takes microseconds, storing an image milliseconds."""
        status = os.statvfs(folder)
        total = status.f_blocks * status.f_frsize
        floor = int(min(total * self.percent / 100, self.gigabytes * 1e9))
        inodes = min(status.f_files * self.percent / 100, INODES) if floor else 0  # btrfs reports 0 inodes: no limit
        no_files = bool(status.f_files) and not status.f_favail
        return DiskUsage(status.f_bavail * status.f_frsize, total, floor, status.f_favail >= inodes, no_files)


NO_LIMIT = FreeSpaceLimit(0, 0)


def why_away(folder: Path, marker: str) -> str:
    """Return why a folder can not be used; empty where it can.

    Parameters
    ----------
    folder : Path
    marker : str
        Name of an entry that the folder had at the start, and has while its disk is mounted.
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
