"""The ledger's tables. An admin may read them with plain sqlite3; only the ledger's parts write them.

Times are UTC seconds since 1970 (REAL), so that every database orders and subtracts them alike;
the views give them as text.
"""

from __future__ import annotations

from enum import Enum

from sqlalchemy import (
    BigInteger,
    Boolean,
    Float,
    ForeignKey,
    Index,
    Integer,
    String,
    Text,
    TextClause,
    UniqueConstraint,
    text,
)
from sqlalchemy import Enum as EnumColumn
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from scarnode.ledger.states import CommitmentState, DeliveryState, JobOrigin, JobState

URGENT, ROUTINE = 1, 2
"""Priorities of jobs: the lower goes first, as in triage."""


WAITING = text("newest_instance > searched_instance")
UNREADABLE = text("problem != ''")
CONFLICTS = text("identity_conflict != ''")
KEPT_SOURCES = text("sources_removed_at IS NULL")
KEPT_RESULT = text("removed_at IS NULL")
"""Few rows of a large table, each with an index of these rows alone. Written out, not bound: only so SQLite uses it."""


def _some(name: str, columns: str, rows: TextClause) -> Index:
    """Return an index of some rows."""
    return Index(name, columns, sqlite_where=rows, postgresql_where=rows)


def _by_value(kind: type[Enum]) -> EnumColumn:
    """Store a state as its own word, readable in plain SQL."""
    return EnumColumn(kind, native_enum=False, length=16, values_callable=lambda states: [s.value for s in states])


MANY = BigInteger().with_variant(Integer(), "sqlite")
"""Of tables that get more than two thousand million rows in a large archive's year; SQLite's INTEGER holds them."""


class Base(DeclarativeBase):
    """Base of the ledger's tables."""


class Study(Base):
    """A study of which at least one instance was received."""

    __tablename__ = "study"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(String(128), unique=True)
    patient_id: Mapped[str] = mapped_column(Text, index=True)
    patient_name: Mapped[str] = mapped_column(Text)
    accession_number: Mapped[str] = mapped_column(Text, index=True)
    study_date: Mapped[str] = mapped_column(String(32), index=True)
    calling_ae: Mapped[str] = mapped_column(String(64))
    first_received_at: Mapped[float] = mapped_column(Float, index=True)
    last_received_at: Mapped[float] = mapped_column(Float)
    newest_instance: Mapped[int] = mapped_column(MANY)
    """id of the instance received last."""
    searched_instance: Mapped[int] = mapped_column(MANY)
    """`newest_instance` at the time the study was last searched for stacks; less means there is work."""
    sources_removed_at: Mapped[float | None] = mapped_column(Float)
    """When its images were deleted (retention); NULL where they lie in the spool."""
    unended_searches: Mapped[int] = mapped_column(Integer, server_default="0")
    """Searches since then that were begun and came to no end, because the node ended."""
    identity_conflict: Mapped[str] = mapped_column(Text, server_default="")
    """How its images name somebody else than its results do, which were not made anew; empty where they agree."""
    __table_args__ = (
        Index("study_unsearched", "last_received_at"),
        _some("study_waiting", "last_received_at", WAITING),
        _some("study_kept", "last_received_at", KEPT_SOURCES),
        _some("study_identity_conflict", "id", CONFLICTS),
        Index("study_sender", "calling_ae", "last_received_at"),
    )
    """Besides, migration 0010 makes ``study_name``, in words of each database's own, for how a name begins."""


class Instance(Base):
    """A received instance. The spool holds its bytes; this row only says where."""

    __tablename__ = "instance"
    id: Mapped[int] = mapped_column(MANY, primary_key=True)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"), index=True)
    """NULL where the file names no study."""
    series_instance_uid: Mapped[str] = mapped_column(String(128), index=True)
    sop_instance_uid: Mapped[str] = mapped_column(String(128))
    sop_class_uid: Mapped[str] = mapped_column(String(128))
    digest: Mapped[str] = mapped_column(String(64), index=True)
    path: Mapped[str] = mapped_column(Text, unique=True)
    """Relative to the spool; of a removed file with ``#`` and the row's id behind it."""
    calling_ae: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[float] = mapped_column(Float)
    size: Mapped[int] = mapped_column(Integer)
    problem: Mapped[str] = mapped_column(Text)
    """Why the file can not be read; empty where it can."""
    removed_at: Mapped[float | None] = mapped_column(Float)
    """When the file was deleted (retention)."""
    __table_args__ = (_some("instance_unreadable", "id", UNREADABLE),)


class Series(Base):
    """What became of a series at the last search of its study, and why."""

    __tablename__ = "series"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    series_instance_uid: Mapped[str] = mapped_column(String(128), index=True)
    verdict: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(String(64))
    detail: Mapped[str] = mapped_column(Text)
    score: Mapped[int] = mapped_column(Integer)
    instances: Mapped[int] = mapped_column(Integer)
    description: Mapped[str] = mapped_column(Text)
    modality: Mapped[str] = mapped_column(String(32))
    searched_at: Mapped[float] = mapped_column(Float, index=True)
    __table_args__ = (
        Index("series_by_verdict", "verdict", "searched_at"),
        Index("series_of_study", "study_id", "searched_at"),
        Index("series_by_reason", "reason", "searched_at"),
    )


