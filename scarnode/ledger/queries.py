"""What a person asks of the ledger: read only, never waiting for the writer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from operator import eq
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Executable, TableClause, column, func, select, table

from scarnode.ledger.ledger import Ledger
from scarnode.ledger.states import JobState
from scarnode.ledger.tables import UNREADABLE, Alarm, Event, Instance, Job, Series, Study
from scarnode.util.errors import LedgerError


def _asked(*conditions: tuple[Any, Callable[[Any, Any], Any], Any]) -> list[ColumnElement[bool]]:
    """Return the conditions whose value is one."""
    return [compare(attribute, value) for attribute, compare, value in conditions if value not in ("", None)]


def _between(attribute: Any, span: tuple[Any, Any]) -> ColumnElement[bool]:
    """Return the condition that a value lies in a span, its ends included."""
    return attribute.between(*span)


def _span(start: Any, lowest: Any, end: Any, highest: Any) -> tuple[Any, Any] | None:
    """Return both ends of a span where one is given: SQLite takes an index for a span, but not for half of one."""
    return None if start in ("", None) and end in ("", None) else (start or lowest, end or highest)


@dataclass(frozen=True)
class StudyFilter:
    """Which studies are asked for; a field that is empty or None says nothing.

    Attributes
    ----------
    patient, accession, study : str
        Patient ID, accession number, Study Instance UID: the whole value.
    calling_ae : str
        AE title that sent the study's first image.
    study_date_from, study_date_to : str
        First and last day of StudyDate, ``YYYYMMDD``.
    since, until : float or None
        The study's first image came in this time (UTC seconds since 1970).
    """

    patient: str = ""
    accession: str = ""
    study: str = ""
    calling_ae: str = ""
    study_date_from: str = ""
    study_date_to: str = ""
    since: float | None = None
    until: float | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions on `Study`."""
        return _asked(
            (Study.patient_id, eq, self.patient),
            (Study.accession_number, eq, self.accession),
            (Study.study_instance_uid, eq, self.study),
            (Study.calling_ae, eq, self.calling_ae),
            (Study.study_date, _between, _span(self.study_date_from, "0", self.study_date_to, "9999")),
            (Study.first_received_at, _between, _span(self.since, 0.0, self.until, 1e12)),
        )


@dataclass(frozen=True)
class JobFilter(StudyFilter):
    """Which jobs are asked for."""

    state: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions on `Study` and `Job`."""
        return super().conditions() + ([Job.state == JobState(self.state)] if self.state else [])


@dataclass(frozen=True)
class SeriesFilter(StudyFilter):
    """Which verdicts on series are asked for."""

    series: str = ""
    verdict: str = ""
    reason: str = ""

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return the conditions on `Study` and `Series`."""
        own = _asked(
            (Series.series_instance_uid, eq, self.series),
            (Series.verdict, eq, self.verdict),
            (Series.reason, eq, self.reason),
        )
        return super().conditions() + own


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
    study_date: str
    calling_ae: str
    id: int


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


@dataclass(frozen=True)
class FileRow:
    """A received instance of a study; its path is relative to the spool."""

    path: str
    problem: str


Row = TypeVar("Row")


def _view(name: str, kind: type) -> TableClause:
    """Return a view with the columns that its dataclass names."""
    return table(name, *(column(field.name) for field in fields(kind)))


JOB_SUMMARY = _view("job_summary", JobSummary)
SERIES_VERDICT = _view("series_verdict", SeriesRow)
DELIVERY_STATUS = _view("delivery_status", DeliveryRow)


def list_alarms(ledger: Ledger, past: bool = False, limit: int = 200) -> list[AlarmRow]:
    """Return the alarms that stand, with `past` also those that are over, newest first."""
    query = select(Alarm.name, Alarm.raised_at, Alarm.cleared_at, Alarm.detail)
    query = query if past else query.where(Alarm.cleared_at.is_(None))
    return _rows(ledger, AlarmRow, query.order_by(Alarm.id.desc()).limit(limit))


