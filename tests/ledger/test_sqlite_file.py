"""A SQLite ledger's files: locks that no close drops, one node at a time, a ledger that goes away under its user."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from scarnode.ledger.database import files_of
from scarnode.ledger.ledger import Ledger, lock_ledger, open_beside_node, upgrade_ledger
from scarnode.ledger.sqlite_file import make_private, rescued_copies
from scarnode.util.errors import LedgerError
from tests.harness.ledger_locks import locks_on
from tests.harness.node import ROOT
from tests.ledger.test_upgrade import restore, version


def url(path: Path) -> str:
    return f"sqlite:///{path}"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    ledger = Ledger(url(path), actor="node")
    ledger.alarms.raise_alarm("a", "detail")
    ledger.store.changes.version()
    yield ledger
    ledger.close()


def in_another_process(code: str, *words: object) -> None:
    subprocess.run([sys.executable, "-c", code, *map(str, words)], cwd=ROOT, check=True, timeout=60)


LOOK = """
import sys
from scarnode.ledger.ledger import open_beside_node
ledger = open_beside_node(sys.argv[1], "cli")
assert ledger.alarms.standing_alarms() == {"a"}, "another ledger"
ledger.close()
"""


def test_no_second_use_in_the_process_drops_its_locks(ledger, path, tmp_path):
    before = locks_on(path)
    assert before
    other = Ledger(url(path), actor="web")
    make_private(path)
    other.store.changes.version()
    other.close()
    ledger.store.changes.copy_to(tmp_path / "copy.sqlite")
    upgrade_ledger(url(path), "cli")
    open_beside_node(url(path), "cli").close()
    assert locks_on(path) >= before
    in_another_process(LOOK, url(path))
    assert Path(f"{path}-wal").exists()
    assert ledger.store.file_fault() == ""


def test_the_copy_before_an_upgrade_drops_no_lock(path):
    restore(path)
    with closing(sqlite3.connect(path)) as user:
        user.execute("PRAGMA journal_mode=WAL")
        user.execute("SELECT count(*) FROM job").fetchone()
        before = locks_on(path)
        assert before
        upgrade_ledger(url(path), "cli")
        assert locks_on(path) >= before
    assert list(path.parent.glob("ledger.sqlite.before-*"))


def test_no_plain_descriptor_is_opened_on_a_ledger(path):
    """Python's own audit events tell of every open() of the process but SQLite's."""
    code = """
import os, sys
opened, name = [], os.path.basename(sys.argv[1])
def hook(event, arguments):
    if event == "open" and os.path.basename(str(arguments[0])) in (name, name + "-wal", name + "-shm"):
        opened.append(arguments)
sys.addaudithook(hook)
from pathlib import Path
from scarnode.ledger.ledger import Ledger, lock_ledger, open_beside_node, upgrade_ledger
url = "sqlite:///" + sys.argv[1]
upgrade_ledger(url, "cli")
lock = lock_ledger(url)
ledger = Ledger(url, "node")
lock.name(os.stat(sys.argv[1]).st_ino)
ledger.store.changes.copy_to(Path(sys.argv[1] + ".copy"))
open_beside_node(url, "cli").close()
assert not ledger.store.file_fault() and not lock.fault()
ledger.close()
assert not opened, opened
"""
    restore(path)
    in_another_process(code, path)


def test_a_new_ledger_is_private_whatever_the_umask(path):
    former = os.umask(0)
    try:
        make_private(path)
    finally:
        os.umask(former)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o644)
    make_private(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_second_node_is_refused_in_one_line(path, tmp_path):
    lock = lock_ledger(url(path))
    link = tmp_path / "other.sqlite"
    link.symlink_to(path)
    for name in (path, link):
        with pytest.raises(
            LedgerError, match=rf"another node runs on this ledger \(process {os.getpid()}\)"
        ) as refused:
            lock_ledger(url(name))
        assert "\n" not in str(refused.value)
        assert "Stop that node, or set another [ledger] url" in str(refused.value)
    lock.close()
    lock_ledger(url(path)).close()


def test_a_lock_that_was_deleted_is_made_again(path):
    lock = lock_ledger(url(path))
    file = Path(f"{path}.lock")
    file.unlink()
    assert lock.fault() == ""
    with pytest.raises(LedgerError, match="another node"):
        lock_ledger(url(path))
    file.unlink()
    other = lock_ledger(url(path))
    assert "another node runs on this ledger" in lock.fault()
    other.close()
    assert lock.fault() == ""


@pytest.mark.parametrize("which", ["", "-wal", "-shm"])
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_file_that_goes_away_is_noticed_at_the_next_transaction(ledger, path, which, how):
    file = Path(f"{path}{which}")
    away = file.rename(file.with_name("away"))
    if how == "replaced":
        shutil.copy(away, file)
    assert how in ledger.store.file_fault()
    assert file.name in ledger.store.file_fault()
    for use in (lambda: ledger.alarms.raise_alarm("b", "lost"), ledger.alarms.standing_alarms):
        with pytest.raises(OperationalError, match=how):
            use()
    assert file.exists() is (how == "replaced"), "SQLite made no new one"
    away.replace(file)
    assert ledger.alarms.standing_alarms() == {"a"}
    ledger.alarms.raise_alarm("b", "it goes on")


def test_many_threads_find_no_other_ledger_in_its_place(ledger, path):
    """A connection that is made after the ledger was replaced would see the other one."""
    path.unlink()
    with closing(sqlite3.connect(path)) as other:
        other.execute("CREATE TABLE alarm (name TEXT)")
    held = []
    with pytest.raises(OperationalError, match="replaced"):
        for _ in range(3):  # more than the pool has
            held.append(ledger.store.engine.raw_connection())
    for connection in held:
        connection.close()


def test_closing_deletes_nothing_of_a_ledger_that_took_the_place(path):
    code = """
