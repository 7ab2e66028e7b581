"""A ledger of the first version is upgraded with all it holds, also when that is cut off or done twice at once."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest

from scarnode.ledger import queries
from scarnode.ledger.database import open_engine
from scarnode.ledger.ledger import Ledger
from scarnode.util.errors import LedgerError
from tests.harness.node import ROOT

FIRST = Path(__file__).parent / "fixtures" / "ledger_0001.sql"
"""Made by the first version; tests/ledger/fixtures/make_ledger_0001.py says how."""

OLD_TABLES = ("study", "instance", "series", "job", "event", "result", "delivery")


def restore(path: Path) -> Path:
    """Build the first version's ledger."""
    with closing(sqlite3.connect(path)) as database:
        database.executescript(FIRST.read_text())
    return path


def rows(path: Path, table: str) -> list[dict]:
    with closing(sqlite3.connect(path)) as database:
        database.row_factory = sqlite3.Row
        return [dict(row) for row in database.execute(f"SELECT * FROM {table} ORDER BY id")]


def schema(path: Path) -> set[tuple]:
    with closing(sqlite3.connect(path)) as database:
        kinds = database.execute("SELECT type, name FROM sqlite_master").fetchall()
        columns = [
            (name, *column[1:4])
            for kind, name in kinds
            if kind in ("table", "view")
            for column in database.execute(f"PRAGMA table_info({name})")
        ]
        return {*kinds, *columns}


def version(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT version_num FROM alembic_version").fetchone()[0]


@pytest.fixture
def first(tmp_path):
    return restore(tmp_path / "ledger.sqlite")


def upgraded(path: Path) -> Ledger:
    return Ledger(f"sqlite:///{path}", actor="test")


def test_nothing_is_lost_and_every_job_can_be_read(first, tmp_path):
    before = {table: rows(first, table) for table in OLD_TABLES}
    assert all(before.values()), "the fixture holds rows of every kind"
    ledger = upgraded(first)
    for table, old in before.items():
        new = rows(first, table)
        assert [{key: row[key] for key in kept} for row, kept in zip(new, old, strict=True)] == old
    listed = queries.list_jobs(ledger)
    assert {row.patient_id: row.state for row in listed} == {
        "UP-1": "done",
        "UP-2": "failed",
        "UP-3": "held",
        "UP-4": "delivering",
        "UP-5": "queued",
    }
    for row in listed:
        assert queries.get_job(ledger, row.job)
        assert queries.list_events(ledger, row.job)
    assert {row.origin for row in listed} == {"network"}
    assert [job.id for job in ledger.failures.unreported_failures()] == [2]
    claimed = ledger.jobs.claim("host:0", 60)
    assert (claimed.id, claimed.correction) == (5, None)
    ledger.close()
    fresh = upgraded(tmp_path / "fresh.sqlite")
    fresh.close()
    assert schema(first) == schema(tmp_path / "fresh.sqlite")


def test_the_ledger_as_it_was_is_kept_beside_it_for_its_user_alone(first):
    before = {table: rows(first, table) for table in OLD_TABLES}
    upgraded(first).close()
    [copy] = first.parent.glob("ledger.sqlite.before-*")
    assert copy.name.endswith(version(first))
    assert version(copy) == "0001"
    assert {table: rows(copy, table) for table in OLD_TABLES} == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    copy.unlink()
    upgraded(first).close()
    assert not list(first.parent.glob("*before*")), "there was nothing to upgrade"


def test_a_copy_that_can_not_be_made_stops_the_upgrade(first):
    before = schema(first)
    other = restore(first.parent / "other.sqlite")
    upgraded(other).close()
    (first.parent / f"ledger.sqlite.before-{version(other)}.partial").mkdir()
    with pytest.raises(LedgerError, match="can not be copied before its upgrade"):
        upgraded(first)
    assert schema(first) == before


def test_a_newer_ledger_is_refused(first):
    upgraded(first).close()
    with closing(sqlite3.connect(first)) as database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
        database.commit()
    with pytest.raises(LedgerError, match=r"schema 9999, which this version does not know.*newer scarnode"):
        upgraded(first)


def test_what_is_no_ledger_is_said(tmp_path):
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"no database at all" * 1000)
    with pytest.raises(LedgerError, match="not a database"):
        upgraded(path)


