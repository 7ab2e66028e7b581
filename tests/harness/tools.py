"""Finding programs and ports, and waiting."""

from __future__ import annotations

import itertools
import os
import random
import re
import shutil
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

T = TypeVar("T")


def find_tool(name: str) -> str:
    """Give the full path of a program that is not Python's, or skip the test.

    pynetdicom installs commands that are called like dcmtk's: the folder of the running Python is left out.
    """
    ours = {Path(sys.prefix, "bin").resolve(), Path(sys.executable).parent.resolve()}
    system = {Path(folder).resolve() for folder in ("/usr/bin", "/usr/sbin", "/bin", "/sbin")}
    folders = [*os.environ.get("PATH", "").split(os.pathsep), *sorted(map(str, system))]
    kept = [
        folder
        for folder in folders
        if folder and (Path(folder).resolve() not in ours or Path(folder).resolve() in system)
    ]
    found = shutil.which(name, path=os.pathsep.join(kept))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


_WORKER = int(re.sub(r"\D", "", os.environ.get("PYTEST_XDIST_WORKER", "9"))) % 10
_PORTS = itertools.cycle(random.sample(range(10000 + 2000 * _WORKER, 12000 + 2000 * _WORKER), 2000))


def free_port() -> int:
    """Give a TCP port that nothing listens on, and that no other test will be given soon.

    Below those that the system gives to whoever connects, and apart for each process of a parallel run: a port that was
    free a moment ago is taken there by somebody else.
    """
    while True:
        port = next(_PORTS)
        with socket.socket() as sock, suppress(OSError):
            sock.bind(("127.0.0.1", port))
            return port


def wait_until(check: Callable[[], T], timeout: float, what: str, poll: float = 0.05) -> T:
    """Call `check` until it gives something true, and give that; TimeoutError says `what` did not come."""
    deadline = time.monotonic() + timeout
    while not (answer := check()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {timeout:g} s")
        time.sleep(poll)
    return answer
