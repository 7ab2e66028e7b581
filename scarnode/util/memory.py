"""Bounds on what one child process may take, memory and descriptors: an image that asks for too much fails alone."""

from __future__ import annotations

import ctypes
import mmap
import os
import resource
from contextlib import suppress
from pathlib import Path

SHARE, LEAST = 0.5, 2.0
"""Of the machine's memory, for all workers together; gigabytes that each gets at least."""

FIRST_TO_GO = 800
"""oom_score_adj (proc(5), -1000 to 1000) of a child process. Where the machine runs out of memory all the same, the
kernel takes it first."""


def share_of_memory(workers: int) -> float:
    """Return the gigabytes that one of so many workers may take where no setting says it."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    with suppress(OSError, ValueError):  # a container's own bound; the file says "max" where there is none
        total = min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    return max(LEAST, SHARE * total / 2**30 / workers)


def bound_this_process(gigabytes: float) -> None:
    """Allow this process to take so much memory on top of what it has now; 0: any amount.

    RLIMIT_DATA (setrlimit(2); since Linux 4.7 it counts all private writable memory), not RLIMIT_AS: CUDA reserves
    address space by the hundred gigabytes. Child processes inherit the bound.
    """
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(str(FIRST_TO_GO))
    if gigabytes > 0:
        bound = _private_bytes() + int(gigabytes * 2**30)
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))


def bound_can_be_had() -> bool:
    """Return whether the machine would give this process all that `bound_this_process` lets it take.

    Asked after a request for memory was refused: where it would, the bound refused it, else the machine.
    """
    bound = resource.getrlimit(resource.RLIMIT_DATA)[0]
    if bound == resource.RLIM_INFINITY:
        return False
    left = int(0.9 * (bound - _private_bytes()))
    try:
        mmap.mmap(-1, max(left, mmap.PAGESIZE), mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS).close()
    except (OSError, ValueError, OverflowError):
        return False
    return True


def spare_descriptors() -> int:
    """Return how many more files this process may open."""
    try:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0] - sum(1 for _ in Path("/proc/self/fd").iterdir())
    except OSError:  # not even that one
        return 0


def give_back_freed() -> None:
    """Return the system what this process has freed: glibc keeps 170 MB after a stack of 12 slices."""
    with suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)


def _private_bytes() -> int:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmData:"):
                return int(line.split()[1]) * 1024
    return 0
