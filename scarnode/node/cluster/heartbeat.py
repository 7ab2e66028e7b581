"""A process's sign of life on a ledger on a server, and its watch over the others'."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from sqlalchemy.exc import SQLAlchemyError

from scarnode.ledger.due import trust_no_clock
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.nodes import LEASE
from scarnode.ledger.postgres import database_clock
from scarnode.util.clock import align, monotonic_time

log = logging.getLogger(__name__)

GAP = 5.0
"""Seconds between two signs of life after which the ledger counts as having been away."""

GRACE = 10.0
"""Seconds that the others have, once the ledger is back, to say that they live; nobody is declared dead before."""

LOOK = 5.0
"""Seconds between looks at the others and at the ledger's clock."""

DRIFT, JUMP = 0.2, 5.0
"""Seconds by which clocks differ: more is set right; more than the second means that the server's clock was set."""

LOST = "lost_node"
"""Alarm that stands while a process that died was not started again."""


class Heartbeat:
    """Says every second that this process lives, and takes from dead ones what they had in hand.

    Parameters
    ----------
    ledger : Ledger
        On a server.
    name : str
        This process's, as of `scarnode.ledger.nodes.new_name`.
    roles : sequence of str
    caught_up_to : callable, optional
        Of a process that receives: `Registrar.caught_up_to`.
    longest_pause : callable
        Gives the seconds that may lie between two tries to deliver.
    """

    def __init__(
        self,
        ledger: Ledger,
        name: str,
        roles: Sequence[str],
        caught_up_to: Callable[[], float] | None,
        longest_pause: Callable[[], float],
    ) -> None:
        self._ledger, self._name, self._roles = ledger, name, ",".join(roles)
        self._caught_up_to, self._longest_pause = caught_up_to, longest_pause
        self._last = self._back = time.monotonic()
        self._next = 0.0
        ledger.nodes.beat(name, self._roles, caught_up_to() if caught_up_to else None)

    def beat(self) -> None:
        """Return a sign of life, and look at the others now and then; called every second."""
        now = time.monotonic()
        if now - self._last > GAP:
            self._back = now
        self._ledger.nodes.beat(self._name, self._roles, self._caught_up_to() if self._caught_up_to else None)
        self._last = now
        if now < self._next:
            return
        self._next = now + LOOK
        self._keep_clock()
        if self.sure():
            for dead in self._ledger.nodes.end_lost():
                log.error("%s gives no sign of life for %g s: what it had in hand is taken over", dead, LEASE)
        self._tell_lost()

    def end(self) -> None:
        """Unregister this process at its regular end; where the ledger is away, it will be found dead instead."""
        if self._caught_up_to and self._caught_up_to() < monotonic_time() - GAP:
            return  # there is something that others have to register
        with suppress(SQLAlchemyError):
            self._ledger.nodes.leave(self._name)

    def sure(self) -> bool:
        """Return whether the ledger was there long enough for everyone alive to say so."""
        now = time.monotonic()
        return now - self._back > GRACE and now - self._last <= GAP

    def _keep_clock(self) -> None:
        difference = database_clock(self._ledger.store.engine) - monotonic_time()
        if abs(difference) <= DRIFT:
            return
        align(monotonic_time() + difference)
        if abs(difference) > JUMP:
            log.warning("the clock of the ledger's server was set by %.0f s", difference)
            self._back = time.monotonic()
            trust_no_clock(self._ledger, self._longest_pause())

    def _tell_lost(self) -> None:
        names = ", ".join(f"{row.name} ({row.roles})" for row in self._ledger.nodes.missed())
        told = f"died and was not started again: {names}" if names else ""
        self._ledger.alarms.set_alarm(LOST, told, lambda _former, _detail: False)
