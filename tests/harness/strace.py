"""A signal at one exact system call of a running process: a kill between two steps, without a hook in the product."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from scarnode.node.worker import PROGRAM
from tests.harness.tools import find_tool, wait_until


@contextmanager
def signal_at(pid: int, call: str, *, path: Path | None = None, when: int = 1, signal: str = "KILL") -> Iterator[None]:
    """Let strace send a process a signal as it enters a system call; skips the test where strace is absent.

    Parameters
    ----------
    pid : int
        All threads of this process, and what it starts from now on.
    call : str
        Name of the call; ``/^rename`` is a pattern.
    path : Path, optional
        Only calls that name this file, or a descriptor of it.
    when : int
        At which call, counted for each thread from now on.
    signal : str
        ``KILL``, or ``STOP``: the process waits at the call until it gets SIGCONT.
    """
    paths = [] if path is None else [path]
    with _injected(pid, call, f"signal={signal}:when={when}", paths):
        yield


@contextmanager
def fault_at(pid: int, call: str, error: str, paths: Sequence[Path] = (), when: str = "1+") -> Iterator[None]:
    """Let a system call of a running process fail, as `signal_at` finds it.

    Parameters
    ----------
    error : str
        Name of the errno, e.g. ``EIO``.
    paths : sequence of Path
        Only calls that name one of these.
    when : str
        Which calls, e.g. ``1+``: all of them.
    """
    with _injected(pid, call, f"error={error}:when={when}", paths):
        yield


@contextmanager
def _injected(pid: int, call: str, what: str, paths: Sequence[Path]) -> Iterator[None]:
    command = [find_tool("strace"), "-f", "-q", "-p", str(pid), "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:{what}", "-o", "/dev/null"]
    for path in paths:
        command += ["-P", str(path)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        try:
            wait_until(lambda: tracer.poll() is not None or _traced_by(pid) == tracer.pid, 20, "strace")
            if tracer.poll() is not None:
                assert tracer.stderr is not None
                pytest.skip(f"strace may not look at other processes here: {tracer.stderr.read()}")
            yield
        finally:
            tracer.terminate()  # it lets go of what it looks at
            with suppress(subprocess.TimeoutExpired):
                tracer.wait(10)
            tracer.kill()


def is_stopped(pid: int) -> bool:
    """Tell whether a process stands still after SIGSTOP (or does not exist any more)."""
    return all(state in "TtZX" for state in _states(pid))


def wait_for_stop(pid: int, what: str, timeout: float = 30.0) -> None:
    """Wait until a process stands still for a moment, not only at one of strace's looks."""

    def stands() -> bool:
        for _ in range(5):
            if not is_stopped(pid):
                return False
            time.sleep(0.02)
        return True

    wait_until(stands, timeout, what, poll=0.01)


def children(pid: int) -> list[int]:
    """Give the process ids of a process's children."""
    found: list[int] = []
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            found += map(int, path.read_text().split())
    return found


def workers(pid: int) -> list[int]:
    """Give the process ids of a node's worker processes."""
    return [child for child in children(pid) if runs(child, PROGRAM)]


def runs(pid: int, module: str) -> bool:
    """Tell whether a process was started as ``python -m module``."""
    with suppress(OSError):
        return module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return False


def _states(pid: int) -> list[str]:
    states = []
    for path in Path(f"/proc/{pid}/task").glob("*/stat"):
        with suppress(OSError):
            states.append(path.read_text().rsplit(")", 1)[1].split()[0])
    return states


def _traced_by(pid: int) -> int:
    """Give the tracer of a process once it traces all its threads."""
    tracers = set()
    for path in Path(f"/proc/{pid}/task").glob("*/status"):
        with suppress(OSError):
            [line] = [line for line in path.read_text().splitlines() if line.startswith("TracerPid:")]
            tracers.add(int(line.split()[1]))
    return tracers.pop() if len(tracers) == 1 else 0
