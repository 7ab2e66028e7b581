"""Audit messages on disk until the repository has them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from uuid import uuid4

from scarnode.util.durable import make_folder, write_durably


class MessageFolder:
    """A folder (mode 0700) of syslog messages, one file (mode 0600) each. Their names sort by time.

    Node and command line may write to it at the same time. Only the node removes files.

    Parameters
    ----------
    root : Path
        Created where absent.

    Raises
    ------
    OSError
        It can not be created or read.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self._lock = threading.Lock()
        self._last = 0
        make_private(root)

    def put(self, message: bytes) -> None:
        """Write a message durably.

        Raises
        ------
        OSError
            Disk full or the like; no part of it is left behind.
        """
        make_private(self.root / "partial")
        with self._lock:
            # one process's messages stay in order, also when the clock is set back
            self._last = max(time.time_ns(), self._last + 1)
            name = f"{self._last:020d}-{os.getpid()}.msg"
        temporary = self.root / "partial" / uuid4().hex
        write_durably(self.root / name, temporary, [message])
        chown_like_parent(self.root / name)

    def waiting(self) -> list[Path]:
        """Return the messages, the oldest first."""
        names = [entry.name for entry in os.scandir(self.root) if entry.name.endswith(".msg")]
        return [self.root / name for name in sorted(names)]

    def set_aside(self, path: Path) -> None:
        """Move a message that can never be sent to a folder for the admin."""
        make_private(self.root / "unsendable")
        path.replace(self.root / "unsendable" / path.name)


def make_private(folder: Path) -> None:
    """Create a folder that only its owner can enter. Root gives it to the owner of its parent folder."""
    if folder.is_dir() and not folder.is_symlink():
        return
    make_folder(folder, folder.parent)
    chown_like_parent(folder)


def chown_like_parent(path: Path) -> None:
    """Give a file that root wrote to the owner of its parent folder, the node's user."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