KILLED = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from scarnode.ledger.database import open_engine
from scarnode.ledger.schema import upgrade

def attempt(path, after):
    engine, done = open_engine(f"sqlite:///{path}"), []
    @event.listens_for(engine, "after_cursor_execute")
    def count(connection, cursor, statement, *_):
        if statement.split()[0] not in ("SELECT", "PRAGMA"):
            done.append(statement)
            if len(done) == after:
                os.kill(os.getpid(), signal.SIGKILL)
    upgrade(engine)

content, folder = Path(sys.argv[1]).read_bytes(), Path(sys.argv[2])
after, killed, stride = 1 - int(sys.argv[3]), True, int(sys.argv[3])
while killed:
    after += stride
    path = folder / f"{after}.sqlite"
    path.write_bytes(content)
    child = os.fork()
    if not child:
        attempt(path, after)
        os._exit(0)
    killed = os.waitpid(child, 0)[1] == signal.SIGKILL
print(after)
"""


@pytest.mark.slow
@pytest.mark.parametrize("stride", [4, pytest.param(1, marks=pytest.mark.soak)])
def test_killed_at_any_statement_of_the_upgrade_it_is_upgraded_at_the_next_start(first, tmp_path, stride):
    folder = tmp_path / "killed"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", KILLED, first, folder, str(stride)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    survivor = int(done.stdout)
    assert survivor > 4, "0002 alone: DROP VIEW, two columns, CREATE VIEW"
    whole = folder / f"{survivor}.sqlite"
    before, after = schema(first), schema(whole)
    assert before != after
    for number in range(1, survivor, stride):
        path = folder / f"{number}.sqlite"
        assert schema(path) == before, "half an upgrade"
        upgraded(path).close()
        assert schema(path) == after
        assert rows(path, "job") == rows(whole, "job")


DUE_NOW = """
import os, sys
from scarnode.ledger.ledger import Ledger

read, write = os.pipe()
children = []
for number in range(4):
    child = os.fork()
    if not child:
        os.close(write)
        os.read(read, 1)  # until all are there
        Ledger("sqlite:///" + sys.argv[1], "x").close()
        os._exit(0)
    children.append(child)
os.close(write)
sys.exit(sum(os.waitpid(child, 0)[1] for child in children) != 0)
"""


@pytest.mark.parametrize("old", [True, False])
@pytest.mark.slow
def test_node_and_command_line_may_upgrade_at_once(tmp_path, old):
    path = tmp_path / "ledger.sqlite"
    if old:
        restore(path)
    done = subprocess.run(
        [sys.executable, "-c", DUE_NOW, path], cwd=ROOT, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    upgraded(tmp_path / "other.sqlite").close()
    assert schema(path) == schema(tmp_path / "other.sqlite")


def test_a_ledger_that_another_process_is_about_to_write_is_waited_for(first):
    """SQLite itself refuses at once to switch to the write-ahead log while another writes, whatever its timeout."""
    with closing(sqlite3.connect(first, isolation_level=None, check_same_thread=False)) as other:
        other.execute("BEGIN IMMEDIATE")
        timer = threading.Timer(0.5, other.execute, ["COMMIT"])
        timer.start()
        upgraded(first).close()
        timer.join()
    assert version(first) != "0001"


@pytest.mark.parametrize("mode", [0o644, 0o660])
def test_a_ledger_that_others_may_read_is_taken_from_them(first, mode):
    first.chmod(mode)
    engine = open_engine(f"sqlite:///{first}")
    with engine.begin() as connection:
        connection.exec_driver_sql("UPDATE job SET slices = slices")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in first.parent.iterdir()}
    engine.dispose()
    assert modes == {"ledger.sqlite": 0o600, "ledger.sqlite-wal": 0o600, "ledger.sqlite-shm": 0o600}
