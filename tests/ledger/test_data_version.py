"""Two states of a ledger are told apart, and the first of what waits in it is known."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.ledger.due import AT_REST, next_due
from scarnode.ledger.ledger import Ledger

QUIET = 30.0


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'a folder' / 'ledger.sqlite'}", "test")
    yield ledger
    ledger.close()


def test_of_a_ledger_of_which_nothing_can_be_told_alarms_are_read_each_time(ledger, monkeypatch):
    monkeypatch.setattr(ledger.store.changes, "_file", "")
    assert ledger.store.changes.version() is None
    ledger.alarms.raise_alarm("a", "b")
    assert ledger.alarms.standing_alarms() == {"a"}
    ledger.alarms.clear_alarm("a")
    assert ledger.alarms.standing_alarms() == set()


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
    with closing(sqlite3.connect(ledger.store.engine.url.database)) as database, database:
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