class Job(Base):
    """The work on one stack of one study: the network's, or a person's correction."""

    __tablename__ = "job"
    id: Mapped[int] = mapped_column(primary_key=True)
    key: Mapped[str] = mapped_column(String(64), unique=True)
    """Digest of input, model and settings: the same input never makes a second job."""
    study_id: Mapped[int] = mapped_column(ForeignKey("study.id"), index=True)
    state: Mapped[JobState] = mapped_column(_by_value(JobState))
    reason: Mapped[str] = mapped_column(Text)
    """Why it is in this state, for a person."""
    priority: Mapped[int] = mapped_column(Integer, server_default="2")
    """The lower goes first: `URGENT` or `ROUTINE`."""
    stack: Mapped[str] = mapped_column(Text)
    """The `Stack` as JSON, paths included."""
    origin: Mapped[JobOrigin] = mapped_column(_by_value(JobOrigin))
    correction: Mapped[str] = mapped_column(Text)
    """The corrected SEG (`ReceivedSeg`) as JSON; empty in a job of the network's."""
    input_digest: Mapped[str] = mapped_column(String(64))
    predecessor_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    created_at: Mapped[float] = mapped_column(Float)
    due_at: Mapped[float] = mapped_column(Float)
    """Not to be started before this time."""
    attempts: Mapped[int] = mapped_column(Integer)
    interruptions: Mapped[int] = mapped_column(Integer)
    """How often the node ended (crash, power) while this job ran; not the input's fault, but capped too."""
    owner: Mapped[str] = mapped_column(Text)
    lease_until: Mapped[float | None] = mapped_column(Float)
    finished_at: Mapped[float | None] = mapped_column(Float, index=True)
    slices: Mapped[int] = mapped_column(Integer)
    flags: Mapped[str] = mapped_column(Text)
    """Comma-separated."""
    model_sha256: Mapped[str] = mapped_column(String(64))
    seconds: Mapped[float | None] = mapped_column(Float)
    scar_volume_cm3: Mapped[float | None] = mapped_column(Float)
    myocardium_volume_cm3: Mapped[float | None] = mapped_column(Float)
    lge_percent: Mapped[float | None] = mapped_column(Float)
    __table_args__ = (Index("job_queue", "state", "priority", "id"), Index("job_state", "state", "id"))


class Result(Base):
    """A result object of a job, written to the results folder."""

    __tablename__ = "result"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    sop_class_uid: Mapped[str] = mapped_column(String(128))
    sop_instance_uid: Mapped[str] = mapped_column(String(128))
    series_instance_uid: Mapped[str] = mapped_column(String(128))
    path: Mapped[str] = mapped_column(Text)
    """Relative to the results folder."""
    removed_at: Mapped[float | None] = mapped_column(Float)
    """When the file was deleted (retention)."""
    __table_args__ = (UniqueConstraint("job_id", "kind"), _some("result_kept", "job_id", KEPT_RESULT))


class Delivery(Base):
    """One result object on its way to one destination."""

    __tablename__ = "delivery"
    id: Mapped[int] = mapped_column(primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    result_id: Mapped[int] = mapped_column(ForeignKey("result.id"))
    destination: Mapped[str] = mapped_column(String(64))
    state: Mapped[DeliveryState] = mapped_column(_by_value(DeliveryState))
    attempts: Mapped[int] = mapped_column(Integer)
    due_at: Mapped[float] = mapped_column(Float)
    sent_at: Mapped[float | None] = mapped_column(Float)
    detail: Mapped[str] = mapped_column(Text)
    __table_args__ = (
        UniqueConstraint("result_id", "destination"),
        Index("delivery_queue", "destination", "state", "due_at"),
        Index("delivery_of_job", "destination", "state", "job_id"),
        Index("delivery_state", "state", "id"),
    )


class Commitment(Base):
    """The storage commitment of a delivered object; there is a row only where the destination is asked for it."""

    __tablename__ = "commitment"
    id: Mapped[int] = mapped_column(primary_key=True)
    delivery_id: Mapped[int] = mapped_column(ForeignKey("delivery.id"), unique=True)
    state: Mapped[CommitmentState] = mapped_column(_by_value(CommitmentState))
    due_at: Mapped[float] = mapped_column(Float)
    """When to ask, or to ask again."""
    attempts: Mapped[int] = mapped_column(Integer)
    """Tries to ask that the destination did not take, since the last one that it took."""
    requests: Mapped[int] = mapped_column(Integer)
    """Requests that were made and not refused."""
    resends: Mapped[int] = mapped_column(Integer)
    """How often the object was sent again because the destination reported that it does not have it."""
    stale_request: Mapped[int] = mapped_column(Integer)
    """id of the last request before the object was sent: what is reported on it or an older one says nothing."""
    failure_reason: Mapped[int | None] = mapped_column(Integer)
    """The last FailureReason (0008,1197) that was reported."""
    committed_at: Mapped[float | None] = mapped_column(Float)
    detail: Mapped[str] = mapped_column(Text)
    __table_args__ = (Index("commitment_queue", "state", "due_at"),)


class CommitmentRequest(Base):
    """One request for storage commitment: what one destination was sent of one job. Kept, for reports may come late."""

    __tablename__ = "commitment_request"
    id: Mapped[int] = mapped_column(primary_key=True)
    transaction_uid: Mapped[str] = mapped_column(String(64), unique=True)
    """Written before the request goes out: a report is known whenever the node dies, and no UID is used twice."""
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    destination: Mapped[str] = mapped_column(String(64))
    requested_at: Mapped[float] = mapped_column(Float)
    answered_at: Mapped[float | None] = mapped_column(Float)


class Alarm(Base):
    """What an admin has to do something about; it stands while `cleared_at` is NULL."""

    __tablename__ = "alarm"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), index=True)
    raised_at: Mapped[float] = mapped_column(Float)
    cleared_at: Mapped[float | None] = mapped_column(Float, index=True)
    detail: Mapped[str] = mapped_column(Text)


