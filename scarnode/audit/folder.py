"""Audit messages on disk until the repository has them."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from uuid import uuid4

from scarnode.util.durable import make_folder, write_durably


class MessageFolder:
    """A folder (mode 0700) of syslog messages (mode 0600), a file each, named so that their order is that of time.

    The node and the command line write to it at once, the node alone takes out of it.

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
            # a clock that was set back must not turn the order of one process's messages round
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
        """Keep a message that can never be sent where a person finds it."""
        make_private(self.root / "unsendable")
        path.replace(self.root / "unsendable" / path.name)


def make_private(folder: Path) -> None:
    """Make a folder that its owner alone can enter; root makes it for whoever owns what it lies in."""
    if folder.is_dir() and not folder.is_symlink():
        return
    make_folder(folder, folder.parent)
    chown_like_parent(folder)


def chown_like_parent(path: Path) -> None:
    """Where root runs a command, let what it wrote belong to the node's user."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)
