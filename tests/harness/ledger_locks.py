"""What the system says of a ledger's files: the locks on them, and those that a process has open though deleted."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

LASTING = ("1073741826", "128")
"""First bytes of the locks that a connection holds while it is open: SHARED on the database, and DMS on the index."""


def locks_on(ledger: Path) -> set[tuple[str, ...]]:
    """Return the lasting POSIX locks on a SQLite database and on the index of its log: process, inode, range."""
    inodes = {str(file.stat().st_ino) for file in (ledger, Path(f"{ledger}-shm")) if file.exists()}
    rows = [line.split() for line in Path("/proc/locks").read_text().splitlines()]
    held = [row for row in rows if row[1] == "POSIX"]
    held = [row for row in held if row[6] in LASTING]
    return {(row[4], *row[5].rsplit(":", 1)[1:], *row[6:]) for row in held if row[5].rsplit(":", 1)[1] in inodes}


def deleted_files(pid: int, ledger: Path) -> list[str]:
    """Return the files of a ledger that a process has open and that are deleted."""
    names = []
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(OSError):
            names.append(str(descriptor.readlink()))
    return [name for name in names if name.startswith(str(ledger.resolve())) and name.endswith("(deleted)")]
