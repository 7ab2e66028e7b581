"""A job's states, every change between them, and the one function that makes a change. Read this file first.

::

    queued -> running -> delivering -> done
                |            |
                v            v
        failed, held or superseded

This file imports no SQLAlchemy: a worker, which has no ledger, knows the states too.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from scarnode.util.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

    from scarnode.ledger.store import Store
    from scarnode.ledger.tables import Job


class JobState(str, Enum):
    """Where a job stands: ``queued -> running -> delivering -> done``, or one of the ends beside it."""

    QUEUED = "queued"
    RUNNING = "running"
    DELIVERING = "delivering"
    DONE = "done"
    FAILED = "failed"
    """Attempts are used up, or the input can not be analysed; `scarnode jobs retry` tries again."""
    HELD = "held"
    """Needs a person: the result is there but not sent; `scarnode jobs retry` sends it."""
    SUPERSEDED = "superseded"
    """Late images made a new revision, or an admin cancelled it; nothing more will happen."""


CHANGES: dict[JobState, tuple[JobState, ...]] = {
    JobState.QUEUED: (JobState.RUNNING, JobState.SUPERSEDED),
    JobState.RUNNING: (
        JobState.QUEUED,
        JobState.DELIVERING,
        JobState.HELD,
        JobState.FAILED,
        JobState.SUPERSEDED,
    ),
    JobState.DELIVERING: (JobState.DONE, JobState.HELD, JobState.FAILED, JobState.SUPERSEDED),
    JobState.HELD: (JobState.DELIVERING, JobState.SUPERSEDED),
    JobState.FAILED: (JobState.QUEUED, JobState.DELIVERING, JobState.SUPERSEDED),
    JobState.DONE: (JobState.DELIVERING, JobState.QUEUED),
    JobState.SUPERSEDED: (),
}
"""Every change of state that is allowed."""

UNFINISHED = (JobState.QUEUED, JobState.RUNNING)
"""States before the analysis has ended."""

SENT = (JobState.DONE, JobState.DELIVERING)
"""States of a job whose result is sent, or is on its way."""

ENDED = (JobState.DONE, JobState.FAILED, JobState.SUPERSEDED)
"""States that set the time at which a job ended."""

FINAL = (JobState.DONE, JobState.FAILED, JobState.HELD, JobState.SUPERSEDED)
"""States in which the node does nothing more by itself."""


def change_state(store: Store, session: Session, job: Job, to: JobState, why: str) -> None:
    """Change a job's state and write the event. No other line of scarnode changes a job's state.

    Parameters
    ----------
    store : Store
    session : Session
        Of `Store.writing`: the change and its event are one transaction.
    job : Job
        The row.
    to : JobState
    why : str
        For a person; holds no patient data.

    Raises
    ------
    LedgerError
        `CHANGES` does not allow it.
    """
    old = job.state
    if to not in CHANGES[old]:
        raise LedgerError(f"can not go from {old.value} to {to.value}", f"job {job.id}", "This is a bug: report it")
    job.state, job.reason = to, why
    job.finished_at = store.clock.wall_time() if to in ENDED else None
    if to is not JobState.RUNNING:
        job.owner, job.lease_until = "", None
    session.add(store.event(job.study_id, job.id, old.value, to.value, why))


class JobOrigin(str, Enum):
    """Who outlined the heart in a job's result."""

    NETWORK = "network"
    CORRECTION = "correction"
    """A person: a corrected SEG was received."""


class DeliveryState(str, Enum):
    """Where one object on its way to one destination stands."""

    PENDING = "pending"
    SENT = "sent"
    FAILED = "failed"


class CommitmentState(str, Enum):
    """Where a destination's commitment to keep a delivered object stands."""

    PENDING = "pending"
    """It is to be asked for."""
    REQUESTED = "requested"
    """It was asked for; the report is awaited."""
    COMMITTED = "committed"
    FAILED = "failed"
    """Refused or not reported for good; `scarnode jobs retry` sends the object again and asks anew."""
