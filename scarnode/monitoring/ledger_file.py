"""Watches whether a SQLite ledger is still in its place; where it is not, everybody is told without it."""

from __future__ import annotations

import logging
import random
import socket
import sqlite3
import time
from collections.abc import Callable
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from scarnode.config import Settings
from scarnode.dicom.scp import Spool
from scarnode.ledger.database import files_of
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.sqlite_file import HELP, RESCUED, LedgerLock
from scarnode.monitoring.model import Message, Notice
from scarnode.monitoring.notifier import CHANNELS, FIRST_DELAY, LONGEST_DELAY, channel_of
from scarnode.util.backoff import next_delay

log = logging.getLogger(__name__)

LEDGER_ALARM = "ledger_file"
"""Stands while the ledger's files are not those that the node opened."""

REFUSAL = "The node's ledger is not in its place: send it again later"
"""ErrorComment of a C-STORE meanwhile."""


class LedgerWatch:
    """Looks whether the files of a SQLite ledger are those that the node opened.

    Where they are not, every transaction fails already (`scarnode.ledger.sqlite_file`). Here the node's C-STOREs are
    refused, the content of the ledger is saved from the descriptors that are still open, and people are told: by the
    log, `trouble` (health, metrics), mail and webhook. All of it ends by itself when the files are back.

    Parameters
    ----------
    ledger : Ledger
    lock : LedgerLock or None
        None: the ledger is on a server, and there is nothing to watch.
    spool : Spool
    settings : callable
        Gives the node's settings of this moment.

    Attributes
    ----------
    trouble : str
        What became of the ledger, and what to do, in one line; empty: it is in its place.
    """

    def __init__(self, ledger: Ledger, lock: LedgerLock | None, spool: Spool, settings: Callable[[], Settings]) -> None:
        self.trouble = ""
        self._ledger, self._lock, self._spool, self._settings = ledger, lock, spool, settings
        self._files = files_of(ledger.store.engine)
        self._since = 0.0
        self._news = ""
        self._copy: Path | None = None
        self._copied: int | None = None
        self._copy_failed = ""
        self._notices = {name: _Notices(name, settings) for name in CHANNELS}
        if lock and self._files:
            ledger.store.changes.version()  # its connection keeps the write-ahead log in place from now on
            lock.name(self._files.inode)

    def tasks(self) -> dict[str, Callable[[], None]]:
        """Return what is to be called every second, each in a thread of its own."""
        if self._lock is None:
            return {}
        sending = {f"ledger-file-{name}": partial(self._notify, name) for name in self._notices}
        return {"ledger-file": self.look, **sending}

    def look(self) -> None:
        """Compare the files with those that were opened, and act where they are others."""
        if self._lock and self._files:
            self._files.taken = self._lock.fault()
        if fault := self._ledger.store.file_fault():
            self._begin(fault)
        elif self.trouble:
            self._end()

    def _begin(self, fault: str) -> None:
        self._spool.closed_for = REFUSAL
        begins = not self.trouble
        if begins:
            self._since = time.time()
            self.trouble = fault
        news = self._save_copy()
        saved = f"; its content is saved in {self._copy}" if self._copy else ""
        self.trouble = self._news = f"{fault}{saved}. No image is taken, nothing is analysed or sent. See {HELP}"
        if begins or news:
            log.error("alarm %s: %s", LEDGER_ALARM, self.trouble)

    def _end(self) -> None:
        log.warning("alarm %s is over: the ledger is in its place again", LEDGER_ALARM)
        if self._copy:
            self._copy.unlink(missing_ok=True)
        self._copy, self._copied, self._copy_failed = None, None, ""
        self.trouble = self._news = self._spool.closed_for = ""

    def _save_copy(self) -> bool:
        """Save the ledger's content beside it, again where a transaction ended since; return whether there is news."""
        changes, files = self._ledger.store.changes, self._files
        if files is None or files.taken or (self._copy and changes.version() == self._copied):
            return False
        moment = datetime.fromtimestamp(self._since, timezone.utc)
        copy = files.database.with_name(f"{files.database.name}{RESCUED}{moment:%Y%m%dT%H%M%SZ}")
        try:
            self._copied = changes.copy_to(copy)
        except (OSError, sqlite3.Error, SQLAlchemyError) as error:
            why = f"{type(error).__name__}: {error.strerror if isinstance(error, OSError) else error}"
            if why != self._copy_failed:
                log.error("the ledger's content can not be saved in %s (%s); trying again", copy, why)
            self._copy_failed = why
            return False
        files.remove_log_of_replaced()
        first, self._copy = self._copy is None, copy
        return first

    def _notify(self, name: str) -> None:
        self._notices[name].send(self._news, self._since)


class _Notices:
    """Tells people by one channel of the beginning and the end, without the ledger; what is not taken is sent again."""

    def __init__(self, name: str, settings: Callable[[], Settings]) -> None:
        self._name, self._settings = name, settings
        self._told = 0.0
        self._detail = ""
        self._failures = 0
        self._next = 0.0

    def send(self, trouble: str, since: float) -> None:
        """Return what was not told yet; called every second."""
        settings = self._settings()
        channel = channel_of(settings, self._name)
        stands = bool(trouble)
        if channel is None or time.monotonic() < self._next or stands == bool(self._told):
            return
        self._detail = trouble or self._detail
        notice = Notice(LEDGER_ALARM, 0, since, None if stands else time.time(), 1 if stands else 0, self._detail)
        message = Message(settings.node.ae_title, socket.gethostname(), (notice,), settings.notify.link)
        sending = channel.send(message)
        if sending.ok:
            self._told, self._failures, self._next = since if stands else 0.0, 0, 0.0
            log.info("%s: told of %s", self._name, LEDGER_ALARM)
            return
        if not self._failures:
            log.error("alarm %s can not be told: %s", LEDGER_ALARM, sending.trouble)
        self._failures += 1
        self._next = time.monotonic() + next_delay(self._failures, FIRST_DELAY, LONGEST_DELAY, random.Random())
