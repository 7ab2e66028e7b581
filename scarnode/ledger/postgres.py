"""A ledger that several machines share: PostgreSQL, by psycopg 3."""

from __future__ import annotations

import time
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.engine import ExceptionContext

WRITER = 0x5CA24ED6E2
"""Key of the advisory lock that whoever writes the ledger holds until the end of the transaction."""

CONNECTING = {
    "application_name": "scarnode",
    "connect_timeout": "5",
    "target_session_attrs": "read-write",  # of several hosts the one that is not a standby
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
"""libpq's parameters, where the URL does not give them: a server that is cut off is noticed within half a minute."""

SESSION = {
    "lock_timeout": "60s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10",
    "tcp_keepalives_interval": "5",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "30s",
    "TimeZone": "UTC",
}
"""The server's settings of our sessions: a node that is cut off, or dies, gives its locks back soon."""


ALONE: dict[str, Any] = {"scarnode_read_only": True, "isolation_level": "AUTOCOMMIT"}
"""Execution options of a connection without transactions, which waits for no writer."""


def open_postgres(url: URL) -> Engine:
    """Open a ledger on PostgreSQL.

    One transaction writes at a time, as on SQLite: each takes the same advisory lock first. So what is checked within
    one stays true until its end, on either database, and no two wait for each other. Readers wait for nobody and see
    one state of the ledger.

    Parameters
    ----------
    url : sqlalchemy.URL
        Its query may hold libpq's parameters (``?host=a&host=b&sslmode=verify-full``).

    Returns
    -------
    sqlalchemy.Engine

    Raises
    ------
    ImportError
        psycopg is not installed.
    """
    arguments = {key: value for key, value in CONNECTING.items() if key not in url.query}
    if "options" not in url.query:
        arguments["options"] = " ".join(f"-c {name}={value}" for name, value in SESSION.items())
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args=arguments,
        hide_parameters=True,
        pool_pre_ping=True,
        pool_use_lifo=True,
        max_overflow=30,
    )
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "handle_error", _without_values)
    return engine


def database_clock(engine: Engine) -> float:
    """Return the database's time of this moment, in UTC seconds since 1970."""
    with engine.connect().execution_options(**ALONE) as connection:
        for _ in range(3):
            before = time.monotonic()
            told = float(connection.scalar(text("SELECT extract(epoch FROM clock_timestamp())")) or 0.0)
            took = time.monotonic() - before
            if took < 0.5:
                break
    return told + took / 2


def _prepare(connection: Any, _record: object) -> None:
    from psycopg.types.string import StrDumper

    class Storable(StrDumper):
        """Text as PostgreSQL takes it: a header may hold NUL, or what no encoding has."""

        def dump(self, obj: str) -> bytes:
            return obj.replace("\0", "").encode("utf-8", "replace")

    connection.adapters.register_dumper(str, Storable)


def _begin(connection: Connection) -> None:
    if not connection.get_execution_options().get("scarnode_read_only"):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({WRITER})")


def _without_values(context: ExceptionContext) -> None:
    """Keep the first line of an error alone: those behind it quote a row's values, and they hold patient data."""
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args and isinstance(error.args[0], str):
            error.args = (error.args[0].partition("\n")[0], *error.args[1:])
