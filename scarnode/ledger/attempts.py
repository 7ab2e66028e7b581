"""Attempts that came to nothing: a job is queued again after a pause, or ends as failed."""

from __future__ import annotations

import random

from sqlalchemy import select
from sqlalchemy.orm import Session

from scarnode.ledger.states import JobState, change_state
from scarnode.ledger.store import Store
from scarnode.ledger.tables import Job
from scarnode.util.backoff import longest_delay

MAX_INTERRUPTIONS = 20
"""How often a job may be running when the node crashes before it counts as the job's fault.

Not power that flaps: from the second crash on the job waits, longer each time, so that the twentieth comes more than an
hour after the first.
"""

FIRST_RETRY_SECONDS = 2.0
"""Pause before a failed attempt is repeated; doubles with every further one."""


LONGEST_PAUSE_SECONDS = 600.0
"""Most that a queued job waits for its next attempt."""


def _pause(times: int) -> float:
    """Return the seconds until the next attempt after so many that came to nothing (1 or more)."""
    return longest_delay(times, FIRST_RETRY_SECONDS, LONGEST_PAUSE_SECONDS)


def fail_attempt(
    store: Store, session: Session, job: Job, why: str, max_attempts: int, permanent: bool = False
) -> None:
    """Queue a job again after a failed attempt, or end it as `failed`: see `scarnode.ledger.jobs.Jobs.fail`."""
    if permanent or job.attempts >= max_attempts:
        change_state(store, session, job, JobState.FAILED, f"{why} (attempt {job.attempts} of {max_attempts})")
        return
    job.due_at = store.clock.monotonic_time() + _pause(job.attempts)
    change_state(
        store, session, job, JobState.QUEUED, f"{why} (attempt {job.attempts} of {max_attempts}, will be repeated)"
    )


def _interrupt(store: Store, session: Session, job: Job) -> None:
    """Put a job back after a crash of the node: at once the first time, then after a growing pause.

    A job that brings the node down does so whenever it runs; the pauses let the others through. Power that flaps
    strikes the running job too, but not again and again over an hour. The pauses are random in part, so that of
    several jobs that ran at once the innocent ones get to run alone.
    """
    job.attempts -= 1
    job.interruptions += 1
    if job.interruptions > MAX_INTERRUPTIONS:
        change_state(store, session, job, JobState.FAILED, f"the node crashed {job.interruptions} times while it ran")
        return
    pause = _pause(job.interruptions - 1) * random.uniform(0.5, 1.0) if job.interruptions > 1 else 0.0
    job.due_at = store.clock.monotonic_time() + pause
    later = f" (time {job.interruptions}; again in {pause:.0f} s)" if pause else ""
    change_state(store, session, job, JobState.QUEUED, f"the node crashed while it ran{later}")


def interrupt_jobs_of(store: Store, session: Session, owner: str) -> int:
    """Put back the jobs that ran at an owner (a host, or a process of a cluster) that crashed; return how many."""
    mine = Job.owner.startswith(owner + ":", autoescape=True)
    jobs = session.scalars(select(Job).where(Job.state == JobState.RUNNING, mine)).all()
    for job in jobs:
        _interrupt(store, session, job)
    return len(jobs)
