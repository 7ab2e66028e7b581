"""What the node runs of this room: conditions made into alarms, alarms told to people, the ledger in numbers."""

from __future__ import annotations

import time
from collections.abc import Callable

from scarnode.config import Settings
from scarnode.jobs.ledger import Ledger
from scarnode.watch.conditions import keep_alarms
from scarnode.watch.figures import Durations, Figures, Tally
from scarnode.watch.model import Facts
from scarnode.watch.notifier import CHANNELS, Notifier

EVERY = 5.0
"""Seconds between looks at the ledger."""

SHARE = 0.02
"""Most of the time that looks may take: on a ledger so large that one takes long, they become rare."""

UNWRITTEN = 30.0
"""Seconds without a write lock on the ledger after which the node is not ready."""


class Watch:
    """Keeps alarms, tells people of them, and knows the ledger in numbers.

    Parameters
    ----------
    ledger : Ledger
    settings : callable
        Gives the node's settings of this moment.
    """

    def __init__(self, ledger: Ledger, settings: Callable[[], Settings]) -> None:
        self._ledger, self._settings = ledger, settings
        self._next = 0.0
        self._written = time.monotonic()
        self._tally = Tally(ledger)
        self.figures = Figures()
        self.durations = Durations(ledger)
        self.notifiers = {name: Notifier(ledger, name, settings) for name in CHANNELS}

    def tasks(self) -> dict[str, Callable[[], None]]:
        """Give what is to be called every second, each in a thread of its own."""
        return {
            "watch": self.look,
            "ledger": self.try_to_write,
            **{f"notify-{name}": notifier.look for name, notifier in self.notifiers.items()},
        }

    def look(self) -> None:
        """Keep the alarms and count."""
        start = time.monotonic()
        if start < self._next:
            return
        settings = self._settings()
        keep_alarms(self._ledger, settings)
        self.figures = self._tally.look(list(settings.destinations), settings.notify.flagged_results)
        took = time.monotonic() - start
        self._next = start + max(EVERY, took / SHARE)

    def try_to_write(self) -> None:
        """Take the ledger's write lock, and give it back."""
        self._ledger.try_to_write()
        self._written = time.monotonic()

    def why_not_ready(self, facts: Facts) -> list[str]:
        """Give the reasons why the node can not take and analyse images now; none where it can."""
        closed = [port for port, is_open in facts.ports.items() if not is_open]
        reasons = [f"port {port} is not listened on" for port in closed]
        if not facts.ports:
            reasons.append("the node is starting")
        silent = time.monotonic() - self._written
        if silent > UNWRITTEN:
            reasons.append(f"the ledger could not be written for {silent:.0f} s")
        reasons += [f"disk of {name}: {room}" for name, room in facts.disks.items() if room.spare < 0]
        if not any(facts.workers):
            reasons.append("no worker holds the network")
        return reasons