import os, sqlite3, sys
from scarnode.ledger.ledger import Ledger
ledger = Ledger("sqlite:///" + sys.argv[1], "node")
ledger.alarms.raise_alarm("a", "detail")
ledger.store.changes.version()
os.unlink(sys.argv[1])
for suffix in ("-wal", "-shm"):
    os.unlink(sys.argv[1] + suffix)
other = sqlite3.connect(sys.argv[1])
other.execute("PRAGMA journal_mode=WAL")
other.execute("CREATE TABLE mine (x)")
ledger.close()
assert os.path.exists(sys.argv[1] + "-wal")
assert other.execute("SELECT count(*) FROM mine").fetchone() == (0,)
"""
    in_another_process(code, path)


def test_the_content_is_saved_from_a_ledger_that_was_deleted(ledger, path, tmp_path):
    for file in path.parent.glob("ledger.sqlite*"):
        file.unlink()
    ledger.store.changes.copy_to(tmp_path / "saved.sqlite")
    assert stat.S_IMODE((tmp_path / "saved.sqlite").stat().st_mode) == 0o600
    with closing(sqlite3.connect(tmp_path / "saved.sqlite")) as saved:
        assert saved.execute("SELECT name FROM alarm").fetchall() == [("a",)]
    assert sorted(file.name for file in tmp_path.iterdir()) == ["saved.sqlite"]


def test_our_log_is_not_replayed_into_a_ledger_that_took_the_place(ledger, path, tmp_path):
    files = files_of(ledger.store.engine)
    files.remove_log_of_replaced()
    assert ledger.store.file_fault() == "", "it is in its place"
    other = tmp_path / "other.sqlite"
    with closing(sqlite3.connect(other)) as empty:
        empty.execute("CREATE TABLE mine (x)")
    other.replace(path)
    files.remove_log_of_replaced()
    with closing(sqlite3.connect(path)) as empty:
        assert empty.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
        assert empty.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_command_does_not_make_a_new_ledger_under_a_node(path):
    lock = lock_ledger(url(path))
    ledger = Ledger(url(path), actor="node")
    lock.name(path.stat().st_ino)
    open_beside_node(url(path), "cli").close()
    away = path.rename(path.with_name("away"))
    begun = time.monotonic()
    with pytest.raises(LedgerError, match="deleted under the running node"):
        open_beside_node(url(path), "cli")
    assert time.monotonic() - begun < 10
    assert not path.exists()
    shutil.copy(away, path)
    with pytest.raises(LedgerError, match=r"another file than the one on which the node runs \(process \d+\)"):
        open_beside_node(url(path), "cli")
    lock.close()
    open_beside_node(url(path), "cli").close()
    ledger.close()


def test_a_rescued_copy_is_put_back_by_the_next_node_and_no_command_begins_anew(ledger, path):
    copy = path.with_name("ledger.sqlite.rescued-20260101T000000Z")
    ledger.store.changes.copy_to(copy)
    path.unlink()
    with pytest.raises(LedgerError, match=copy.name):
        open_beside_node(url(path), "cli")
    lock = lock_ledger(url(path))
    found = Ledger(url(path), actor="node")
    assert found.alarms.standing_alarms() == {"a"}
    assert rescued_copies(path) == []
    found.close()
    lock.close()


def test_a_command_leaves_an_older_schema_alone_and_says_what_to_do(path):
    restore(path)
    with pytest.raises(LedgerError, match=r"schema 0001, this version's is .*Restart the node.*scarnode db upgrade"):
        open_beside_node(url(path), "cli")
    lock = lock_ledger(url(path))
    with pytest.raises(LedgerError, match="another node runs"):
        upgrade_ledger(url(path), "cli")
    assert version(path) == "0001"
    lock.close()
    upgrade_ledger(url(path), "cli")
    open_beside_node(url(path), "cli").close()
