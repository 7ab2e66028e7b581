"""A small disk: a tmpfs that one process sees, and the test through it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.harness.node import Node
from tests.harness.tools import find_tool

MOUNT = 'mount -t tmpfs -o size="$1",mode=700 tmpfs "$2" && shift 2 && exec "$@"'

QUERY = """
import json, sqlite3, sys
connection = sqlite3.connect(f"file:{sys.argv[1]}?mode=ro", uri=True, timeout=10)
print(json.dumps(connection.execute(sys.argv[2]).fetchall()))
"""


def small_disk(folder: Path, size: str) -> list[str]:
    """Give what stands before a command for which `folder` shall be a disk of that size (``8m``), or skip the test.

    A mount namespace of its own, in a user namespace: no privilege is needed where the kernel allows these.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = find_tool("unshare")
    if not _allowed(program):
        pytest.skip("unshare may not mount a tmpfs here")
    return [program, "-rm", "sh", "-c", MOUNT, "sh", size, str(folder)]


@cache
def _allowed(program: str) -> bool:
    command = [program, "-rm", "sh", "-c", "mount -t tmpfs -o size=1m tmpfs /tmp"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


class Inside:
    """The node's small disk, seen from outside."""

    def __init__(self, node: Node, folder: Path) -> None:
        self._pid, self._folder = node.pid, folder
        self.path = Path(f"/proc/{node.pid}/root{folder}")
        self._ballast = self.path / "ballast"

    def free(self) -> int:
        """Bytes that are left."""
        status = os.statvfs(self.path)
        return status.f_bavail * status.f_frsize

    def fill(self, leave: int = 0) -> None:
        """Write a file that leaves this many bytes."""
        with self._ballast.open("ab", buffering=0) as file:
            block = bytes(4096)
            while self.free() > leave:
                try:
                    file.write(block)
                except OSError:
                    return

    def empty(self) -> None:
        """Delete that file."""
        self._ballast.unlink()

    def grow(self, size: str) -> None:
        """Make the disk larger."""
        self._run("mount", "-o", f"remount,size={size}", str(self._folder))

    def query(self, ledger: str, statement: str) -> list[Any]:
        """Give the rows of a SELECT from a ledger on the disk (SQLite does not find one through /proc)."""
        return json.loads(self._run(sys.executable, "-c", QUERY, str(self._folder / ledger), statement))

    def _run(self, *command: str) -> str:
        into = [find_tool("nsenter"), "--user", "--mount", "--preserve-credentials", "-t", str(self._pid)]
        return subprocess.run([*into, *command], check=True, capture_output=True, text=True).stdout
