"""Clocks that a test sets: they are passed to a `Ledger`, never patched into a module."""

from __future__ import annotations

from scarnode.util.clock import Clock


class ManualClock(Clock):
    """A clock that stands still; it goes on by `later`, or when `now` is set."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self.now = now

    def monotonic_time(self) -> float:
        return self.now

    def wall_time(self) -> float:
        return self.now

    def later(self, seconds: float) -> None:
        """Let time pass."""
        self.now += seconds


class ShiftedClock(Clock):
    """The clock of this process, so many seconds ahead."""

    ahead = 0.0

    def monotonic_time(self) -> float:
        return super().monotonic_time() + self.ahead
