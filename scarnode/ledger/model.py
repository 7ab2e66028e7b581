"""The types that enter and leave the ledger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from scarnode.pipeline.correct.model import ReceivedSeg
from scarnode.pipeline.measure import Measurements
from scarnode.pipeline.stack import Stack

FAILURE = "failed_"
"""Stands before the kind of a failure report's objects: a job may get a report first and a result later."""


@dataclass(frozen=True)
class PlannedJob:
    """A stack that wants to be analysed.

    Attributes
    ----------
    key : str
        Digest of input, model and settings.
    stack : Stack
        Its paths relative to the spool.
    correction : ReceivedSeg or None
        A person's segmentation of the stack, to be measured in place of the network's; its path relative to the spool.
    """

    key: str
    input_digest: str
    model_sha256: str
    stack: Stack
    correction: ReceivedSeg | None = None


@dataclass(frozen=True)
class ClaimedJob:
    """A job that this process may run until its lease ends.

    Attributes
    ----------
    attempt : int
        Names this claim: an outcome reported for an older attempt is ignored.
    made_at : datetime
        When the job was made; stands in the results, so that every attempt writes the same objects.
    predecessor : tuple of (str, str) or None
        (SOP Instance UID, Series Instance UID) of the SR that this result revises.
    correction : ReceivedSeg or None
        As planned.
    revises_correction : bool
        The predecessor is a person's too.
    """

    id: int
    key: str
    attempt: int
    input_digest: str
    made_at: datetime
    stack: Stack
    predecessor: tuple[str, str] | None
    correction: ReceivedSeg | None = None
    revises_correction: bool = False


@dataclass(frozen=True)
class ReturnedObject:
    """A received instance that is a Segmentation, or a result of this node.

    Attributes
    ----------
    seg : ReceivedSeg
        Its path relative to the spool.
    own : str or None
        Path of this node's result with the same SOP Instance UID, relative to the results folder.
    """

    seg: ReceivedSeg
    own: str | None


@dataclass(frozen=True)
class FailedJob:
    """A job that failed for good and has told nobody yet.

    Attributes
    ----------
    made_at, predecessor
        As in `ClaimedJob`.
    reason : str
        For a person; without patient data.
    """

    id: int
    key: str
    input_digest: str
    made_at: datetime
    stack: Stack
    predecessor: tuple[str, str] | None
    reason: str


@dataclass(frozen=True)
class ResultFile:
    """A result object on disk; `path` is relative to the results folder."""

    kind: str
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    path: str


@dataclass(frozen=True)
class Analysed:
    """What came out of running a job."""

    files: tuple[ResultFile, ...]
    measurements: Measurements
    flags: tuple[str, ...]
    seconds: float


@dataclass(frozen=True)
class DueDelivery:
    """An object that a destination should get now."""

    id: int
    job_id: int
    attempts: int
    path: str


@dataclass(frozen=True)
class DeliveryReport:
    """What became of one try; `retry_at` is None where no further try makes sense.

    `commit`: the destination is to be asked for storage commitment of what was sent. `counts`: it was a try; False
    where this machine could not make one.
    """

    id: int
    sent: bool
    detail: str
    retry_at: float | None
    commit: bool = False
    counts: bool = True


@dataclass(frozen=True)
class DueCommitment:
    """What a destination was sent of a job, and should be asked to commit to now.

    Attributes
    ----------
    ids : tuple of int
        Of the ledger's rows.
    instances : tuple of (str, str)
        SOP Class UID and SOP Instance UID of each.
    attempts : int
        Tries to ask that were not taken, since the last one that was.
    requests : int
        Requests that were taken and not reported on.
    """

    job_id: int
    ids: tuple[int, ...]
    instances: tuple[tuple[str, str], ...]
    attempts: int
    requests: int


@dataclass(frozen=True)
class Notice:
    """What is to be told of one alarm: its latest state, and how often it was raised since it was last told.

    Attributes
    ----------
    alarm : str
        Its name.
    alarm_id : int
        Of its latest row in the ledger.
    raised_at : float
    cleared_at : float or None
        None: it stands. UTC seconds since 1970, as `raised_at`.
    times : int
        How often it was raised since the last message on it; 0: only its end is news.
    detail : str
        For a person; without patient data.
    """

    alarm: str
    alarm_id: int
    raised_at: float
    cleared_at: float | None
    times: int
    detail: str
