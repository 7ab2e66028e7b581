"""Which processes work on a ledger on a server, and what becomes of what a dead one had in hand."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from uuid import uuid4

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from scarnode.ledger.attempts import interrupt_jobs_of
from scarnode.ledger.store import Store
from scarnode.ledger.tables import Alarm, Member

LEASE = 30.0
"""Seconds without a sign of life after which a process counts as dead."""

FORGOTTEN = 86400.0
"""Seconds until a dead process that nobody started again is no longer told of."""

HOST = socket.gethostname()[:40]


def new_name() -> str:
    """Return a name for this process that no other has, also where several run on one host."""
    return f"{HOST}-{uuid4().hex[:8]}"


@dataclass(frozen=True)
class MemberRow:
    """A process on the ledger; times by the ledger's clock."""

    name: str
    host: str
    roles: str
    began_at: float
    seen_at: float
    caught_up_to: float | None
    lost_at: float | None


class Nodes:
    """The processes that work on a ledger on a server: `Ledger.nodes`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def beat(self, name: str, roles: str, caught_up_to: float | None = None) -> None:
        """Write this process's heartbeat; its row is its own, so that this waits for no writer.

        Parameters
        ----------
        name : str
            As of `new_name`.
        roles : str
            Comma-separated.
        caught_up_to : float, optional
            Of a process that receives: what it stored before this time is in the ledger.
        """
        now = self._store.clock.monotonic_time()
        signs = {"seen_at": now, "caught_up_to": caught_up_to, "lost_at": None}
        with self._store.engine.connect().execution_options(scarnode_read_only=True) as connection, connection.begin():
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")  # one that is lost is said again
            if not connection.execute(update(Member).where(Member.name == name).values(**signs)).rowcount:
                new = {"name": name, "host": HOST, "roles": roles, "began_at": now}
                connection.execute(insert(Member).values(**new, **signs))

    def leave(self, name: str) -> None:
        """Unregister this process at its regular end; its own alarms end with it."""
        with self._store.writing() as session:
            session.execute(delete(Member).where(Member.name == name))
            _clear_alarms_of(self._store, session, name)

    def members(self) -> list[MemberRow]:
        """Return the processes that live, and those that died within the last day."""
        columns = [getattr(Member, field) for field in MemberRow.__dataclass_fields__]
        with self._store.reading() as session:
            return [MemberRow(*row) for row in session.execute(select(*columns).order_by(Member.host, Member.roles))]

    def missed(self) -> list[MemberRow]:
        """Return the processes that died, and that nobody started again on their host with the same roles since."""
        rows, now = self.members(), self._store.clock.monotonic_time()
        return [
            dead
            for dead in rows
            if dead.lost_at is not None
            and dead.lost_at > now - FORGOTTEN
            and not any(
                row.lost_at is None and (row.host, row.roles) == (dead.host, dead.roles) and row.began_at > dead.seen_at
                for row in rows
            )
        ]

    def receivers_behind(self) -> float:
        """Return the seconds by which what was received last may lie before the ledger knows of it."""
        query = select(func.min(Member.caught_up_to)).where(Member.lost_at.is_(None))
        with self._store.reading() as session:
            oldest = session.scalar(query)
        return 0.0 if oldest is None else max(0.0, self._store.clock.monotonic_time() - oldest)

    def lost_receiver_at(self) -> float:
        """Return when a process that received was last found dead; 0: never."""
        query = select(func.max(Member.lost_at)).where(Member.caught_up_to.is_not(None))
        with self._store.reading() as session:
            return session.scalar(query) or 0.0

    def end_lost(self) -> list[str]:
        """Take what it had in hand from every process that gives no sign of life; give their names.

        Called by processes for which the ledger was there all the time: while it is away, nobody can give a sign.
        """
        now = self._store.clock.monotonic_time()
        silent = (Member.lost_at.is_(None), Member.seen_at < now - LEASE)
        with self._store.reading() as session:
            if session.scalar(select(Member.id).where(*silent).limit(1)) is None:
                return []
        with self._store.writing() as session:
            dead = session.scalars(select(Member).where(*silent).with_for_update()).all()
            for row in dead:
                row.lost_at = now
                interrupt_jobs_of(self._store, session, row.name)
                _clear_alarms_of(self._store, session, row.name)
            session.execute(delete(Member).where(Member.lost_at < now - FORGOTTEN))
            return [row.name for row in dead]


def _clear_alarms_of(store: Store, session: Session, name: str) -> None:
    own = Alarm.name.endswith("_" + name, autoescape=True)
    session.execute(
        update(Alarm).where(own, Alarm.cleared_at.is_(None)).values(cleared_at=store.clock.monotonic_time())
    )
