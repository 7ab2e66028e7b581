"""What node and people ask of the ledger, each as a function of it, and how SQLite answers: which tables it scans."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

from sqlalchemy import event

from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger import queries
from scarnode.ledger.due import next_due
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.queries import JobFilter, SeriesFilter
from scarnode.ledger.story import tell_story
from scarnode.web import queries as pages
from scarnode.web.study_status import study_status
from tests.harness.clock import ManualClock
from tests.ledger.history import START, received, uid

Question = Callable[[Ledger], object]

LARGE = ("instance", "series", "study", "job", "event", "result", "delivery", "commitment", "commitment_request")
"""Tables that grow with every study."""

BEGIN, DAY = START, START + 86400
KEPT = 90 * 86400.0
"""Seconds that a node keeps files."""

_new = count(900_000)


def register(ledger: Ledger) -> None:
    """Register an image of a study that is arriving."""
    fields = received(ManualClock(START), 900_000, 1, next(_new), "MR_AVANTO", 900_000)
    ledger.studies.add_instances([ReceivedInstance(**fields)])


def claim(ledger: Ledger) -> None:
    """Claim a job, and give it back."""
    claimed = ledger.jobs.claim("bench:0", 60)
    assert claimed is not None
    ledger.jobs.interrupt(claimed)


NODE: dict[str, Question] = {
    "register an image": register,
    "quiet studies": lambda ledger: ledger.studies.quiet_studies(60),
    "claim a job": claim,
    "lost leases": lambda ledger: ledger.jobs.fail_expired(3),
    "failures to report": lambda ledger: ledger.failures.unreported_failures(),
    "deliveries due": lambda ledger: ledger.deliveries.due_deliveries("pacs"),
    "commitments due": lambda ledger: ledger.commitments.due_commitments("pacs"),
    "files to delete by age": lambda ledger: ledger.retention.removable(START - KEPT, START - KEPT),
    "jobs that wait": lambda ledger: ledger.jobs.note_waiting("", "none"),
    "next due": lambda ledger: next_due(ledger, 60),
    "standing alarms": lambda ledger: ledger.alarms.standing_alarms(),
}
"""What the node asks, most of it every second."""

PERSON: dict[str, Question] = {
    "jobs list": queries.list_jobs,
    "jobs list --state failed": lambda ledger: queries.list_jobs(ledger, JobFilter(state="failed")),
    "jobs list --state done": lambda ledger: queries.list_jobs(ledger, JobFilter(state="done")),
    "jobs list --patient": lambda ledger: queries.list_jobs(ledger, JobFilter(patient="SYN-1003")),
    "jobs list --accession": lambda ledger: queries.list_jobs(ledger, JobFilter(accession="A5003")),
    "jobs list --date (a day)": lambda ledger: queries.list_jobs(
        ledger, JobFilter(study_date_from="20260317", study_date_to="20260317")
    ),
    "jobs list --since --until (a day)": lambda ledger: queries.list_jobs(ledger, JobFilter(since=BEGIN, until=DAY)),
    "jobs list --calling-ae": lambda ledger: queries.list_jobs(ledger, JobFilter(calling_ae="PHILIPS_ING")),
    "jobs list --calling-ae --state": lambda ledger: queries.list_jobs(
        ledger, JobFilter(calling_ae="GE_SIGNA", state="failed")
    ),
    "jobs show": lambda ledger: (
        queries.get_job(ledger, 5),
        queries.list_deliveries(ledger, 5),
        queries.list_events(ledger, 5),
    ),
    "series list": queries.list_series,
    "series list --accession": lambda ledger: queries.list_series(ledger, SeriesFilter(accession="A5003")),
    "series list --verdict review": lambda ledger: queries.list_series(ledger, SeriesFilter(verdict="review")),
    "series list --reason CINE": lambda ledger: queries.list_series(ledger, SeriesFilter(reason="CINE")),
    "series list --calling-ae": lambda ledger: queries.list_series(ledger, SeriesFilter(calling_ae="GE_SIGNA")),
    "series list --date (a day)": lambda ledger: queries.list_series(
        ledger, SeriesFilter(study_date_from="20260317", study_date_to="20260317")
    ),
    "series show": lambda ledger: queries.list_series(ledger, SeriesFilter(series=uid(3, 2))),
    "series files": lambda ledger: queries.list_files(ledger, uid(3)),
    "series list (unreadable files)": queries.list_unreadable,
    "alarms": queries.list_alarms,
}
"""What a person asks on the command line."""

WEB: dict[str, Question] = {
    "web: states of all jobs": queries.count_jobs,
    "web: throughput": lambda ledger: pages.throughput(ledger, START),
    "web: last results": pages.last_results,
    "web: arriving studies": pages.count_arriving,
    "web: senders": pages.senders,
    "web: backlogs": lambda ledger: pages.backlogs(ledger, ["pacs"]),
    "web: jobs": pages.jobs_of,
    "web: jobs, failed": lambda ledger: pages.jobs_of(ledger, state="failed"),
    "web: jobs, older than one": lambda ledger: pages.jobs_of(ledger, before=12),
    "web: find by accession number": lambda ledger: pages.find_studies(ledger, "A5003"),
    "web: find by name": lambda ledger: pages.find_studies(ledger, "Synthetic^Patient1003"),
    "web: job": lambda ledger: (pages.job_parts(ledger, 5), tell_story(ledger, 5)),
    "web: why no result": lambda ledger: study_status(ledger, 3, 60.0),
    "web: files of no study": lambda ledger: pages.unreadable_of(ledger, None),
}
"""What the web pages ask."""


def statements(ledger: Ledger, question: Question) -> list[tuple[str, Any]]:
    """Give the SQL that a question becomes, with its parameters."""
    seen: list[tuple[str, Any]] = []

    def note(_connection: object, _cursor: object, statement: str, parameters: Any, *_: object) -> None:
        if not statement.startswith(("BEGIN", "PRAGMA", "EXPLAIN")):
            seen.append((statement, parameters))

    event.listen(ledger.store.engine, "before_cursor_execute", note)
    try:
        question(ledger)
    finally:
        event.remove(ledger.store.engine, "before_cursor_execute", note)
    return seen


def plan(ledger: Ledger, statement: str, parameters: Any = ()) -> list[str]:
    """Give the lines of EXPLAIN QUERY PLAN."""
    with ledger.reading() as session:
        cursor = session.connection().exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[3] for row in cursor]


def scanned(lines: Sequence[str]) -> list[str]:
    """Give the lines of a plan that go through a whole large table, or through an index of all its rows."""
    whole = re.compile(rf"SCAN ({'|'.join(LARGE)})\b(?!.* USING (COVERING )?INDEX ({'|'.join(SOME)})\b)")
    return [line for line in lines if whole.match(line)]


SOME = ("study_waiting", "study_kept", "instance_unreadable", "result_kept")
"""Indices of some rows only (`scarnode.ledger.tables`): to go through all of one is to go through what is asked for."""
