"""Queries of the web pages, beyond `scarnode.ledger.queries`. They only read, and take a few milliseconds each."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, select, text
from sqlalchemy.engine import Row

from scarnode.ledger.ledger import Ledger
from scarnode.ledger.planning import SEG_JSON, STACK_JSON
from scarnode.ledger.queries import JobSummary
from scarnode.ledger.states import CommitmentState, DeliveryState, JobState
from scarnode.ledger.tables import Job, Result
from scarnode.pipeline.correct.model import ReceivedSeg
from scarnode.pipeline.stack import Stack


class NotFoundError(LookupError):
    """The ledger has no such job or study. The message is shown to the user."""


RECENT = 500
"""The throughput is counted from this many of the newest jobs."""
RECENT_SECONDS = 30 * 86400.0
"""A sender's studies are counted over this time."""
MOST_FOUND = 200
"""Most studies that one search returns."""


@dataclass(frozen=True)
class StudyRow:
    """A study, as its page shows it. Times are UTC seconds since 1970."""

    id: int
    study_instance_uid: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    calling_ae: str
    first_received_at: float
    last_received_at: float
    images: int
    unsearched: int
    """Images that came after the last search, or all where none was made."""
    sources_removed_at: float | None


@dataclass(frozen=True)
class Sender:
    """An AE title that sent studies, and when it last did."""

    calling_ae: str
    recent_studies: int
    """Of the last `RECENT_SECONDS`."""
    last_received_at: float


@dataclass(frozen=True)
class Backlog:
    """The deliveries that wait for a destination."""

    destination: str
    waiting: int
    failed: int
    uncommitted: int
    """Sent, but the destination has not committed to keep it yet."""
    detail: str
    """Why the first pending (else failed) delivery was not accepted; empty before the first attempt."""
    oldest_due: float | None


@dataclass(frozen=True)
class LastResult:
    """A job that ended or is held. Holds no patient data."""

    job: int
    state: str
    at: float
    slices: int
    lge_percent: float | None
    scar_volume_cm3: float | None
    flags: tuple[str, ...]
    seconds: float | None
    study_id: int


@dataclass(frozen=True)
class Throughput:
    """Jobs that were done, and how long an analysis took."""

    last_hour: int
    last_day: int
    at_least: bool
    """All of the newest `RECENT` jobs ended within the last day, so there may be more."""
    median_seconds: float | None


@dataclass(frozen=True)
class WaitingSeries:
    """A series with images that were not searched yet."""

    series_instance_uid: str
    images: int
    last_received_at: float


@dataclass(frozen=True)
class UnreadableFile:
    """A received file that can not be used."""

    received_at: float
    calling_ae: str
    sop_instance_uid: str
    problem: str
    path: str


@dataclass(frozen=True)
class ResultPart:
    """A result object of a job; its path is relative to the results folder."""

    kind: str
    sop_instance_uid: str
    path: str
    removed_at: float | None


@dataclass(frozen=True)
class JobParts:
    """A job's input and its result objects.

    Attributes
    ----------
    stack : Stack
        Its paths relative to the spool.
    correction : ReceivedSeg or None
        A person's SEG.
    seconds : float or None
        How long the analysis took.
    results : tuple of ResultPart
    """

    study_id: int
    stack: Stack
    correction: ReceivedSeg | None
    seconds: float | None
    results: tuple[ResultPart, ...]

    def result(self, kind: str) -> ResultPart | None:
        """Return the object of a kind that is still on this machine."""
        return next((part for part in self.results if part.kind == kind and part.removed_at is None), None)


