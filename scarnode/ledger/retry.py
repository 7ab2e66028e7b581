"""What is done with an outcome while a ledger on a server is away."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

from sqlalchemy.exc import InterfaceError, OperationalError

from scarnode.ledger.ledger import Ledger

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds until it is told again."""


def retry_until_database_returns(
    ledger: Ledger, what: str, write: Callable[[], None], stopping: threading.Event | None = None
) -> None:
    """Write an outcome into the ledger; where that is on a server that is away, once it is back.

    Parameters
    ----------
    ledger : Ledger
    what : str
        Whose outcome, for the log.
    write : callable
        One transaction, which looks again whether the outcome still counts.
    stopping : threading.Event, optional
        Set: it is given up, which is the same as a crash. None: never.

    Raises
    ------
    OperationalError, InterfaceError
        The ledger is a file of this machine: that it can not be written is no matter of patience.
    """
    given_up = stopping or threading.Event()
    told = False
    while True:
        try:
            write()
            return
        except (OperationalError, InterfaceError) as error:
            if not ledger.store.shared:
                raise
            if not told:
                log.error("%s: the ledger is away (%s); told later", what, type(error).__name__)
            told = True
        if given_up.wait(PAUSE):
            return
