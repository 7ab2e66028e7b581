"""Does the ledger stay fast? The same questions to ledgers of 17 studies up to 100 000 jobs and a million instances.

    python benchmarks/ledger.py FOLDER [--jobs 0 100 1000 10000 100000] [--repeats 9] [--plans]

Makes `FOLDER/JOBS.sqlite` where it is not there (the largest takes some minutes and 2.5 GB), asks every question that
the node or a person asks, and prints medians. With `--plans` also how SQLite answers (EXPLAIN QUERY PLAN). All
synthetic: a week of tests/ledger/history.py, its ended studies copied with other identifiers, its unended ones once.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scarnode.ledger.ledger import Ledger
from tests.harness.clock import ManualClock
from tests.ledger.history import START, Department, make_past, make_today
from tests.ledger.questions import KEPT, NODE, PERSON, WEB, Question, plan, scanned, statements

TABLES = ("study", "instance", "series", "job", "event", "result", "delivery", "commitment", "commitment_request")
APART = 0.4 * 86400
"""Seconds from one copy to the next: 100 000 jobs are ten years."""

PAST = 11
"""Jobs of the history's ended studies."""

IDENTIFIERS = {
    *("study_instance_uid", "series_instance_uid", "sop_instance_uid", "transaction_uid", "patient_id", "patient_name"),
    *("accession_number", "digest", "path", "key", "input_digest"),
}
REFERENCES = {
    **{"study_id": "study", "newest_instance": "instance", "searched_instance": "instance", "job_id": "job"},
    **{"predecessor_id": "job", "result_id": "result", "delivery_id": "delivery"},
}
TIMES = {"at", "due_at"}