def throughput(ledger: Ledger, now: float | None = None) -> Throughput:
    """Return how many of the newest jobs were done in the last hour and day."""
    now = time.time() if now is None else now
    query = """
        SELECT finished_at, seconds FROM
            (SELECT state, finished_at, seconds FROM job ORDER BY id DESC LIMIT :recent) AS newest
        WHERE state = :done AND finished_at > :since"""
    rows = _rows(ledger, query, recent=RECENT, done=JobState.DONE.value, since=now - 86400)
    took = sorted(row.seconds for row in rows if row.seconds is not None)
    return Throughput(
        last_hour=sum(row.finished_at > now - 3600 for row in rows),
        last_day=len(rows),
        at_least=len(rows) == RECENT,
        median_seconds=took[len(took) // 2] if took else None,
    )


def last_results(ledger: Ledger, limit: int = 10) -> list[LastResult]:
    """Return the newest jobs that have a result, or failed for good."""
    ended = _listed(JobState.DONE, JobState.DELIVERING, JobState.HELD, JobState.FAILED)
    query = f"""
        SELECT id AS job, state, COALESCE(finished_at, created_at) AS at, slices, lge_percent, scar_volume_cm3, flags,
               seconds, study_id
        FROM job WHERE state IN ({ended}) ORDER BY id DESC LIMIT :limit"""
    return [
        LastResult(**{**row._mapping, "flags": split_flags(row.flags)}) for row in _rows(ledger, query, limit=limit)
    ]


def count_arriving(ledger: Ledger) -> int:
    """Return how many studies have images that were not searched yet."""
    query = "SELECT count(*) AS number FROM study WHERE newest_instance > searched_instance"
    return _rows(ledger, query)[0].number


def senders(ledger: Ledger) -> list[Sender]:
    """Return who sent the first image of any study, the latest first."""
    # steps through the index from sender to sender: GROUP BY would read every study
    query = """
        WITH RECURSIVE sender (calling_ae) AS (
            SELECT min(calling_ae) FROM study
            UNION ALL
            SELECT (SELECT min(calling_ae) FROM study WHERE calling_ae > sender.calling_ae) FROM sender
            WHERE sender.calling_ae IS NOT NULL)
        SELECT calling_ae,
               (SELECT count(*) FROM study WHERE study.calling_ae = sender.calling_ae
                       AND study.last_received_at > :since) AS recent_studies,
               (SELECT max(last_received_at) FROM study WHERE study.calling_ae = sender.calling_ae) AS last_received_at
        FROM sender WHERE calling_ae IS NOT NULL ORDER BY last_received_at DESC LIMIT 50"""
    return [Sender(**row._mapping) for row in _rows(ledger, query, since=time.time() - RECENT_SECONDS)]


def backlogs(ledger: Ledger, destinations: Sequence[str]) -> list[Backlog]:
    """Return the deliveries that wait for each destination."""
    return [_backlog(ledger, name) for name in destinations]


def _backlog(ledger: Ledger, name: str) -> Backlog:
    counts = f"""
        SELECT state, count(*) AS number, min(due_at) AS oldest FROM delivery
        WHERE destination = :name AND state IN ({_listed(DeliveryState.PENDING, DeliveryState.FAILED)})
        GROUP BY state"""
    by_state = {row.state: row for row in _rows(ledger, counts, name=name)}
    # the order of this join matters: the other order reads all deliveries
    uncommitted = f"""
        SELECT count(*) AS number FROM commitment CROSS JOIN delivery
        WHERE delivery.id = commitment.delivery_id AND delivery.destination = :name
              AND commitment.state IN ({_listed(CommitmentState.PENDING, CommitmentState.REQUESTED)})"""
    first = "SELECT detail FROM delivery WHERE destination = :name AND state = :state ORDER BY due_at LIMIT 1"
    waiting, failed = by_state.get(DeliveryState.PENDING), by_state.get(DeliveryState.FAILED)
    state = DeliveryState.PENDING if waiting else DeliveryState.FAILED
    first_row = _rows(ledger, first, name=name, state=state.value) if by_state else []
    return Backlog(
        name,
        waiting.number if waiting else 0,
        failed.number if failed else 0,
        _rows(ledger, uncommitted, name=name)[0].number,
        first_row[0].detail if first_row else "",
        waiting.oldest if waiting else None,
    )


def find_studies(ledger: Ledger, sought: str) -> list[StudyRow]:
    """Return the studies that match a search, newest first.

    Parameters
    ----------
    sought : str
        A whole accession number, patient ID or Study Instance UID; or the beginning of a patient's name.
    """
    sought = sought.strip()
    if not sought:
        return []
    begins = sought.lower().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_") + "%"
    # LIKE ignores case in SQLite, but not in PostgreSQL
    name = "patient_name" if ledger.store.engine.dialect.name == "sqlite" else "lower(patient_name)"
    query = f"""
        SELECT id FROM study WHERE accession_number = :sought
        UNION SELECT id FROM study WHERE patient_id = :sought
        UNION SELECT id FROM study WHERE study_instance_uid = :sought
        UNION SELECT id FROM study WHERE {name} LIKE :begins ESCAPE '\\'
        ORDER BY id DESC LIMIT :most"""
    return get_studies(ledger, [row.id for row in _rows(ledger, query, sought=sought, begins=begins, most=MOST_FOUND)])


def get_studies(ledger: Ledger, ids: Sequence[int]) -> list[StudyRow]:
    """Return studies by their ids in the ledger; unknown ids are left out."""
    query = text(
        """
        SELECT id, study_instance_uid, patient_id, patient_name, accession_number, study_date, calling_ae,
               first_received_at, last_received_at, sources_removed_at,
               (SELECT count(*) FROM instance WHERE instance.study_id = study.id) AS images,
               (SELECT count(*) FROM instance WHERE instance.study_id = study.id
                       AND instance.id > study.searched_instance
                       AND study.newest_instance > study.searched_instance) AS unsearched
        FROM study WHERE id IN :ids ORDER BY id DESC"""
    ).bindparams(bindparam("ids", expanding=True))
    with ledger.reading() as session:
        rows = session.execute(query, {"ids": list(ids)}).mappings().all()
    return [StudyRow(**row) for row in rows]


def jobs_of(
    ledger: Ledger, studies: Sequence[int] | None = None, state: str = "", before: int = 0, limit: int = 50
) -> list[JobSummary]:
    """Return jobs, newest first.

    Parameters
    ----------
    studies : sequence of int or None
        Of these studies; None: of all.
    state : str
        In this state; empty: in any.
    before : int
        Older than this job; 0: from the newest on.
    limit : int
    """
    where = ["1 = 1"]
    values: dict[str, object] = {"limit": limit}
    if studies is not None:
        where.append("study_id IN :studies")
        values["studies"] = list(studies)
    if state:
        where.append("state = :state")
        values["state"] = state
    if before:
        where.append("id < :before")
        values["before"] = before
    chosen = f"SELECT id FROM job WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT :limit"
    query = text(f"SELECT * FROM job_summary WHERE job IN ({chosen}) ORDER BY job DESC")
    if studies is not None:
        query = query.bindparams(bindparam("studies", expanding=True))
    with ledger.reading() as session:
        return [JobSummary(**row) for row in session.execute(query, values).mappings()]


def job_parts(ledger: Ledger, job_id: int) -> JobParts:
    """Return a job's input and its result objects.

    Raises
    ------
    NotFoundError
        There is no such job.
    """
    with ledger.reading() as session:
        job = session.get(Job, job_id)
        if job is None:
            raise NotFoundError("There is no such job.")
        results = session.scalars(select(Result).where(Result.job_id == job_id).order_by(Result.id))
        return JobParts(
            job.study_id,
            STACK_JSON.validate_json(job.stack),
            SEG_JSON.validate_json(job.correction) if job.correction else None,
            job.seconds,
            tuple(ResultPart(row.kind, row.sop_instance_uid, row.path, row.removed_at) for row in results),
        )


def unsearched_series(ledger: Ledger, study_id: int) -> list[WaitingSeries]:
    """Return the series of a study of which images came after its last search."""
    query = """
        SELECT series_instance_uid, count(*) AS images, max(received_at) AS last_received_at
        FROM instance JOIN study ON study.id = instance.study_id
        WHERE study.id = :study AND study.newest_instance > study.searched_instance
              AND instance.id > study.searched_instance
        GROUP BY series_instance_uid ORDER BY series_instance_uid"""
    return [WaitingSeries(**row._mapping) for row in _rows(ledger, query, study=study_id)]


def unreadable_of(ledger: Ledger, study_id: int | None, limit: int = 100) -> list[UnreadableFile]:
    """Return the unusable files of a study, newest first. None: the files that name no study."""
    whose = "study_id IS NULL" if study_id is None else "study_id = :study"
    query = f"""
        SELECT received_at, calling_ae, sop_instance_uid, problem, path FROM instance
        WHERE {whose} AND problem != '' ORDER BY id DESC LIMIT :limit"""
    values = {"limit": limit} if study_id is None else {"limit": limit, "study": study_id}
    return [UnreadableFile(**row._mapping) for row in _rows(ledger, query, **values)]


def files_of(ledger: Ledger, study_id: int) -> tuple[list[str], list[str], str]:
    """Return a few source and result files of a study that are on this machine, and its patient's name."""
    sources = """
        SELECT path FROM instance WHERE study_id = :study AND removed_at IS NULL AND problem = '' ORDER BY id LIMIT 2"""
    results = """
        SELECT path FROM result JOIN job ON job.id = result.job_id
        WHERE job.study_id = :study AND result.removed_at IS NULL AND result.kind LIKE '%sr' LIMIT 2"""
    name = _rows(ledger, "SELECT patient_name FROM study WHERE id = :study", study=study_id)
    return (
        [row.path for row in _rows(ledger, sources, study=study_id)],
        [row.path for row in _rows(ledger, results, study=study_id)],
        name[0].patient_name if name else "",
    )


def studies_of(ledger: Ledger, jobs: Collection[int]) -> dict[int, int]:
    """Return the study id of each job; unknown jobs are left out."""
    with ledger.reading() as session:
        rows = session.execute(select(Job.id, Job.study_id).where(Job.id.in_(jobs)))
        return {row.id: row.study_id for row in rows}


def split_flags(flags: str) -> tuple[str, ...]:
    """Return the flags of a job's row."""
    return tuple(flag for flag in flags.split(",") if flag)


def _listed(*states: JobState | DeliveryState | CommitmentState) -> str:
    """Return states as SQL literals: an index on some states only serves no query with parameters."""
    return ", ".join(f"'{state.value}'" for state in states)


def _rows(ledger: Ledger, query: str, **values: object) -> Sequence[Row]:
    with ledger.reading() as session:
        return session.execute(text(query), values).all()
