"""What the node runs of this room: conditions made into alarms, alarms told to people, the ledger in numbers."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from scarnode.config import Settings
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.task_locks import TaskLocks
from scarnode.monitoring.alarm_rules import update_alarms
from scarnode.monitoring.counters import Counters, Durations, LedgerCounts
from scarnode.monitoring.model import Facts
from scarnode.monitoring.notifier import CHANNELS, Notifier

EVERY = 5.0
"""Seconds between looks at the ledger."""

REST = 60.0
"""Seconds between looks at a ledger that nobody writes to and in which nothing waits."""

SHARE = 0.02
"""Most of the time that looks may take: on a ledger so large that one takes long, they become rare."""

UNWRITTEN = 30.0
"""Seconds without a write lock on the ledger after which the node is not ready."""


class Monitor:
    """Keeps alarms, tells people of them, and knows the ledger in numbers.

    Parameters
    ----------
    ledger : Ledger
    settings : callable
        Gives the node's settings of this moment.
    turns : Turns
        Of several processes on one ledger, one at a time keeps the alarms, and one tells people of them.
    """

    def __init__(self, ledger: Ledger, settings: Callable[[], Settings], task_locks: TaskLocks) -> None:
        self._ledger, self._settings, self._task_locks = ledger, settings, task_locks
        self._next = 0.0
        self._looked = 0.0
        self._seen: tuple[int, Settings] | None = None
        self._written = time.monotonic()
        self._tally = LedgerCounts(ledger)
        self.figures = Counters()
        self.durations = Durations(ledger)
        self.notifiers = {name: Notifier(ledger, name, settings) for name in CHANNELS}

    def tasks(self) -> dict[str, Callable[[], None]]:
        """Return what is to be called every `EVERY` seconds, each in a thread of its own."""
        return {
            "watch": self.look,
            "ledger": self.try_to_write,
            **{f"notify-{name}": partial(self._notify, name) for name in self.notifiers},
        }

    def look(self) -> None:
        """Keep the alarms and count."""
        start = time.monotonic()
        if start < self._next:
            return
        settings, version = self._settings(), self._ledger.store.changes.version()
        seen = None if version is None else (version, settings)
        if seen and self._is_known(seen) and start < self._looked + REST:
            self.figures = replace(self.figures, at=time.time())
            return
        with self._task_locks.turn("alarms") as mine:
            if mine:
                update_alarms(self._ledger, settings)
        self.figures = self._tally.look(list(settings.destinations), settings.notify.flagged_results)
        if self._ledger.store.shared:  # other processes analyse too
            self.durations = Durations(self._ledger)
        self._seen, self._looked = seen, start
        self._next = start + (time.monotonic() - start) / SHARE

    def _is_known(self, seen: tuple[int, Settings]) -> bool:
        """Return whether a look would find what the last one found: nothing is other, and nothing grows older."""
        return self._seen is not None and seen[0] == self._seen[0] and seen[1] is self._seen[1] and self.figures.at_rest

    def _notify(self, name: str) -> None:
        with self._task_locks.turn(f"notify-{name}") as mine:
            if mine:
                self.notifiers[name].look()

    def try_to_write(self) -> None:
        """Take the ledger's write lock, and give it back."""
        self._ledger.store.try_to_write()
        self._written = time.monotonic()

    def why_not_ready(self, facts: Facts) -> list[str]:
        """Return the reasons why the node can not take and analyse images now; none where it can."""
        closed = [port for port, is_open in facts.ports.items() if not is_open]
        reasons = [f"port {port} is not listened on" for port in closed]
        if not facts.ports and "receive" in facts.roles:
            reasons.append("the node is starting")
        if facts.ledger_trouble:
            reasons.append(facts.ledger_trouble)
        silent = time.monotonic() - self._written
        if silent > UNWRITTEN:
            reasons.append(f"the ledger could not be written for {silent:.0f} s")
        reasons += [f"disk of {name}: {room}" for name, room in facts.disks.items() if room.spare < 0]
        if not any(facts.workers) and "work" in facts.roles:
            reasons.append("no worker holds the network")
        return reasons
