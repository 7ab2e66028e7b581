"""A clock that nobody sets: what is due, quiet or lost is told by it, never by the system's clock.

The system's clock jumps: a scanner room's server is set right by hand, a virtual machine wakes up, a battery is flat at
boot. Seen by that clock alone, an hour forward ends every lease and closes studies that are still arriving; an hour
back leaves studies and deliveries waiting for an hour, in silence.
"""

from __future__ import annotations

import time
from types import SimpleNamespace

DUE_NOW = 0.0
"""A due time that has come, whichever process reads it."""

_start = time.time() - time.monotonic()


def monotonic_time() -> float:
    """Return the time as UTC seconds since 1970, as it was known when this process started, and counted evenly since.

    Good for comparing moments of one process, and of all that share a ledger on a server: there it is the server's
    time (`align`). Use `time.time` for what a person reads. What an earlier process wrote down may lie in the future
    of this one's clock: see `Ledger.trust_no_clock`.
    """
    return _start + time.monotonic()


def align(now: float) -> float:
    """Set `monotonic_time` by a clock that several processes share; gives by how many seconds it went forward."""
    global _start
    former, _start = _start, now - time.monotonic()
    return _start - former


def span(seconds: float) -> str:
    """Write how long something took, in few letters."""
    for unit, length in (("d", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.1f} s"


def use_monotonic_association_timers() -> None:
    """Make pynetdicom measure its timeouts evenly too; its `Timer` reads the system's clock (pynetdicom 3.0.4)."""
    from pynetdicom import timer

    timer.time = SimpleNamespace(time=time.monotonic)  # type: ignore[assignment]  # all that it uses of the module
