"""Opening the ledger's database: SQLite made durable and concurrent, and its schema brought up to date."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from scarnode.errors import LedgerError

READ_ONLY = {"scarnode_read_only": True}
"""Execution options of a connection that only reads: it does not wait for the writer."""


def open_engine(url: str) -> Engine:
    """Open a ledger database, creating a SQLite file (mode 0600) where there is none.

    Parameters
    ----------
    url : str
        Any SQLAlchemy URL.

    Returns
    -------
    sqlalchemy.Engine
        On SQLite: write-ahead log, ``synchronous=FULL`` (a commit survives power loss), and write
        transactions that take their lock at once, so that two writers wait instead of failing. Its errors
        do not quote the values of a statement: they hold patient data.

    Raises
    ------
    LedgerError
        The URL is malformed, its driver is missing, or the file can not be created.
    """
    try:
        parsed = make_url(url)
        if parsed.get_backend_name() != "sqlite":
            return create_engine(parsed, pool_pre_ping=True, hide_parameters=True)
        if parsed.database and parsed.database != ":memory:":
            file = Path(parsed.database)
            file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(file, os.O_CREAT | os.O_RDWR, 0o600))
        engine = create_engine(parsed, connect_args={"timeout": 60}, hide_parameters=True)
    except (ArgumentError, ImportError, OSError) as error:
        raise LedgerError(str(error), "[ledger] url", "Name a database that this user can open and write") from None
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's recipe: we say BEGIN ourselves
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: Connection) -> None:
    read_only = connection.get_execution_options().get("scarnode_read_only")
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


def upgrade(engine: Engine) -> None:
    """Bring the schema up to this version's; a new database gets all of it.

    Raises
    ------
    LedgerError
        The ledger was written by a newer scarnode, or can not be opened.
    """
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    try:
        with engine.begin() as connection:
            _refuse_newer(connection, config)
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    except OperationalError as error:
        raise LedgerError(
            str(error.orig), engine.url.render_as_string(), "Check that the database exists and can be written"
        ) from None


def _refuse_newer(connection: Connection, config: Config) -> None:
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise LedgerError(
            f"the ledger has schema {current}, which this version does not know",
            connection.engine.url.render_as_string(),
            "It was written by a newer scarnode: install that version again, or restore the backup made before",
        )