def list_jobs(ledger: Ledger, wanted: JobFilter | None = None, limit: int | None = 50) -> list[JobSummary]:
    """Return the newest jobs first, those that match; all of them where there is no limit.

    Raises
    ------
    ValueError
        There is no such state.
    """
    # a job's row is wide (its stack): look for the numbers in the indices, and read only the rows that are shown
    found = select(Job.id)
    if conditions := (wanted or JobFilter()).conditions():
        found = found.join(Study, Study.id == Job.study_id).where(*conditions)
    found = found.order_by(Job.id.desc()).limit(limit)
    summary = JOB_SUMMARY
    return _rows(ledger, JobSummary, select(summary).where(summary.c.job.in_(found)).order_by(summary.c.job.desc()))


def get_job(ledger: Ledger, job_id: int) -> JobSummary:
    """Return one job.

    Raises
    ------
    LedgerError
        There is no such job.
    """
    rows = _rows(ledger, JobSummary, select(JOB_SUMMARY).where(JOB_SUMMARY.c.job == job_id))
    if not rows:
        raise LedgerError("there is no such job", f"job {job_id}", "See: scarnode jobs list")
    return rows[0]


def count_jobs(ledger: Ledger) -> dict[str, int]:
    """Return how many jobs are in each state."""
    query = select(Job.state, func.count()).group_by(Job.state)
    with ledger.reading() as session:
        found = {state: number for state, number in session.execute(query)}  # noqa: C416 (mypy takes no rows for dict)
    return {state.value: found.get(state, 0) for state in JobState}


def list_deliveries(ledger: Ledger, job_id: int) -> list[DeliveryRow]:
    """Return where a job's objects stand on their way."""
    status = DELIVERY_STATUS
    query = select(status).where(status.c.job == job_id).order_by(status.c.destination, status.c.kind)
    return _rows(ledger, DeliveryRow, query)


def list_events(ledger: Ledger, job_id: int) -> list[EventRow]:
    """Return a job's story, and its study's from the first instance on, oldest first."""
    what = (Event.id, Event.at, Event.actor, Event.from_state, Event.to_state, Event.why)
    study = select(Job.study_id).where(Job.id == job_id).scalar_subquery()
    own = select(*what).where(Event.job_id == job_id)
    told = own.union_all(select(*what).where(Event.study_id == study, Event.job_id.is_(None))).subquery()
    shown = [told.c[field.name] for field in fields(EventRow)]
    return _rows(ledger, EventRow, select(*shown).order_by(told.c.id))


def list_series(ledger: Ledger, wanted: SeriesFilter | None = None, limit: int | None = 200) -> list[SeriesRow]:
    """Return what became of each series received, the study searched last first."""
    verdict = SERIES_VERDICT
    found = select(Series.id)
    if conditions := (wanted or SeriesFilter()).conditions():
        found = found.join(Study, Study.id == Series.study_id).where(*conditions)
    found = found.order_by(Series.searched_at.desc(), Series.id).limit(limit)
    query = select(verdict).where(verdict.c.id.in_(found))
    return _rows(ledger, SeriesRow, query.order_by(verdict.c.searched_at.desc(), verdict.c.id))


def list_files(ledger: Ledger, study: str) -> list[FileRow]:
    """Return the files of a study in order of arrival."""
    query = select(Instance.path, Instance.problem).join(Study, Study.id == Instance.study_id)
    return _rows(ledger, FileRow, query.where(Study.study_instance_uid == study).order_by(Instance.id))


def list_unreadable(ledger: Ledger, limit: int = 200) -> list[UnreadableRow]:
    """Return what arrived but belongs to no study or can not be read, newest first."""
    query = select(*(getattr(Instance, field.name) for field in fields(UnreadableRow)))
    return _rows(ledger, UnreadableRow, query.where(UNREADABLE).order_by(Instance.id.desc()).limit(limit))


def _rows(ledger: Ledger, kind: type[Row], query: Executable) -> list[Row]:
    with ledger.reading() as session:
        return [kind(**row) for row in session.execute(query).mappings()]
