"""Whether the ledger holds work for its tasks: one look a second, at the price of one pragma, in place of one each."""

from __future__ import annotations

import threading
from collections.abc import Callable

from scarnode.ledger.due import next_due
from scarnode.ledger.ledger import Ledger
from scarnode.node.scheduler import Task
from scarnode.util.clock import monotonic_time

NAME = "ledger-news"
"""Of the task that looks."""

EVERY = 1.0
"""Seconds between looks. What comes due sooner than the next look is looked at when it does."""

REST = 30.0
"""Seconds after which a task looks into the ledger though there is no news, should any ever be missed."""


class LedgerNews:
    """Wakes the tasks of a ledger when somebody wrote to it, whichever process, or something in it came due.

    Of a ledger on a server no change can be told: its tasks are woken every second.

    Parameters
    ----------
    ledger : Ledger
    quiet_seconds : callable
        Gives how long a study must be quiet.
    wake : callable
        `scarnode.node.scheduler.Scheduler.wake`.
    """

    def __init__(self, ledger: Ledger, quiet_seconds: Callable[[], float], wake: Callable[[str, float], bool]) -> None:
        self._ledger, self._quiet_seconds, self._wake = ledger, quiet_seconds, wake
        self._lock = threading.Lock()
        self._seen: dict[str, int | None] = {}
        self._due: tuple[int, float, float] | None = None

    def task(self, name: str, run: Callable[[], bool | None]) -> Task:
        """Return a task that `look` wakes.

        Parameters
        ----------
        name : str
            The scheduler's.
        run : callable
            What it has to do is in the ledger, and is due by a time that `next_due` knows. Where it raises, or gives
            False, it runs again after the next look.
        """

        def run_and_note() -> None:
            version = self._ledger.store.changes.version()  # of before: what comes while it runs is looked at
            self._note(name, None)
            if run() is not False:
                self._note(name, version)

        return Task(run_and_note, REST)

    def look(self) -> None:
        """Wake each task for which there may be something; the scheduler runs it under `NAME` every `EVERY` seconds."""
        version, due = self._state()
        left = due - monotonic_time()
        with self._lock:
            seen = dict(self._seen)
        for name, last in seen.items():
            if (version is None or last != version or left <= 0) and not self._wake(name, 0.0):
                with self._lock:
                    del self._seen[name]  # it is no task any more
        if 0 < left < EVERY:
            self._wake(NAME, left)

    def _note(self, name: str, version: int | None) -> None:
        with self._lock:
            self._seen[name] = version

    def _state(self) -> tuple[int | None, float]:
        """Return the ledger's version, and when the first of what is written there comes due."""
        version, quiet = self._ledger.store.changes.version(), self._quiet_seconds()
        if version is None:
            return None, 0.0
        if self._due is None or self._due[:2] != (version, quiet):
            self._due = (version, quiet, next_due(self._ledger, quiet))
        return version, self._due[2]