class Told(Base):
    """The last message on an alarm that a channel (mail, webhook) sent."""

    __tablename__ = "told"
    id: Mapped[int] = mapped_column(primary_key=True)
    channel: Mapped[str] = mapped_column(String(16))
    alarm: Mapped[str] = mapped_column(String(64))
    """Its name; empty in the row that says up to which alarm everything was told and is over."""
    alarm_id: Mapped[int] = mapped_column(Integer)
    """id of the alarm's latest row then."""
    over: Mapped[bool] = mapped_column(Boolean)
    """Whether it was told to be over."""
    told_at: Mapped[float] = mapped_column(Float)
    __table_args__ = (UniqueConstraint("channel", "alarm"),)


class Pulled(Base):
    """A study that was pulled from an archive (`scarnode pull`), so that no rule pulls it twice."""

    __tablename__ = "pulled"
    id: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str] = mapped_column(String(64))
    study_instance_uid: Mapped[str] = mapped_column(String(128))
    instances: Mapped[int | None] = mapped_column(Integer)
    """How many the archive said the study has; another number: it changed. NULL: it does not say."""
    pulled_at: Mapped[float] = mapped_column(Float)
    __table_args__ = (UniqueConstraint("source", "study_instance_uid"),)


class PullRun(Base):
    """One run of a rule of config.ini (``[pull:NAME]``)."""

    __tablename__ = "pull_run"
    id: Mapped[int] = mapped_column(primary_key=True)
    rule: Mapped[str] = mapped_column(String(64), index=True)
    begun_at: Mapped[float] = mapped_column(Float)
    ended_at: Mapped[float | None] = mapped_column(Float)
    """NULL: under way, or the node ended meanwhile."""
    pulled: Mapped[int] = mapped_column(Integer)
    failed: Mapped[int] = mapped_column(Integer)
    left_over: Mapped[int] = mapped_column(Integer)
    """Beyond the limit of one night."""
    detail: Mapped[str] = mapped_column(Text)


class SelfTest(Base):
    """A synthetic study that `scarnode doctor` made: nothing of it is sent anywhere, and all of it is deleted.

    The row is written before the study is sent, by who may write the ledger, and is never deleted: no image from the
    network can be taken for one of a self-test, and none of a self-test for a patient's.
    """

    __tablename__ = "self_test"
    id: Mapped[int] = mapped_column(primary_key=True)
    study_instance_uid: Mapped[str] = mapped_column(String(128), unique=True)
    begun_at: Mapped[float] = mapped_column(Float)
    ended_at: Mapped[float | None] = mapped_column(Float)
    """When what it left may be deleted."""


class Member(Base):
    """A process that works on a ledger on a server, beside others. On SQLite there is one, and no row."""

    __tablename__ = "member"
    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    """Of this one process: no other has, or ever gets, the same."""
    host: Mapped[str] = mapped_column(String(64))
    roles: Mapped[str] = mapped_column(String(64))
    """Comma-separated."""
    began_at: Mapped[float] = mapped_column(Float)
    seen_at: Mapped[float] = mapped_column(Float)
    """When it last said that it lives."""
    caught_up_to: Mapped[float | None] = mapped_column(Float)
    """Of one that receives: what was stored before is in the ledger."""
    lost_at: Mapped[float | None] = mapped_column(Float)
    """When the others took over what it had in hand."""


class Event(Base):
    """Who changed what, when and why. Never changed, never deleted."""

    __tablename__ = "event"
    id: Mapped[int] = mapped_column(MANY, primary_key=True)
    study_id: Mapped[int | None] = mapped_column(ForeignKey("study.id"), index=True)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"), index=True)
    at: Mapped[float] = mapped_column(Float)
    actor: Mapped[str] = mapped_column(Text)
    from_state: Mapped[str] = mapped_column(String(16))
    to_state: Mapped[str] = mapped_column(String(16))
    why: Mapped[str] = mapped_column(Text)
