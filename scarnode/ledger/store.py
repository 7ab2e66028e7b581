"""The open database of a ledger: the one thing that every part of the ledger gets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from scarnode.ledger.data_version import DataVersion
from scarnode.ledger.database import READ_ONLY, files_of, open_engine
from scarnode.ledger.postgres import database_clock
from scarnode.ledger.schema import require_current, upgrade
from scarnode.ledger.tables import Event, Job
from scarnode.util.clock import SYSTEM_CLOCK, Clock, align
from scarnode.util.errors import LedgerError


@dataclass(frozen=True)
class Store:
    """An open ledger database.

    Attributes
    ----------
    engine : sqlalchemy.Engine
    actor : str
        Who makes the changes. Stands in the event rows.
    clock : Clock
        What is due goes by its `monotonic_time`; what a person reads by its `wall_time`.
    changes : DataVersion
        Tells whether anything was written since.
    """

    engine: Engine
    actor: str
    clock: Clock
    changes: DataVersion

    @property
    def shared(self) -> bool:
        """Whether other machines may use the database too. Then the time is the server's: see `align`."""
        return self.engine.dialect.name != "sqlite"

    def in_name_of(self, actor: str) -> Store:
        """Return the same store, on the same connections, for changes that another makes."""
        return replace(self, actor=actor)

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one consistent state and waits for nobody."""
        options = READ_ONLY[self.engine.dialect.name]
        with self.engine.connect().execution_options(**options) as connection, Session(connection) as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """Open a session that writes: one transaction, and one writer at a time."""
        with Session(self.engine) as session, session.begin():
            yield session

    def event(self, study_id: int, job_id: int | None, old: str, new: str, why: str) -> Event:
        """Return the event row of a change; the caller adds it to the session of the change."""
        at = self.clock.wall_time()
        return Event(study_id=study_id, job_id=job_id, at=at, actor=self.actor, from_state=old, to_state=new, why=why)

    def try_to_write(self) -> None:
        """Take the write lock and give it back; raise where it can not be had."""
        with self.writing() as session:
            session.connection()

    def file_fault(self) -> str:
        """Return what became of a SQLite ledger's files: see `scarnode.ledger.sqlite_file.LedgerFiles.fault`."""
        files = files_of(self.engine)
        return files.fault() if files else ""

    def close(self) -> None:
        """Close the database connections."""
        if self.file_fault():  # SQLite's last close would delete by name what is no longer ours
            return
        self.changes.close()
        self.engine.dispose()


def open_store(url: str, actor: str, migrate: bool = True, clock: Clock = SYSTEM_CLOCK) -> Store:
    """Open a ledger database. The parameters and errors are those of `scarnode.ledger.ledger.Ledger`."""
    engine = open_engine(url)
    store = Store(engine, actor, clock, DataVersion(engine))
    if migrate:
        upgrade(engine)
    else:
        require_current(engine)
    if store.shared:
        align(database_clock(engine))
    return store


def locked_job(session: Session, job_id: int) -> Job:
    """Return a job's row, locked until the end of the transaction.

    Raises
    ------
    LedgerError
        There is no such job.
    """
    job = session.get(Job, job_id, with_for_update=True)
    if job is None:
        raise LedgerError("there is no such job", f"job {job_id}", "See: scarnode jobs list")
    return job
