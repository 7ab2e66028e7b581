"""Opening the ledger's database: SQLite made durable and concurrent, or PostgreSQL."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from scarnode.errors import LedgerError
from scarnode.jobs.postgres import open_postgres

PATIENCE = 60.0
"""Seconds to wait for another process that has SQLite's lock."""

READ_ONLY: dict[str, dict[str, Any]] = {
    "sqlite": {"scarnode_read_only": True},
    "postgresql": {
        "scarnode_read_only": True,
        "isolation_level": "REPEATABLE READ",
        "postgresql_readonly": True,
    },
}
"""Execution options, by database, of a connection that only reads: it does not wait for the writer."""


def open_engine(url: str) -> Engine:
    """Open a ledger database, creating a SQLite file (mode 0600) where there is none.

    Parameters
    ----------
    url : str
        SQLAlchemy's, of SQLite or PostgreSQL.

    Returns
    -------
    sqlalchemy.Engine
        On SQLite: write-ahead log, ``synchronous=FULL`` (a commit survives power loss), and write
        transactions that take their lock at once, so that two writers wait instead of failing. On PostgreSQL
        (`scarnode.jobs.postgres`) they do so too. Its errors do not quote the values of a statement: they hold
        patient data.

    Raises
    ------
    LedgerError
        The URL is malformed, its driver is missing, or the file can not be created.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() == "postgresql":
            return _open_postgres(parsed)
        if parsed.get_backend_name() != "sqlite":
            raise ArgumentError(f"{parsed.get_backend_name()} is neither sqlite nor postgresql")
        if parsed.database and parsed.database != ":memory:":
            file = Path(parsed.database)
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            make_private(file)
        engine = create_engine(parsed, connect_args={"timeout": PATIENCE}, hide_parameters=True)
    except (ArgumentError, ImportError, OSError) as error:
        raise LedgerError(str(error), "[ledger] url", "Name a database that this user can open and write") from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _open_postgres(url: URL) -> Engine:
    try:
        return open_postgres(url)
    except ImportError as error:
        todo = "Install it: pip install scarnode[cluster]"
        raise LedgerError(f"PostgreSQL needs psycopg ({error})", "[ledger] url", todo) from None


def make_private(file: Path) -> None:
    """Create a file (mode 0600), or take its readers from one that came with more, e.g. back from a backup."""
    number = os.open(file, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        status = os.fstat(number)
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():
            os.fchmod(number, 0o600)
    finally:
        os.close(number)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's recipe: we say BEGIN ourselves
    _write_ahead(connection)
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _write_ahead(connection: Any) -> None:
    """Switch to the write-ahead log; SQLite does not wait by itself where another process does so at the same time."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("scarnode_read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
