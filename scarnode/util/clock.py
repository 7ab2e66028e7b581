"""A monotonic wall clock. It decides what is due, which studies are complete, and which leases have expired.

The system's clock jumps: somebody sets it by hand, a virtual machine resumes, a battery is flat at boot. By that clock,
a jump of an hour forward would end every lease and close studies that are still arriving. A jump back would delay
studies and deliveries by an hour, without a message.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

DUE_NOW = 0.0
"""A due time in the past, for every process that reads it."""

_start = time.time() - time.monotonic()


def monotonic_time() -> float:
    """Return UTC seconds since 1970: the system's time at the start of this process, plus the monotonic time since.

    It compares times of one process. Processes that share a ledger on a server compare theirs too: `align` sets this
    clock by the server's. Use `time.time` for times that a person reads. A time that an earlier process stored can lie
    in the future of this clock: see `scarnode.ledger.due.trust_no_clock`.
    """
    return _start + time.monotonic()


def align(now: float) -> float:
    """Set `monotonic_time` by a clock that several processes share, and return the step forward in seconds."""
    global _start
    former, _start = _start, now - time.monotonic()
    return _start - former


class Clock:
    """The two times of a node. Whoever needs the time gets a clock; a test passes one of its own."""

    def monotonic_time(self) -> float:
        """Return the time by which things are due: see `scarnode.util.clock.monotonic_time`."""
        return monotonic_time()

    def wall_time(self) -> float:
        """Return the time that a person reads, in UTC seconds since 1970; the system's clock may jump."""
        return time.time()


SYSTEM_CLOCK = Clock()
"""The clock of this process."""


def span(seconds: float) -> str:
    """Format a duration, as in ``2.5 min``."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def use_monotonic_association_timers() -> None:
    """Make pynetdicom's timeouts monotonic. Its `Timer` reads the system's clock (pynetdicom 3.0.4)."""
    from pynetdicom import timer

    timer.time = SimpleNamespace(time=time.monotonic)  # type: ignore[assignment]  # all that it uses of the module
