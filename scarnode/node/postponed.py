"""What the machine keeps from being done: when each piece of work is tried again, and the words of the alarm."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from scarnode.util.backoff import longest_delay
from scarnode.util.disk import DISK_FULL
from scarnode.util.errors import SystemFaultError

SEARCH, JOB, REPORT, DELIVERY = "search of study", "job", "failure report of job", "delivery"
IMAGE, DELETION = "registration of image", "deletion of study"
"""Kinds of work, each with a number: what the alarm names."""

FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
"""Seconds until the second try; the pause doubles with every further one, up to the longest."""

NO_ROOM_PAUSE = 30.0
"""Seconds until work is tried again that found no room for its results: it may have taken a minute of computing."""

GONE_AFTER, GONE_LOOKS = 15.0, 3
"""A file that is missing in a folder that is there is gone when so many seconds and looks found it so."""

MOST_NAMED = 5
"""Pieces of work that the alarm names."""


@dataclass
class _Waiting:
    fault: SystemFaultError
    tries: int = 0
    due: float = 0.0
    missing_since: float | None = None
    missing_looks: int = 0


class PutOffs:
    """Work that was put off for a fault of the machine (`scarnode.util.errors.SystemFaultError`). Safe from any thread.

    It is kept in memory: after a restart everything is tried at once.

    Parameters
    ----------
    clock : callable
        Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock, self._lock = clock, threading.Lock()
        self._waiting: dict[tuple[str, int], _Waiting] = {}

    def note(self, kind: str, number: int, fault: SystemFaultError, folder_is_there: bool) -> float:
        """Note that a piece of work met a fault; give the seconds until it is to be tried again.

        Parameters
        ----------
        kind : str
            For a person, e.g. ``job``.
        number : int
            Which of that kind.
        fault : SystemFaultError
        folder_is_there : bool
            Whether spool and results can be used: only then a missing file may be gone for good.
        """
        with self._lock:
            now = self._clock()
            one = self._waiting.setdefault((kind, number), _Waiting(fault))
            one.fault, one.tries = fault, one.tries + 1
            if fault.missing and folder_is_there:
                one.missing_since = now if one.missing_since is None else one.missing_since
                one.missing_looks += 1
            else:
                one.missing_since, one.missing_looks = None, 0
            pause = longest_delay(one.tries, FIRST_PAUSE, LONGEST_PAUSE)
            pause = NO_ROOM_PAUSE if fault.number in DISK_FULL else pause
            one.due = now + pause
            return pause

    def is_gone(self, kind: str, number: int) -> bool:
        """Return whether the file that a piece of work needs is missing for good."""
        with self._lock:
            one = self._waiting.get((kind, number))
            if one is None or one.missing_since is None:
                return False
            return one.missing_looks >= GONE_LOOKS and self._clock() - one.missing_since >= GONE_AFTER

    def over(self, kind: str, number: int) -> None:
        """Note that a piece of work came to its end."""
        with self._lock:
            self._waiting.pop((kind, number), None)

    def waiting(self, kind: str) -> set[int]:
        """Return which of a kind are not to be tried yet."""
        with self._lock:
            now = self._clock()
            return {number for (own, number), one in self._waiting.items() if own == kind and one.due > now}

    def keep(self, kind: str, still: Callable[[Collection[int]], Collection[int]]) -> None:
        """Forget what need not be done any more.

        Parameters
        ----------
        kind : str
        still : callable
            Gives those of some numbers that are still to be done; called only where there are some.
        """
        with self._lock:
            numbers = {number for own, number in self._waiting if own == kind}
        for number in numbers - set(still(numbers)) if numbers else ():
            self.over(kind, number)

    def no_room(self) -> bool:
        """Return whether something waits for room on a disk."""
        with self._lock:
            return any(one.fault.number in DISK_FULL for one in self._waiting.values())

    def in_words(self) -> str:
        """Describe what waits for the machine, for an alarm; empty where nothing does. Who waits for room has
        another.
        """
        with self._lock:
            found = [
                f"{kind} {number}: {one.fault.why}"
                for (kind, number), one in sorted(self._waiting.items())
                if one.fault.number not in DISK_FULL
            ]
        if not found:
            return ""
        more = ", ..." if len(found) > MOST_NAMED else ""
        return f"put off by faults of the system: {len(found)} ({', '.join(found[:MOST_NAMED])}{more})"
