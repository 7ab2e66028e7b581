"""The files of a SQLite ledger: made and kept private by path, watched by path, locked by a file beside them.

No plain descriptor is ever opened on them. POSIX drops all of a process's locks on a file when the process closes any
descriptor of that file (https://sqlite.org/howtocorrupt.html, 2.2). SQLite's own descriptors know this, others do not.
Without its locks the node is invisible: the next command takes itself for the last user of the ledger, and deletes
write-ahead log and index under the node.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
import stat
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import IO

from sqlalchemy.exc import OperationalError

from scarnode.util.errors import LedgerError

PATIENCE = 1.0
"""Seconds for which a node waits for the lock: a command that looks whether a node runs holds it for microseconds."""

STARTING = 5.0
"""Seconds for which a command waits for the ledger of a node that is just being started."""

RESCUED = ".rescued-"
"""Stands between the ledger's name and the time in the name of a copy that a node saved of its deleted ledger."""

HELP = "docs/troubleshooting.md, The ledger was deleted or replaced"


class LedgerFileError(OperationalError):
    """The ledger's files are no longer those that this process has open: nothing is read or written there."""

    def __init__(self, fault: str) -> None:
        super().__init__("BEGIN", None, sqlite3.OperationalError(fault))


class LedgerFiles:
    """The files of a SQLite ledger that this process has open.

    Parameters
    ----------
    database : Path
        Of the database; links are followed, as SQLite does. It exists.

    Attributes
    ----------
    taken : str
        That another node runs on them too, in one sentence (`LedgerLock.fault`); empty: none does.
    """

    def __init__(self, database: Path) -> None:
        self.database = database.resolve()
        self.taken = ""
        self._opened: dict[Path, tuple[int, int]] = {}
        self._remember(self.database)

    def remember_log(self) -> None:
        """Watch the write-ahead log and its index too: from now on a connection of this process keeps them there."""
        for suffix in ("-wal", "-shm"):
            with suppress(OSError):
                self._remember(Path(f"{self.database}{suffix}"))

    def forget_log(self) -> None:
        """Watch the database alone: the last connection that is closed deletes the others."""
        self._opened = {self.database: self._opened[self.database]}

    @property
    def inode(self) -> int:
        """Number of the database's file, as it was opened."""
        return self._opened[self.database][1]

    def fault(self) -> str:
        """Return what became of the files, in one sentence; empty where they are those that were opened.

        It costs some microseconds: stat(2) of each.
        """
        for path, opened in list(self._opened.items()):
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return f"{path} was deleted while this process had it open"
            except OSError as error:
                return f"{path} can not be looked at ({error.strerror})"
            if (found.st_dev, found.st_ino) != opened:
                return f"{path} was replaced by another file while this process had it open"
        return self.taken

    def remove_log_of_replaced(self) -> None:
        """Delete our write-ahead log where another database stands in our place: SQLite would replay the log into it.

        The content must have been saved before.
        """
        with suppress(OSError):
            if self._is_ours(self.database):
                return
            for suffix in ("-wal", "-shm"):
                path = Path(f"{self.database}{suffix}")
                if path in self._opened and path.exists() and self._is_ours(path):
                    path.unlink()

    def _is_ours(self, path: Path) -> bool:
        status = path.stat()
        return (status.st_dev, status.st_ino) == self._opened[path]

    def check(self) -> None:
        """Raise where the files are no longer those that were opened.

        Raises
        ------
        LedgerFileError
        """
        if fault := self.fault():
            raise LedgerFileError(fault)

    def _remember(self, path: Path) -> None:
        status = path.stat()
        self._opened[path] = (status.st_dev, status.st_ino)


