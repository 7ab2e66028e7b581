"""Tasks of which only one may run at a time, in this process or on all machines that share a ledger."""

from __future__ import annotations

import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection, Engine, func, select, text
from sqlalchemy.exc import SQLAlchemyError

from scarnode.ledger.postgres import ALONE

TURNS = 0x5CA2
"""First half of the keys of our advisory locks; the second is a hash of the task's name."""


class Ending(Protocol):
    """What a long task asks between two steps; a `threading.Event` is one too."""

    def is_set(self) -> bool:
        """Return whether the task should end."""
        ...


@dataclass(frozen=True)
class TaskLock:
    """A task's turn."""

    name: str
    line: Connection | None
    task_locks: TaskLocks

    def is_lost(self) -> bool:
        """Return whether the database has given it to others, or may have."""
        return self.task_locks.is_lost(self)


@dataclass(frozen=True)
class StopOrLockLost:
    """Ends a task that lost its turn, as well as one of a node that stops."""

    turn: TaskLock
    stopping: threading.Event

    def is_set(self) -> bool:
        """Return whether the task should end."""
        return self.stopping.is_set() or self.turn.is_lost()


class TaskLocks:
    """Gives tasks their turn.

    On PostgreSQL a turn is a session's advisory lock, all of them on one connection of this process: where that ends,
    however it ends, the server gives them to others. A task that was cut off may run beside its successor for a while:
    what it does must be safe all the same, for every transaction looks again, and every object has its one UID.
    On SQLite there is one process, and a turn is a name in a set.

    Parameters
    ----------
    engine : Engine
        The ledger's.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._shared = engine.dialect.name != "sqlite"
        self._taken: set[str] = set()
        self._mutex = threading.Lock()
        self._line: Connection | None = None

    @contextmanager
    def turn(self, name: str) -> Iterator[TaskLock | None]:
        """Return a task its turn; None where another has it, or the database can not be asked."""
        turn = self._take(name)
        try:
            yield turn
        finally:
            if turn is not None:
                self._give_back(turn)

    def is_lost(self, turn: TaskLock) -> bool:
        """Return whether a turn that was given is no longer held."""
        if not self._shared:
            return False
        with self._mutex:
            if turn.line is None or turn.line is not self._line:
                return True
            try:
                turn.line.execute(text("SELECT 1"))
            except SQLAlchemyError:
                self._hang_up()
                return True
            return False

    def close(self) -> None:
        """Return everything back."""
        with self._mutex:
            self._hang_up()

    def _take(self, name: str) -> TaskLock | None:
        with self._mutex:
            if name in self._taken:  # a session's lock can be had twice by the same session
                return None
            if self._shared and not self._lock(name):
                return None
            self._taken.add(name)
            return TaskLock(name, self._line, self)

    def _lock(self, name: str) -> bool:
        try:
            if self._line is None:
                self._line = self._engine.connect().execution_options(**ALONE)
                self._line.detach()
            return bool(self._line.scalar(select(func.pg_try_advisory_lock(TURNS, _key(name)))))
        except SQLAlchemyError:
            self._hang_up()
            return False

    def _give_back(self, turn: TaskLock) -> None:
        with self._mutex:
            self._taken.discard(turn.name)
            if turn.line is None or turn.line is not self._line:
                return
            try:
                turn.line.execute(select(func.pg_advisory_unlock(TURNS, _key(turn.name))))
            except SQLAlchemyError:
                self._hang_up()

    def _hang_up(self) -> None:
        """Leave a connection that may be dead: with it end all turns that it held."""
        line, self._line = self._line, None
        if line is not None:
            with suppress(SQLAlchemyError):
                line.invalidate()
            with suppress(SQLAlchemyError):
                line.close()


def _key(name: str) -> int:
    """Return a name's number, as PostgreSQL's integer has it."""
    return int.from_bytes(zlib.crc32(name.encode()).to_bytes(4, "big"), "big", signed=True)
