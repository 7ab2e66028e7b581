"""What the node runs of this room: conditions made into alarms, alarms told to people."""

from __future__ import annotations

import time
from collections.abc import Callable

from scarnode.config import Settings
from scarnode.jobs.ledger import Ledger
from scarnode.watch.conditions import keep_alarms
from scarnode.watch.notifier import CHANNELS, Notifier

EVERY = 5.0
"""Seconds between looks at the ledger."""

SHARE = 0.02
"""Most of the time that looks may take: on a ledger so large that one takes long, they become rare."""


class Watch:
    """Keeps alarms and tells people of them.

    Parameters
    ----------
    ledger : Ledger
    settings : callable
        Gives the node's settings of this moment.
    """

    def __init__(self, ledger: Ledger, settings: Callable[[], Settings]) -> None:
        self._ledger, self._settings = ledger, settings
        self._next = 0.0
        self.notifiers = {name: Notifier(ledger, name, settings) for name in CHANNELS}

    def tasks(self) -> dict[str, Callable[[], None]]:
        """Give what is to be called every second, each in a thread of its own."""
        return {"alarms": self.look, **{f"notify-{name}": notifier.look for name, notifier in self.notifiers.items()}}

    def look(self) -> None:
        """Keep the alarms."""
        start = time.monotonic()
        if start < self._next:
            return
        keep_alarms(self._ledger, self._settings())
        took = time.monotonic() - start
        self._next = start + max(EVERY, took / SHARE)