class LedgerLock:
    """Keeps a second node off a SQLite ledger, from construction until `close` or the end of the process.

    The lock is flock(2) on a file beside the ledger. That file names the process and the inode of its ledger, for
    commands that run beside the node.

    Parameters
    ----------
    database : Path
        Of the ledger; need not exist yet.

    Raises
    ------
    LedgerError
        Another node has it, or the lock can not be made.
    """

    def __init__(self, database: Path) -> None:
        database = database.resolve()
        self._database, self._path = database, lock_path(database)
        try:
            database.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = self._lock(PATIENCE)
        except BlockingIOError:
            process, _ = _holder(self._path)
            raise LedgerError(
                f"another node runs on this ledger{process}",
                str(database),
                "Stop that node, or set another [ledger] url; several processes share a ledger on PostgreSQL only",
            ) from None
        except OSError as error:
            todo = "Set [ledger] url to a place that this user can write"
            raise LedgerError(f"can not be locked ({error.strerror})", str(self._path), todo) from None
        self._inode = 0
        self._write()

    def name(self, inode: int) -> None:
        """Write down which file the node has open as its ledger."""
        self._inode = inode
        self._write()

    def fault(self) -> str:
        """Make and lock the file again where somebody deleted it; return what is wrong if that can not be done."""
        try:
            with suppress(FileNotFoundError):
                if os.path.samestat(self._path.stat(), os.fstat(self._file.fileno())):
                    return ""
            former, self._file = self._file, self._lock(0.0)
            former.close()
            self._write()
        except BlockingIOError:
            return f"{self._path} was deleted, and another node runs on this ledger"
        except OSError as error:
            return f"{self._path} was deleted, and can not be locked again ({error.strerror})"
        return ""

    def close(self) -> None:
        """Allow another node have the ledger."""
        self._file.close()

    def _lock(self, patience: float) -> IO[str]:
        deadline = time.monotonic() + patience
        while True:
            file = os.fdopen(os.open(self._path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600), "r+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return file
            except OSError as error:
                file.close()
                if not isinstance(error, BlockingIOError) or time.monotonic() >= deadline:
                    raise
            time.sleep(0.05)

    def _write(self) -> None:
        with suppress(OSError):  # a full disk: it is only what the messages of others say
            self._file.seek(0)
            self._file.truncate()
            self._file.write(f"{os.getpid()} {self._inode}\n")
            self._file.flush()


def lock_path(database: Path) -> Path:
    """Return the name of a ledger's lock."""
    return Path(f"{database.resolve()}.lock")


def make_private(file: Path) -> None:
    """Create a file (mode 0600), or take its readers from one that came with more, e.g. back from a backup.

    Raises
    ------
    OSError
        It can not be made, or this user may not read and write it.
    """
    with suppress(FileExistsError):
        os.mknod(file, stat.S_IFREG | 0o600)
    status = file.stat()
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        file.chmod(0o600)
    if not os.access(file, os.R_OK | os.W_OK, effective_ids=True):
        raise PermissionError(f"{file} can not be read and written by this user")


def check_beside_node(database: Path) -> None:
    """Check that a command which opens a ledger now sees the one on which the node runs, if one does.

    Raises
    ------
    LedgerError
        The node's ledger was deleted or replaced.
    """
    deadline = time.monotonic() + STARTING
    while (held := _is_locked(lock_path(database))) and not database.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    if held:
        process, inode = _holder(lock_path(database))
        if not database.exists():
            raise LedgerError(f"was deleted under the running node{process}", str(database), f"See {HELP}")
        if inode and inode != database.stat().st_ino:
            what = f"is another file than the one on which the node runs{process}"
            raise LedgerError(what, str(database), f"See {HELP}")
    elif not database.exists() and (copies := rescued_copies(database)):
        todo = "Start the node, which puts it back; or move the copy away to begin a new ledger"
        raise LedgerError(f"is gone; a copy of it is {copies[-1]}", str(database), todo)


def rescued_copies(database: Path) -> list[Path]:
    """Return the copies that nodes saved of this ledger when it was deleted or replaced, the oldest first."""
    prefix = database.name + RESCUED
    if not database.parent.is_dir():
        return []
    return sorted(
        path for path in database.parent.iterdir() if path.name.startswith(prefix) and path.suffix != ".partial"
    )


def put_back(database: Path) -> Path | None:
    """Put the newest rescued copy in the place of a ledger that is gone; return what it was called.

    Raises
    ------
    LedgerError
        It can not be put there.
    """
    if database.exists() or not (copies := rescued_copies(database)):
        return None
    try:
        for suffix in ("-wal", "-shm"):  # of the ledger that is gone: the copy is whole by itself
            Path(f"{database}{suffix}").unlink(missing_ok=True)
        copies[-1].rename(database)
    except OSError as error:
        what = f"is gone, and its copy {copies[-1].name} can not be put in its place ({error.strerror})"
        raise LedgerError(what, str(database), "Rename the copy, then start again") from None
    return copies[-1]


def copy_database(source: sqlite3.Connection, copy: Path) -> None:
    """Copy an open database durably to a file (mode 0600), which is whole by itself.

    Parameters
    ----------
    source : sqlite3.Connection
    copy : Path
        Replaced where it exists.

    Raises
    ------
    OSError, sqlite3.Error
        It can not be copied; nothing is left behind.
    """
    partial = copy.with_name(copy.name + ".partial")
    try:
        partial.unlink(missing_ok=True)
        make_private(partial)
        with closing(sqlite3.connect(partial)) as target:
            source.backup(target)
            target.execute("PRAGMA journal_mode=DELETE")
        with partial.open("rb") as file:  # SQLite has closed it: no lock can be lost
            os.fsync(file.fileno())
        partial.replace(copy)
    except (OSError, sqlite3.Error):
        with suppress(OSError):
            partial.unlink()
        raise


def _is_locked(lock: Path) -> bool:
    """Return whether a process holds a lock file."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _holder(lock: Path) -> tuple[str, int]:
    """Return who holds a lock, as messages say it, and the inode of its ledger (0: not known)."""
    try:
        process, inode = map(int, lock.read_text(encoding="ascii").split())
    except (OSError, ValueError):
        return "", 0
    return f" (process {process})", inode
