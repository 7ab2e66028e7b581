"""Opening the ledger's database: SQLite made durable and concurrent, or PostgreSQL, and its schema kept up to date."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError

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
            _make_private(file)
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


def _make_private(file: Path) -> None:
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


def upgrade(engine: Engine) -> None:
    """Bring the schema up to this version's; a new database gets all of it.

    All of it is one transaction: where it is cut off, the ledger is what it was, and the next start upgrades it. A
    second process waits for the first and finds nothing to do. Before an upgrade a SQLite ledger is copied to a file
    beside it, named after the new schema (``ledger.sqlite.before-0002``): an older scarnode refuses an upgraded one.

    Raises
    ------
    LedgerError
        The ledger was written by a newer scarnode, can not be copied, or can not be opened.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            current = MigrationContext.configure(connection).get_current_revision()
            scripts = ScriptDirectory.from_config(config)
            _refuse_newer(current, scripts, engine)
            head = scripts.get_current_head()
            if current == head:
                return
            if current is not None:
                _keep_copy(engine, head)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except DatabaseError as error:
        raise LedgerError(
            str(error.orig),
            engine.url.render_as_string(),
            "Check that the database exists, is whole and can be written",
        ) from None


def _refuse_newer(current: str | None, scripts: ScriptDirectory, engine: Engine) -> None:
    known = {script.revision for script in scripts.walk_revisions()}
    if current is not None and current not in known:
        raise LedgerError(
            f"the ledger has schema {current}, which this version does not know",
            engine.url.render_as_string(),
            "It was written by a newer scarnode: install that version again, or take the copy made before",
        )


def _keep_copy(engine: Engine, head: str | None) -> None:
    """Copy a SQLite ledger as it is before an upgrade; the caller holds its write lock."""
    if engine.dialect.name != "sqlite" or not engine.url.database or engine.url.database == ":memory:":
        return
    copy = Path(f"{engine.url.database}.before-{head}")
    partial = copy.with_name(copy.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        _make_private(partial)
        with closing(sqlite3.connect(engine.url.database)) as source, closing(sqlite3.connect(partial)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")  # one file, whole by itself
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        partial.replace(copy)
    except (OSError, sqlite3.Error) as error:
        with suppress(OSError):
            partial.unlink()
        raise LedgerError(
            f"the ledger can not be copied before its upgrade ({error})",
            str(copy),
            "Make room there and start again: nothing was changed",
        ) from None
