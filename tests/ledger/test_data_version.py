"""A task looks into the ledger when somebody wrote to it or something came due, and not otherwise."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger import Ledger
from scarnode.ledger.data_version import AT_REST, SOON, DataVersion, DueFilter, next_due
from scarnode.util.clock import monotonic_time
from tests.ledger.history import Clock, received

QUIET = 30.0


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'a folder' / 'ledger.sqlite'}", "test")
    yield ledger
    ledger.close()


@pytest.fixture
def glance(ledger):
    woken = []
    glance = DueFilter(ledger, lambda: QUIET, lambda name, seconds: woken.append((name, seconds)))
    glance.woken = woken
    return glance


def runs_of(glance, outcome=lambda: None):
    """Give a guarded task, and a list that grows whenever it runs."""
    runs = []

    def task():
        runs.append(monotonic_time())
        return outcome()

    return glance.guard("task", task), runs


def by_another_process(ledger, statement):
    with closing(sqlite3.connect(ledger.engine.url.database)) as database, database:
        database.execute(statement)


def study(ledger, last_received_at):
    ledger.add_instances([ReceivedInstance(**received(Clock(monotonic_time()), 1, 1, 1, "MR", 1))])
    by_another_process(ledger, f"UPDATE study SET last_received_at = {last_received_at}")


def test_a_task_rests_until_anyone_writes(ledger, glance):
    run, runs = runs_of(glance)
    for _ in range(5):
        run()
    assert len(runs) == 1
    ledger.raise_alarm("disk_spool", "full")
    run(), run()
    assert len(runs) == 2
    by_another_process(ledger, "UPDATE alarm SET detail = 'by a command'")
    run(), run()
    assert len(runs) == 3
    ledger.standing_alarms()
    ledger.try_to_write()  # the lock alone changes nothing
    run()
    assert len(runs) == 3


def test_what_was_written_while_a_task_ran_is_looked_at(ledger, glance):
    def write():
        ledger.raise_alarm("disk_spool", "full")

    run, runs = runs_of(glance, write)
    run(), run(), run()
    assert len(runs) == 2


def test_a_task_that_did_not_come_to_its_end_runs_again(glance):
    outcomes = iter([False, ValueError("away"), None, None])

    def outcome():
        end = next(outcomes)
        if isinstance(end, Exception):
            raise end
        return end

    run, runs = runs_of(glance, outcome)
    run()
    with pytest.raises(ValueError, match="away"):
        run()
    run(), run(), run()
    assert len(runs) == 3


def test_a_task_runs_every_time_while_something_is_due(ledger, glance):
    study(ledger, monotonic_time() - QUIET - 1)
    run, runs = runs_of(glance)
    run(), run(), run()
    assert len(runs) == 3
    assert glance.woken == []


def test_a_task_is_woken_at_the_moment_when_something_comes_due(ledger, glance):
    study(ledger, monotonic_time() - QUIET + SOON / 2)
    run, runs = runs_of(glance)
    run(), run()
    assert len(runs) == 1
    assert [name for name, _ in glance.woken] == ["task", "task"]
    assert all(SOON / 4 < seconds < SOON / 2 for _, seconds in glance.woken)


def test_what_is_due_much_later_wakes_nobody(ledger, glance):
    study(ledger, monotonic_time())
    run, runs = runs_of(glance)
    run(), run()
    assert (len(runs), glance.woken) == (1, [])


def test_a_ledger_of_which_nothing_can_be_told_is_looked_at_each_time(ledger, glance, monkeypatch):
    monkeypatch.setattr(ledger, "changes", DataVersion(ledger.engine))
    ledger.changes._file = ""
    run, runs = runs_of(glance)
    run(), run()
    assert len(runs) == 2
    ledger.raise_alarm("a", "b")
    assert ledger.standing_alarms() == {"a"}
    ledger.clear_alarm("a")
    assert ledger.standing_alarms() == set()


def test_nothing_waits_in_a_new_ledger(ledger):
    assert next_due(ledger, QUIET) == AT_REST


@settings(max_examples=30, deadline=None)
@given(
    rows=st.lists(
        st.tuples(
            st.sampled_from(["queued", "running", "delivering", "held", "failed", "done", "superseded"]),
            st.floats(1, 1e6),
            st.one_of(st.none(), st.tuples(st.sampled_from(["pending", "sent", "failed"]), st.floats(1, 1e6))),
        ),
        max_size=6,
    )
)
@pytest.mark.slow
def test_the_first_of_what_waits_counts_and_what_is_at_rest_does_not(tmp_path_factory, rows):
    ledger = Ledger(f"sqlite:///{tmp_path_factory.mktemp('due') / 'ledger.sqlite'}", "test")
    expected = [AT_REST]
    with closing(sqlite3.connect(ledger.engine.url.database)) as database, database:
        for number, (state, due, delivery) in enumerate(rows, 1):
            insert(database, "job", id=number, key=str(number), state=state, due_at=due, lease_until=due + 5)
            expected += [due] if state == "queued" else [due + 5] if state == "running" else []
            if delivery:
                insert(
                    database,
                    "delivery",
                    id=number,
                    job_id=number,
                    result_id=number,
                    state=delivery[0],
                    due_at=delivery[1],
                )
                waits = state in ("delivering", "failed") and delivery[0] == "pending"
                expected += [delivery[1]] if waits else []
    assert next_due(ledger, QUIET) == min(expected)
    ledger.close()


def insert(database, table, **values):
    """Insert a row, with something in every column that wants a value."""
    for _, name, kind, needed, default, key in database.execute(f"PRAGMA table_info({table})").fetchall():
        if needed and default is None and not key:
            values.setdefault(name, 0 if kind in ("INTEGER", "FLOAT") else "")
    names = ", ".join(values)
    database.execute(f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(values))})", list(values.values()))
