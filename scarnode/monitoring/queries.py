"""What the watch asks of the ledger: read only, never waiting for the writer, without patient data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import text

from scarnode.ledger.ledger import Ledger

MOST_NAMED = 20
"""Jobs that an alarm names; the others are counted."""


@dataclass(frozen=True)
class Waiting:
    """A job that waits, and since when (UTC seconds since 1970)."""

    job: int
    since: float


@dataclass(frozen=True)
class Counted:
    """How many jobs, and the newest of them."""

    count: int
    newest: tuple[int, ...]


def jobs_in(ledger: Ledger, state: str) -> Counted:
    """Return the jobs in a state."""
    count = _row(ledger, "SELECT count(*) FROM job WHERE state = :state", state=state)[0]
    query = "SELECT id FROM job WHERE state = :state ORDER BY id DESC LIMIT :most"
    return Counted(count, tuple(row[0] for row in _rows(ledger, query, state=state, most=MOST_NAMED)) if count else ())


def identity_conflicts(ledger: Ledger) -> Counted:
    """Return the jobs with results that name somebody else than their study's images do now."""
    query = """
        SELECT job.id FROM study JOIN job ON job.study_id = study.id
        WHERE study.identity_conflict != '' AND job.state != 'superseded' ORDER BY job.id DESC"""
    jobs = [row[0] for row in _rows(ledger, query)]
    return Counted(len(jobs), tuple(jobs[:MOST_NAMED]))


def oldest_queued(ledger: Ledger, before: float) -> Waiting | None:
    """Return the queued job that waits longest, among those made before a time; since it was last put into the
    queue.
    """
    query = """
        SELECT job.id, max(event.at) AS since FROM job JOIN event ON event.job_id = job.id
        WHERE job.state = 'queued' AND job.created_at < :before AND event.to_state = 'queued'
        GROUP BY job.id ORDER BY since LIMIT 1"""
    row = _row(ledger, query, before=before)
    return Waiting(*row) if row else None


def oldest_unsearched(ledger: Ledger) -> float | None:
    """Return when the last instance came of the study that waits longest to be searched; by
    `scarnode.util.clock.monotonic_time`.
    """
    row = _row(ledger, "SELECT min(last_received_at) FROM study WHERE newest_instance > searched_instance")
    return row[0]


def oldest_refused(ledger: Ledger, destination: str) -> Waiting | None:
    """Return a job of the oldest that a destination did not take though it was tried, and since when it is on its
    way.
    """
    query = """
        SELECT refused.job_id, max(event.at) AS since
        FROM (SELECT DISTINCT job_id FROM delivery WHERE destination = :destination AND state = 'pending'
              AND attempts > 0 ORDER BY job_id LIMIT :most) refused
        JOIN event ON event.job_id = refused.job_id
        WHERE event.to_state IN ('delivering', 'failed') AND event.from_state != ''
        GROUP BY refused.job_id ORDER BY since LIMIT 1"""
    row = _row(ledger, query, destination=destination, most=MOST_NAMED)
    return Waiting(*row) if row else None


def flagged_among(ledger: Ledger, last: int) -> tuple[int, int]:
    """Return how many of the network's last results have a flag, and how many there are (at most `last`)."""
    query = """
        SELECT sum(CASE WHEN flags != '' THEN 1 ELSE 0 END), count(*) FROM (
            SELECT flags FROM job
            WHERE origin = 'network' AND state NOT IN ('queued', 'running', 'failed', 'superseded')
            ORDER BY id DESC LIMIT :last) newest"""
    flagged, results = _row(ledger, query, last=last)
    return flagged or 0, results


def _row(ledger: Ledger, query: str, **values: object) -> Any:
    with ledger.reading() as session:
        return session.execute(text(query), values).first()


def _rows(ledger: Ledger, query: str, **values: object) -> list[Any]:
    with ledger.reading() as session:
        return list(session.execute(text(query), values))
