"""The ledger: the job database, in parts. Every change is one transaction and leaves an event row."""

from __future__ import annotations

import copy
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from scarnode.ledger.alarms import Alarms
from scarnode.ledger.commitments import Commitments
from scarnode.ledger.database import sqlite_file
from scarnode.ledger.deliveries import Deliveries
from scarnode.ledger.failures import Failures
from scarnode.ledger.jobs import Jobs
from scarnode.ledger.nodes import Nodes
from scarnode.ledger.notifications import Notifications
from scarnode.ledger.pulls import Pulls
from scarnode.ledger.retention import Retention
from scarnode.ledger.schema import OlderSchemaError
from scarnode.ledger.selftests import SelfTests
from scarnode.ledger.sqlite_file import LedgerLock, check_beside_node, put_back, rescued_copies
from scarnode.ledger.store import Store, open_store
from scarnode.ledger.studies import Studies
from scarnode.util.clock import SYSTEM_CLOCK, Clock

log = logging.getLogger(__name__)


class Ledger:
    """The job database: one open store, and a part for each thing that it holds.

    Parameters
    ----------
    url : str
        SQLAlchemy's, of SQLite or PostgreSQL.
    actor : str
        Stands in the event rows: who makes the changes.
    migrate : bool
        Bring an older schema up to date; False: refuse it. A new database gets its schema either way.
    clock : Clock
        By which everything is due and dated.

    Attributes
    ----------
    store : Store
        The open database.
    studies : Studies
        What was received, and what a search found in it.
    jobs : Jobs
        Run by workers, and what a person asks of them.
    failures : Failures
        Jobs that failed for good, and the reports of their failure.
    deliveries : Deliveries
        Result objects on their way to their destinations.
    commitments : Commitments
        Requests for storage commitment, and the reports on them.
    retention : Retention
        What may be deleted, and what was.
    alarms : Alarms
    notifications : Notifications
        Which channel sent a message on which alarm.
    nodes : Nodes
        The processes that work on a ledger on a server.
    pulls : Pulls
        What was pulled from archives.
    self_tests : SelfTests

    Raises
    ------
    LedgerError
        The database can not be opened, or has the schema of another version.
    """

    def __init__(self, url: str, actor: str, migrate: bool = True, clock: Clock = SYSTEM_CLOCK) -> None:
        self._build(open_store(url, actor, migrate, clock))

    def _build(self, store: Store) -> None:
        self.store = store
        self.studies = Studies(store)
        self.jobs = Jobs(store)
        self.failures = Failures(store)
        self.deliveries = Deliveries(store)
        self.commitments = Commitments(store)
        self.retention = Retention(store)
        self.alarms = Alarms(store)
        self.notifications = Notifications(store)
        self.nodes = Nodes(store)
        self.pulls = Pulls(store)
        self.self_tests = SelfTests(store)

    def in_name_of(self, actor: str) -> Ledger:
        """Return the same ledger, on the same connections, for changes that another makes."""
        ledger = copy.copy(self)
        ledger._build(self.store.in_name_of(actor))
        return ledger

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one consistent state and waits for nobody."""
        with self.store.reading() as session:
            yield session

    def close(self) -> None:
        """Close the database connections."""
        self.store.close()


def open_beside_node(url: str, actor: str) -> Ledger:
    """Open a ledger for a command, beside a node that may run on it.

    Raises
    ------
    LedgerError
        As of `Ledger`; it has an older schema; or it is not the one on which the node runs.
    """
    if database := sqlite_file(url):
        check_beside_node(database)
    return Ledger(url, actor, migrate=False)


def lock_ledger(url: str) -> LedgerLock | None:
    """Lock a ledger on SQLite for a node, and put back what a former one saved of it where it is gone since.

    Raises
    ------
    LedgerError
        Another node runs on it.
    """
    database = sqlite_file(url)
    if database is None:
        return None
    lock = LedgerLock(database)
    if copy := put_back(database):
        log.warning("the ledger was gone: %s, which a running node had saved of it, is in its place", copy)
    for left in rescued_copies(database):
        log.warning("%s was saved when the ledger was deleted or replaced: compare, then delete it", left)
    return lock


def upgrade_ledger(url: str, actor: str) -> None:
    """Bring a ledger's schema up to date, unless a node runs on it.

    Raises
    ------
    LedgerError
        As of `Ledger`; or its schema is older, and a node runs on it.
    """
    try:
        open_beside_node(url, actor).close()
        return
    except OlderSchemaError:
        lock = lock_ledger(url)
    try:
        Ledger(url, actor).close()
    finally:
        if lock:
            lock.close()
