"""docs/admin.md: every command prints what stands there, every query answers, every column is there."""

from __future__ import annotations

import re
import runpy
import shutil
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from scarnode.ledger.ledger import Ledger
from tests.ledger.questions import plan, scanned

make = SimpleNamespace(**runpy.run_path(str(Path(__file__).resolve().parents[1] / "docs" / "make_admin.py")))
TEXT = make.PAGE.read_text(encoding="utf-8")
QUERIES = re.findall(r"^```sql\n(.*?)^```$", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """The ledger of a node that was busy for four days."""
    return make.make_node(tmp_path_factory.mktemp("node"))


def test_the_page_shows_what_the_commands_print(tmp_path):
    lines, made = TEXT.splitlines(), make.filled(tmp_path, TEXT).splitlines()
    assert made == lines, "run: python docs/make_admin.py"
    assert sum(line.strip().startswith("$ scarnode") for line in lines) >= 12


@pytest.mark.parametrize("number", range(len(QUERIES)))
def test_queries_answer(ledger, number):
    with closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True)) as database:
        rows = database.execute(QUERIES[number]).fetchall()
    assert rows
    assert any(value not in (None, "", 0) for value in rows[0])


def test_queries_answer_in_the_program_sqlite3(ledger):
    program = shutil.which("sqlite3")
    if not program:
        pytest.skip("sqlite3 is not installed")
    script = "".join(f"SELECT '#{number}';\n{query}" for number, query in enumerate(QUERIES))
    done = subprocess.run(
        [program, "-readonly", "-bail", ledger], input=script, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    answers = re.split(r"^#\d+\n", done.stdout, flags=re.MULTILINE)[1:]
    assert len(answers) == len(QUERIES) >= 10
    assert all(answers)


def test_queries_read_no_whole_table(ledger):
    book = Ledger(f"sqlite:///{ledger}", "test")
    for query in QUERIES:
        assert scanned(plan(book, query)) == [], query
    book.close()


@pytest.mark.parametrize("view", ["job_summary", "series_verdict", "delivery_status"])
def test_columns_of_the_views(ledger, view):
    section = TEXT.split(f"### {view}\n")[1].split("\n###")[0]
    told = re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE)
    with closing(sqlite3.connect(ledger)) as database:
        there = [row[1] for row in database.execute(f"PRAGMA table_info({view})")]
    assert sorted(told) == sorted(there)
