"""The ledger's schema: which one it has, and how it is brought up to this version's."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import DatabaseError

from scarnode.ledger.database import READ_ONLY
from scarnode.ledger.sqlite_file import copy_database
from scarnode.util.errors import LedgerError

MIGRATIONS = Path(__file__).parent / "migrations"

REVISIONS = tuple(sorted(path.name[:4] for path in (MIGRATIONS / "versions").glob("[0-9]*.py")))
"""Of the schema, oldest first. Alembic, which takes 10 MB, is asked only where there is something to do."""


class OlderSchemaError(LedgerError):
    """The ledger has the schema of an older scarnode."""


def revision_of(connection: Connection) -> str | None:
    """Return the revision that a ledger has; None where it is still empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.scalar(text("SELECT version_num FROM alembic_version"))


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
    try:
        with engine.begin() as connection:
            current = revision_of(connection)
            if current == REVISIONS[-1]:
                return
            if current is not None:
                _refuse_newer(current, engine)
                _keep_copy(engine)
            _migrate(connection)
    except DatabaseError as error:
        raise _unusable(error, engine) from None


def require_current(engine: Engine) -> None:
    """Check that a ledger has this version's schema; a new database gets it, an older one is left as it is.

    For commands: one of a newer version must not change the ledger of a node that runs.

    Raises
    ------
    LedgerError
        The ledger has another schema, or can not be opened.
    """
    try:
        with engine.connect().execution_options(**READ_ONLY[engine.dialect.name]) as connection:
            current = revision_of(connection)
    except DatabaseError as error:
        raise _unusable(error, engine) from None
    if current is None:
        upgrade(engine)
    elif current != REVISIONS[-1]:
        _refuse_newer(current, engine)
        raise OlderSchemaError(
            f"the ledger has schema {current}, this version's is {REVISIONS[-1]}",
            engine.url.render_as_string(),
            "Restart the node with this version; where none runs: scarnode db upgrade",
        )


def _unusable(error: DatabaseError, engine: Engine) -> LedgerError:
    todo = "Check that the database exists, is whole and can be written"
    return LedgerError(str(error.orig), engine.url.render_as_string(), todo)


def _migrate(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _refuse_newer(current: str, engine: Engine) -> None:
    if current not in REVISIONS:
        raise LedgerError(
            f"the ledger has schema {current}, which this version does not know",
            engine.url.render_as_string(),
            "It was written by a newer scarnode: install that version again, or take the copy made before",
        )


def _keep_copy(engine: Engine) -> None:
    """Copy a SQLite ledger as it is before an upgrade; the caller holds its write lock."""
    if engine.dialect.name != "sqlite" or not engine.url.database or engine.url.database == ":memory:":
        return
    copy = Path(f"{engine.url.database}.before-{REVISIONS[-1]}")
    try:
        with closing(sqlite3.connect(engine.url.database)) as source:
            copy_database(source, copy)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(
            f"the ledger can not be copied before its upgrade ({error})",
            str(copy),
            "Make room there and start again: nothing was changed",
        ) from None
