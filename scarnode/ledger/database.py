"""Opening the ledger's database: SQLite made durable and concurrent, or PostgreSQL."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError

from scarnode.ledger.postgres import open_postgres
from scarnode.ledger.sqlite_file import LedgerFiles, make_private
from scarnode.util.errors import LedgerError

PATIENCE = 60.0
"""Seconds to wait for another process that has SQLite's lock."""

CONNECTIONS = 10
"""Connections to a SQLite ledger that a process keeps open."""

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
        (`scarnode.ledger.postgres`) they do so too. Its errors do not quote the values of a statement: they hold
        patient data. Every transaction on SQLite first checks that the ledger's files are still those that were
        opened (`files_of`).

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
        if not parsed.database or parsed.database == ":memory:":
            engine = create_engine(parsed, connect_args={"timeout": PATIENCE}, hide_parameters=True)
        else:
            engine = _open_file(parsed, Path(parsed.database))
    except (ArgumentError, ImportError, OSError) as error:
        raise LedgerError(str(error), "[ledger] url", "Name a database that this user can open and write") from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def sqlite_file(url: str) -> Path | None:
    """Return the file of a ledger on SQLite; None where it is on a server, in memory, or the URL is none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return None
    if parsed.get_backend_name() != "sqlite" or not parsed.database or parsed.database == ":memory:":
        return None
    return Path(parsed.database)


def files_of(engine: Engine) -> LedgerFiles | None:
    """Return the files of a ledger on SQLite; None where it is on a server, or in memory."""
    return engine.get_execution_options().get("scarnode_files")


def _open_file(url: URL, file: Path) -> Engine:
    """Open a SQLite file; every later connection opens that one file too, and never makes another in its place."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    make_private(file)
    files = LedgerFiles(file)
    engine = create_engine(
        url,
        connect_args={"timeout": PATIENCE},
        hide_parameters=True,
        execution_options={"scarnode_files": files},
        pool_size=CONNECTIONS,
        max_overflow=-1,  # bounded by the threads of the process: tasks of the node, requests of the pages
    )

    def connect(_dialect: object, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
        files.check()
        arguments[0] = f"{file.absolute().as_uri()}?mode=rw"
        options["uri"] = True

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", lambda *_: files.check())  # it may have been replaced meanwhile
    return engine


def _open_postgres(url: URL) -> Engine:
    try:
        return open_postgres(url)
    except ImportError as error:
        todo = "Install it: pip install scarnode[cluster]"
        raise LedgerError(f"PostgreSQL needs psycopg ({error})", "[ledger] url", todo) from None


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
    options = connection.get_execution_options()
    if files := options.get("scarnode_files"):
        files.check()
    read_only = options.get("scarnode_read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