def make_ledger(path: Path, jobs: int) -> None:
    """Make a ledger with at least so many jobs (0: those of the history alone)."""
    url, copies = f"sqlite:///{path}", max(0, -(-jobs // PAST) - 1)
    clock = ManualClock(START - copies * APART)
    with closing(Ledger(url, "node heart", clock=clock)) as ledger:
        make_past(Department(ledger, clock))
    if copies:
        with closing(sqlite3.connect(path, isolation_level=None)) as database:
            _copy(database, copies)
            _settle_old_studies(database)
    clock.later(copies * APART)
    with closing(Ledger(url, "node heart", clock=clock)) as ledger:
        make_today(Department(ledger, clock))


def _copy(database: sqlite3.Connection, copies: int) -> None:
    """Copy every row so many times, each copy later than the one before and with identifiers of its own."""
    database.create_function("day_of", 1, lambda at: time.strftime("%Y%m%d", time.gmtime(at)))
    for pragma in ("synchronous=OFF", "journal_mode=MEMORY", "cache_size=-400000", "foreign_keys=OFF"):
        database.execute(f"PRAGMA {pragma}")
    indices = database.execute(
        "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL"
    ).fetchall()
    for name, _ in indices:
        database.execute(f"DROP INDEX {name}")
    database.execute("CREATE TEMP TABLE copy (number INTEGER PRIMARY KEY)")
    database.executemany("INSERT INTO copy VALUES (?)", ((number,) for number in range(1, copies + 1)))
    top = {table: database.execute(f"SELECT max(id) FROM {table}").fetchone()[0] for table in TABLES}
    for table in TABLES:
        columns = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
        database.execute("BEGIN")
        database.execute(f"CREATE TEMP TABLE old AS SELECT * FROM {table}")
        chosen = ", ".join(_expression(table, column, top) for column in columns)
        names = ", ".join(f'"{column}"' for column in columns)
        database.execute(f"INSERT INTO {table} ({names}) SELECT {chosen} FROM copy CROSS JOIN old ORDER BY number, id")
        database.execute("DROP TABLE temp.old")
        database.execute("COMMIT")
    for _, sql in indices:
        database.execute(sql)
    database.execute("PRAGMA journal_mode=WAL")


def _settle_old_studies(database: sqlite3.Connection) -> None:
    """Have what is older than three months been seen to: what ended badly was cancelled, files were removed by age."""
    old = f"last_received_at < {START - KEPT}"
    jobs = f"study_id IN (SELECT id FROM study WHERE {old})"
    database.execute("BEGIN")
    cancelled = "UPDATE job SET state = 'superseded', reason = 'cancelled by hand'"
    database.execute(f"{cancelled} WHERE state IN ('held', 'failed') AND {jobs}")
    database.execute(f"UPDATE series SET reason = 'NOT_SURE' WHERE reason = 'SEARCH_FAILED' AND {jobs}")
    database.execute(f"UPDATE instance SET removed_at = {START}, path = path || '#' || id WHERE {jobs}")
    database.execute(f"UPDATE result SET removed_at = {START} WHERE job_id IN (SELECT id FROM job WHERE {jobs})")
    database.execute(f"UPDATE study SET sources_removed_at = {START} WHERE {old}")
    database.execute("COMMIT")


def _expression(table: str, column: str, top: dict[str, int]) -> str:
    """Give what stands in a column of the nth copy."""
    if column == "id":
        return f"id + number * {top[table]}"
    if column in REFERENCES:
        return f"{column} + number * {top[REFERENCES[column]]}"
    if column in IDENTIFIERS:
        return f"CASE \"{column}\" WHEN '' THEN '' ELSE \"{column}\" || '.' || number END"
    if column == "study_date":
        return f"day_of(first_received_at + number * {APART})"
    if column in TIMES or column.endswith("_at"):
        return f"{column} + number * {APART}"
    return f'"{column}"'


def measure(ledger: Ledger, question: Question, repeats: int) -> float:
    """Give the median time of an answer in milliseconds, the first not counted."""
    question(ledger)
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        question(ledger)
        taken.append(1000 * (time.perf_counter() - start))
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--jobs", type=int, nargs="+", default=[0, 100, 1000, 10_000, 100_000])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--plans", action="store_true", help="print EXPLAIN QUERY PLAN of every question")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    console = Console(width=110)
    columns: list[list[str]] = []
    sizes: list[list[str]] = []
    for jobs in options.jobs:
        path = options.folder / f"{jobs}.sqlite"
        if not path.exists():
            start = time.monotonic()
            make_ledger(path.with_suffix(".partial"), jobs)
            path.with_suffix(".partial").rename(path)
            console.print(f"{path} made in {time.monotonic() - start:.0f} s", highlight=False)
        ledger = Ledger(f"sqlite:///{path}", "benchmark")
        sizes.append(_sizes(path))
        columns.append([f"{measure(ledger, ask, options.repeats):.2f}" for ask in (NODE | PERSON | WEB).values()])
        ledger.close()
    console.print(_table("rows", ("study", "instance", "job", "delivery", "event", "MB"), options.jobs, sizes))
    console.print(_table("milliseconds", tuple(NODE | PERSON | WEB), options.jobs, columns))
    if options.plans:
        _print_plans(console, Ledger(f"sqlite:///{options.folder / f'{options.jobs[0]}.sqlite'}", "benchmark"))


def _sizes(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        counted = ("study", "instance", "job", "delivery", "event")
        rows = [str(database.execute(f"SELECT count(*) FROM {table}").fetchone()[0]) for table in counted]
    return [*rows, f"{path.stat().st_size / 1e6:.0f}"]


def _table(title: str, names: Sequence[str], jobs: Sequence[int], columns: Sequence[Sequence[str]]) -> Table:
    table = Table(title, *(f"{count} jobs" if count else "history" for count in jobs))
    for row in range(len(names)):
        table.add_row(names[row], *(column[row] for column in columns))
    return table


def _print_plans(console: Console, ledger: Ledger) -> None:
    for name, question in (NODE | PERSON | WEB).items():
        console.print(f"\n{name}", style="bold", highlight=False)
        for statement, parameters in statements(ledger, question):
            lines = plan(ledger, statement, parameters)
            for line in lines:
                console.print(f"    {line}", style="red" if scanned([line]) else "", highlight=False, markup=False)
    ledger.close()


if __name__ == "__main__":
    main()
