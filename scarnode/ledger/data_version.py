"""Whether a ledger in a SQLite file has changed, at the price of one pragma: most seconds nothing happens."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from sqlalchemy import Engine

from scarnode.ledger.database import files_of
from scarnode.ledger.sqlite_file import LedgerFileError, copy_database


class DataVersion:
    """Tells two states of a ledger apart, whichever process wrote to it.

    Parameters
    ----------
    engine : sqlalchemy.Engine
        Of SQLite in a file; of any other database nothing can be told.
    """

    def __init__(self, engine: Engine) -> None:
        self._files = files_of(engine)
        self._file = self._files.database if self._files else None
        self._connection: sqlite3.Connection | None = None
        self._lock = threading.Lock()

    def version(self) -> int | None:
        """Return a number that changes with every commit (``PRAGMA data_version``); None: it can not be told."""
        try:
            with self._lock:
                return self._version()
        except (sqlite3.Error, LedgerFileError):  # who looks into the ledger now meets the same, and says so
            return None

    def copy_to(self, copy: Path) -> int | None:
        """Copy the ledger's committed content to a file, also where the ledger's own files were deleted.

        Returns
        -------
        int or None
            The version that was copied at least; None: there is no file to copy.

        Raises
        ------
        OSError, sqlite3.Error
            It can not be copied.
        """
        with self._lock:
            version = self._version()
            if self._connection is not None:
                copy_database(self._connection, copy)
            return version

    def _version(self) -> int | None:
        if not self._file or self._files is None:
            return None
        if self._connection is not None:
            return int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        # of its own: the pragma does not tell of commits on the same connection
        self._files.check()
        file = f"{self._file.as_uri()}?mode=ro"
        self._connection = sqlite3.connect(file, timeout=0, check_same_thread=False, uri=True)
        version = int(self._connection.execute("PRAGMA data_version").fetchone()[0])
        self._files.remember_log()
        return version

    def close(self) -> None:
        """Return the connection."""
        with self._lock:
            if self._connection is not None and self._files is not None:
                self._files.forget_log()
                self._connection.close()
                self._connection = None
