"""A ledger of ten years is no slower: no question that is asked often goes through a whole table.

SQLite plans alike for a small ledger and a large one, so a small one tells (benchmarks/ledger.py measures a large one).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from scarnode.ledger.ledger import Ledger
from tests.ledger.history import make_history
from tests.ledger.questions import NODE, PERSON, WEB, plan, scanned, statements

NEWEST_FIRST = {"jobs list", "series list", "web: jobs"}
"""Read from the newest row on until there are enough: all of a table in EXPLAIN's eyes, a page of it in truth."""

COUNTED = {"web: states of all jobs", "web: throughput"}
"""Count all rows of an index, or the newest so many."""

INDEX = {
    "quiet studies": "study_waiting",
    "claim a job": "job_queue",
    "deliveries due": "delivery_of_job",
    "commitments due": "commitment_queue",
    "files to delete by age": "study_kept",
    "series list (unreadable files)": "instance_unreadable",
    "web: senders": "study_sender",
    "web: backlogs": "commitment_queue",
    "web: find by name": "study_name",
}
"""What keeps to the rows that are asked for; another index might find all that was ever sent."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    url = f"sqlite:///{tmp_path_factory.mktemp('history') / 'ledger.sqlite'}"
    make_history(url)
    ledger = Ledger(url, "test")
    yield ledger
    ledger.close()


@pytest.mark.parametrize("name", sorted({*NODE, *PERSON, *WEB} - NEWEST_FIRST - COUNTED))
def test_no_table_is_read_through(ledger, name):
    lines = []
    for statement, parameters in statements(ledger, (NODE | PERSON | WEB)[name]):
        lines += plan(ledger, statement, parameters)
    assert lines
    assert scanned(lines) == []
    if name in INDEX:
        assert any(INDEX[name] in line for line in lines), lines


@pytest.mark.parametrize("name", sorted(NEWEST_FIRST))
def test_the_newest_are_found_without_sorting_all(ledger, name):
    [(statement, parameters)] = statements(ledger, (PERSON | WEB)[name])
    found = statement[statement.index(" IN (") + 5 :]
    lines = plan(ledger, _inner(found), parameters)
    assert not any(line == "USE TEMP B-TREE FOR ORDER BY" for line in lines), lines


def _inner(text: str) -> str:
    """Give a statement up to the bracket that closes it."""
    depth = 0
    for at, letter in enumerate(text):
        depth += {"(": 1, ")": -1}.get(letter, 0)
        if depth < 0:
            return text[:at]
    raise AssertionError(text)


def test_a_scan_is_seen(ledger):
    """The measure itself: what has no index is found out."""
    assert scanned(plan(ledger, "SELECT id FROM instance WHERE size > 5"))
    assert scanned(plan(ledger, "SELECT study_id FROM event"))
    with closing(sqlite3.connect(":memory:")) as database:
        database.execute("CREATE TABLE job (id INTEGER PRIMARY KEY)")
        lines = [row[3] for row in database.execute("EXPLAIN QUERY PLAN SELECT id FROM job WHERE id = 1")]
    assert scanned(lines) == []
