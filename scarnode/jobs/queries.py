"""What a person asks of the ledger: read only, never waiting for the writer."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from scarnode.errors import LedgerError
from scarnode.jobs.ledger import Ledger


@dataclass(frozen=True)
class JobSummary:
    """A row of the view ``job_summary``. Times are UTC seconds since 1970."""

    job: int
    state: str
    reason: str
    priority: str
    origin: str
    patient_id: str
    patient_name: str
    accession_number: str
    study_date: str
    study_instance_uid: str
    slices: int
    flags: str
    scar_volume_cm3: float | None
    myocardium_volume_cm3: float | None
    lge_percent: float | None
    attempts: int
    revises: int | None
    created_at: float
    finished_at: float | None
    calling_ae: str
    sources_removed_at: float | None
    results_removed_at: float | None


@dataclass(frozen=True)
class SeriesRow:
    """A row of the view ``series_verdict``."""

    patient_id: str
    accession_number: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    description: str
    instances: int
    verdict: str
    reason: str
    detail: str
    score: int
    searched_at: float


@dataclass(frozen=True)
class DeliveryRow:
    """A row of the view ``delivery_status``."""

    job: int
    patient_id: str
    accession_number: str
    destination: str
    kind: str
    state: str
    attempts: int
    detail: str
    due_at: float
    sent_at: float | None
    sop_instance_uid: str
    commitment: str
    commitment_detail: str
    failure_reason: int | None
    committed_at: float | None


@dataclass(frozen=True)
class EventRow:
    """One change: who, when, why."""

    at: float
    actor: str
    from_state: str
    to_state: str
    why: str


@dataclass(frozen=True)
class UnreadableRow:
    """A received instance that names no study, or whose header can not be read."""

    received_at: float
    calling_ae: str
    sop_class_uid: str
    sop_instance_uid: str
    problem: str
    path: str


@dataclass(frozen=True)
class AlarmRow:
    """A row of the table ``alarm``; it stands while `cleared_at` is None."""

    name: str
    raised_at: float
    cleared_at: float | None
    detail: str


def list_alarms(ledger: Ledger, past: bool = False, limit: int = 200) -> list[AlarmRow]:
    """Give the alarms that stand, with `past` also those that are over, newest first."""
    query = "SELECT name, raised_at, cleared_at, detail FROM alarm"
    query += "" if past else " WHERE cleared_at IS NULL"
    return _rows(ledger, AlarmRow, query + " ORDER BY id DESC LIMIT :limit", limit=limit)


def list_jobs(
    ledger: Ledger, state: str = "", patient: str = "", accession: str = "", limit: int = 50
) -> list[JobSummary]:
    """Give the newest jobs first, those that match every filter that is not empty."""
    query = "SELECT * FROM job_summary WHERE 1 = 1"
    filters = {"state": state, "patient_id": patient, "accession_number": accession}
    query += "".join(f" AND {column} = :{column}" for column, value in filters.items() if value)
    query += " ORDER BY job DESC LIMIT :limit"
    values = {column: value for column, value in filters.items() if value}
    return _rows(ledger, JobSummary, query, limit=limit, **values)


def get_job(ledger: Ledger, job_id: int) -> JobSummary:
    """Give one job.

    Raises
    ------
    LedgerError
        There is no such job.
    """
    rows = _rows(ledger, JobSummary, "SELECT * FROM job_summary WHERE job = :job", job=job_id)
    if not rows:
        raise LedgerError("there is no such job", f"job {job_id}", "See: scarnode jobs list")
    return rows[0]


def list_deliveries(ledger: Ledger, job_id: int) -> list[DeliveryRow]:
    """Give where a job's objects stand on their way."""
    query = "SELECT * FROM delivery_status WHERE job = :job ORDER BY destination, kind"
    return _rows(ledger, DeliveryRow, query, job=job_id)


def list_events(ledger: Ledger, job_id: int) -> list[EventRow]:
    """Give a job's story, and its study's from the first instance on, oldest first."""
    query = """
        SELECT at, actor, from_state, to_state, why FROM event
        WHERE job_id = :job OR (job_id IS NULL AND study_id = (SELECT study_id FROM job WHERE id = :job))
        ORDER BY id"""
    return _rows(ledger, EventRow, query, job=job_id)


def list_series(
    ledger: Ledger, study: str = "", accession: str = "", patient: str = "", limit: int = 200
) -> list[SeriesRow]:
    """Give what became of each series received, newest study first."""
    filters = {"study_instance_uid": study, "accession_number": accession, "patient_id": patient}
    query = "SELECT * FROM series_verdict WHERE 1 = 1"
    query += "".join(f" AND {column} = :{column}" for column, value in filters.items() if value)
    query += " ORDER BY searched_at DESC, study_instance_uid, series_instance_uid LIMIT :limit"
    return _rows(ledger, SeriesRow, query, limit=limit, **{k: v for k, v in filters.items() if v})


def list_one_series(ledger: Ledger, series_uid: str) -> list[SeriesRow]:
    """Give every verdict on one series (several where it was split, e.g. magnitude and phase)."""
    return _rows(ledger, SeriesRow, "SELECT * FROM series_verdict WHERE series_instance_uid = :uid", uid=series_uid)


@dataclass(frozen=True)
class FileRow:
    """A received instance of a study; its path is relative to the spool."""

    path: str
    problem: str


def list_files(ledger: Ledger, study: str) -> list[FileRow]:
    """Give the files of a study in order of arrival."""
    query = """
        SELECT path, problem FROM instance
        WHERE study_id = (SELECT id FROM study WHERE study_instance_uid = :study) ORDER BY id"""
    return _rows(ledger, FileRow, query, study=study)


def list_unreadable(ledger: Ledger, limit: int = 200) -> list[UnreadableRow]:
    """Give what arrived but belongs to no study or can not be read, newest first."""
    query = """
        SELECT received_at, calling_ae, sop_class_uid, sop_instance_uid, problem, path FROM instance
        WHERE problem != '' ORDER BY id DESC LIMIT :limit"""
    return _rows(ledger, UnreadableRow, query, limit=limit)


def _rows(ledger: Ledger, kind: type, query: str, **values: object) -> list:
    with ledger.reading() as session:
        return [kind(**row) for row in session.execute(text(query), values).mappings()]
