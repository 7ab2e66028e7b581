"""A real PostgreSQL of our own: no service, no port, a folder that goes when it ends."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

PROGRAMS = Path("/usr/lib/postgresql")


def programs() -> Path:
    """Give the folder of Debian's newest PostgreSQL, or skip the test."""
    found = sorted(PROGRAMS.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    if not found:
        pytest.skip("postgresql is not installed")
    return found[-1].parent


class Postgres:
    """Start PostgreSQL on a socket in a folder of its own; a context manager.

    It refuses to run as root: then it runs as the user that Debian's package makes.

    Parameters
    ----------
    durable : bool
        Whether commits survive a crash of the machine; False is faster.
    """

    def __init__(self, durable: bool = False) -> None:
        self._bin = programs()
        self._durable = durable
        self._root = os.geteuid() == 0
        if self._root:
            with suppress(KeyError):
                self._user = pwd.getpwnam("postgres")
            if not hasattr(self, "_user") or not shutil.which("runuser"):
                pytest.skip("postgresql's user is not there")
        self.folder = Path(tempfile.mkdtemp(prefix="scarnode-pg-", dir="/tmp"))  # short: it holds a socket
        self._data, self._log = self.folder / "data", self.folder / "log"
        if self._root:
            os.chown(self.folder, self._user.pw_uid, self._user.pw_gid)
        self.folder.chmod(0o755)
        self._made = 0

    def __enter__(self) -> Postgres:
        self._run("initdb", "-D", self._data, "-U", "scarnode", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C")
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(RuntimeError):  # it is stopped already
            self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start, or start again on the same data."""
        settings = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=200"
        if not self._durable:
            settings += " -c fsync=off -c synchronous_commit=off -c full_page_writes=off"
        self._run("pg_ctl", "start", "-D", self._data, "-l", self._log, "-w", "-o", settings)

    def stop(self, mode: str = "immediate") -> None:
        """Stop: ``immediate`` as in a crash, ``fast`` as an admin does."""
        self._run("pg_ctl", "stop", "-D", self._data, "-m", mode, "-w")

    def url(self, database: str) -> str:
        """Give a database's URL as config.ini has it."""
        return f"postgresql+psycopg://scarnode@/{database}?host={self.folder}"

    def make(self, template: str = "template1") -> str:
        """Make a database, and give its name."""
        self._made += 1
        name = f"ledger{self._made}"
        self.execute(f"CREATE DATABASE {name} TEMPLATE {template}", "postgres")
        return name

    def drop(self, database: str) -> None:
        """Drop a database, whoever uses it."""
        self.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)", "postgres")

    def execute(self, statement: str, database: str) -> None:
        """Run a statement outside of any transaction."""
        with psycopg.connect(host=str(self.folder), user="scarnode", dbname=database, autocommit=True) as connection:
            connection.execute(statement)

    def query(self, database: str, statement: str, parameters: tuple[Any, ...] = ()) -> list[dict[str, Any]]:
        """Give the rows of a SELECT."""
        with psycopg.connect(
            host=str(self.folder), user="scarnode", dbname=database, row_factory=dict_row
        ) as connection:
            return connection.execute(statement, parameters or None).fetchall()

    def _run(self, program: str, *words: object) -> None:
        command = [str(self._bin / program), *map(str, words)]
        if self._root:
            command = ["runuser", "-u", "postgres", "--", *command]
        with (self.folder / "told").open("w+") as told:  # the server keeps its outputs: a pipe would never end
            done = subprocess.run(command, stdout=told, stderr=told, cwd=self.folder, check=False)
            told.seek(0)
            if done.returncode:
                more = self._log.read_text() if self._log.exists() else ""
                raise RuntimeError(f"{program} ended with {done.returncode}: {told.read()}{more}")
