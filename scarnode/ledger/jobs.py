"""Jobs from the queue to their end, and what a person asks of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone

from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased

from scarnode.ledger.attempts import fail_attempt, interrupt_jobs_of
from scarnode.ledger.deliveries import close_if_delivered, note_unmade, send_again
from scarnode.ledger.failures import of_failures, take_back_report
from scarnode.ledger.model import FAILURE, Analysed, ClaimedJob, ResultFile
from scarnode.ledger.planning import SEG_JSON, STACK_JSON, predecessor, revises_correction, settle
from scarnode.ledger.states import CHANGES, UNFINISHED, JobOrigin, JobState, change_state
from scarnode.ledger.store import Store, locked_job
from scarnode.ledger.tables import Job, Result
from scarnode.util.clock import DUE_NOW
from scarnode.util.errors import LedgerError


class Jobs:
    """Jobs: run by workers, and what a person asks of them: `Ledger.jobs`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def claim(self, owner: str, lease_seconds: float) -> ClaimedJob | None:
        """Take the queued job that is due, urgent ones first, then the oldest; None where there is none.

        A correction waits until the network's jobs of its study have run.

        Parameters
        ----------
        owner : str
            ``host:slot``, by which `requeue_interrupted` finds the jobs of a host; on a server ``member:slot``
            (`scarnode.ledger.nodes`), by which `Nodes.end_lost` finds those of a dead process.
        lease_seconds : float
            After this time the job counts as lost and is tried again, though its owner lives.
        """
        now = self._store.clock.monotonic_time()
        network = aliased(Job)
        awaited = exists().where(
            network.study_id == Job.study_id, network.origin == JobOrigin.NETWORK, network.state.in_(UNFINISHED)
        )
        due = (
            select(Job.id)
            .where(Job.state == JobState.QUEUED, Job.due_at <= now)
            .where((Job.origin == JobOrigin.NETWORK) | ~awaited)
            .order_by(Job.priority, Job.id)
            .limit(1)
        )
        with self._store.reading() as session:  # an idle node asks often: do not take the write lock for nothing
            if session.scalar(due) is None:
                return None
        with self._store.writing() as session:
            job = session.scalar(select(Job).where(Job.id == due.scalar_subquery()).with_for_update(skip_locked=True))
            if job is None:
                return None
            job.attempts += 1
            job.owner = owner
            job.lease_until = now + lease_seconds
            change_state(self._store, session, job, JobState.RUNNING, f"attempt {job.attempts} by {owner}")
            settle(self._store, session, job)
            return ClaimedJob(
                id=job.id,
                key=job.key,
                attempt=job.attempts + job.interruptions,
                input_digest=job.input_digest,
                made_at=datetime.fromtimestamp(job.created_at, timezone.utc),
                stack=STACK_JSON.validate_json(job.stack),
                predecessor=predecessor(session, job),
                correction=SEG_JSON.validate_json(job.correction) if job.correction else None,
                revises_correction=revises_correction(session, job),
            )

    def finish(
        self,
        claimed: ClaimedJob,
        analysed: Analysed,
        destinations: Mapping[str, Sequence[str]],
        hold_flags: Sequence[str] = (),
    ) -> None:
        """Register a job's results and send them on their way, or hold them for a person.

        Parameters
        ----------
        claimed : ClaimedJob
        analysed : Analysed
        destinations : mapping of str to sequence of str
            Name of each destination, and the kinds of object it takes.
        hold_flags : sequence of str
            A result with one of these is `held`.
        """
        now = self._store.clock.monotonic_time()
        with self._store.writing() as session:
            job = _running(session, claimed)
            if job is None:
                return
            job.flags = ",".join(analysed.flags)
            job.seconds = analysed.seconds
            job.scar_volume_cm3 = analysed.measurements.scar_volume
            job.myocardium_volume_cm3 = analysed.measurements.myocardium_volume
            job.lge_percent = analysed.measurements.lge_percent
            take_back_report(session, job)
            results = [_result_row(session, job, file) for file in analysed.files]
            session.flush()
            send_again(session, job, results, destinations, now)
            note_unmade(self._store, session, job, {file.kind for file in analysed.files}, destinations)
            holding = [flag for flag in analysed.flags if flag in hold_flags]
            if holding:
                change_state(self._store, session, job, JobState.HELD, f"waits for a person: {', '.join(holding)}")
            else:
                change_state(self._store, session, job, JobState.DELIVERING, "analysed")
                close_if_delivered(self._store, session, job)

    def fail(self, claimed: ClaimedJob, why: str, max_attempts: int, permanent: bool = False) -> None:
        """Note a failed attempt: the job is queued again after a pause, or `failed` when its attempts are used up.

        Parameters
        ----------
        claimed : ClaimedJob
        why : str
            For a person; holds no patient data.
        max_attempts : int
        permanent : bool
            Trying again can not help (e.g. pixel data that can not be decoded).
        """
        with self._store.writing() as session:
            job = _running(session, claimed)
            if job is not None:
                fail_attempt(self._store, session, job, why, max_attempts, permanent)

    def drop(self, claimed: ClaimedJob, why: str) -> None:
        """End a running job that makes no result, because there is nothing to be said (an unchanged correction)."""
        with self._store.writing() as session:
            job = _running(session, claimed)
            if job is not None:
                change_state(self._store, session, job, JobState.SUPERSEDED, why)

    def postpone(self, claimed: ClaimedJob, why: str, seconds: float) -> None:
        """Put a running job back that can not end now through no fault of its own; its attempt is given back."""
        with self._store.writing() as session:
            job = _running(session, claimed)
            if job is not None:
                job.attempts -= 1
                job.due_at = self._store.clock.monotonic_time() + seconds
                change_state(self._store, session, job, JobState.QUEUED, why)

    def interrupt(self, claimed: ClaimedJob) -> None:
        """Put a running job back because the node is stopped; this counts as nothing, however often it happens."""
        with self._store.writing() as session:
            job = _running(session, claimed)
            if job is not None:
                job.attempts -= 1
                change_state(self._store, session, job, JobState.QUEUED, "the node was stopped while it ran")

    def requeue_interrupted(self, host: str) -> int:
        """Put back the jobs that were running on this host when it ended without a word; called once at start.

        Returns
        -------
        int
            How many.
        """
        with self._store.writing() as session:
            return interrupt_jobs_of(self._store, session, host)

    def fail_expired(self, max_attempts: int) -> None:
        """Take running jobs whose lease ended from their owner: nothing may be stuck."""
        with self._store.writing() as session:
            expired = select(Job).where(
                Job.state == JobState.RUNNING, Job.lease_until < self._store.clock.monotonic_time()
            )
            for job in session.scalars(expired).all():
                fail_attempt(self._store, session, job, "its worker was not heard of again", max_attempts)

    def jobs_among(self, jobs: Collection[int], states: Collection[JobState] = UNFINISHED) -> set[int]:
        """Return those of some jobs that are in one of some states, by default queued or running."""
        with self._store.reading() as session:
            return set(session.scalars(select(Job.id).where(Job.id.in_(jobs), Job.state.in_(states))))

    def note_waiting(self, why: str, former: str) -> int:
        """Write to the queued jobs what they wait for, each with an event.

        Parameters
        ----------
        why : str
            Their new reason.
        former : str
            Empty: all jobs that are queued and do not say so yet. Else only those with this reason.

        Returns
        -------
        int
            How many.
        """
        queued = select(Job).where(Job.state == JobState.QUEUED, Job.reason != why)
        if former:
            queued = queued.where(Job.reason == former)
        with self._store.reading() as session:  # it is asked every second: do not take the write lock for nothing
            if session.scalar(queued.limit(1)) is None:
                return 0
        with self._store.writing() as session:
            jobs = session.scalars(queued).all()
            for job in jobs:
                job.reason = why
                session.add(self._store.event(job.study_id, job.id, "", "", why))
            return len(jobs)

    def retry(
        self, job_id: int, destinations: Mapping[str, Sequence[str]], tell: Callable[[JobState], None] | None = None
    ) -> JobState:
        """Do what a person means by "again".

        A job that failed before it had results is analysed again; one with results (held, done, or with failed
        deliveries) has them sent, to the destinations that config.ini names now.

        Parameters
        ----------
        job_id : int
        destinations : mapping of str to sequence of str
            Name of each destination, and the kinds of object it takes.
        tell : callable, optional
            Called with the state before, last in the transaction: where it raises, nothing is changed.

        Returns
        -------
        JobState
            The job's new state.

        Raises
        ------
        LedgerError
            No such job, or it is queued, running or superseded.
        """
        now = DUE_NOW  # another process may read it, by a clock of its own
        with self._store.writing() as session:
            job = locked_job(session, job_id)
            state = job.state
            if state in (JobState.QUEUED, JobState.RUNNING):
                raise LedgerError(f"is {state.value} already", f"job {job_id}", "Wait, or see: scarnode jobs show")
            if state is JobState.SUPERSEDED:
                raise LedgerError("is superseded", f"job {job_id}", "See `scarnode jobs list` for its revision")
            made = session.scalars(select(Result).where(Result.job_id == job.id)).all()
            made, removed = [row for row in made if row.removed_at is None], len(made)
            results = [result for result in made if not result.kind.startswith(FAILURE)]
            if state is JobState.DONE and removed and not results:
                todo = "Send the study again: then they are made and sent anew"
                raise LedgerError("its results were delivered and removed from this machine", f"job {job_id}", todo)
            if not results:
                send_again(session, job, made, of_failures(destinations), now)
                job.attempts, job.interruptions, job.due_at = 0, 0, now
                change_state(self._store, session, job, JobState.QUEUED, "asked for again")
                _tell(session, tell, state)
                return JobState.QUEUED
            send_again(session, job, results, destinations, now)
            note_unmade(self._store, session, job, {result.kind for result in results}, destinations)
            if state is not JobState.DELIVERING:
                change_state(self._store, session, job, JobState.DELIVERING, "asked for again")
            close_if_delivered(self._store, session, job)
            _tell(session, tell, state)
            return job.state

    def hold(self, job_id: int, tell: Callable[[JobState], None] | None = None) -> None:
        """Stop sending a job's results until a person asks for it (`retry`); what was sent stays sent.

        Parameters
        ----------
        job_id : int
        tell : callable, optional
            Called with the state before, last in the transaction: where it raises, nothing is changed.

        Raises
        ------
        LedgerError
            No such job, or nothing of it is being sent.
        """
        with self._store.writing() as session:
            job = locked_job(session, job_id)
            if job.state is not JobState.DELIVERING:
                todo = "Only what is being sent can be held"
                raise LedgerError(f"is {job.state.value}", f"job {job_id}", todo)
            change_state(self._store, session, job, JobState.HELD, "held by hand")
            _tell(session, tell, JobState.DELIVERING)

    def cancel(self, job_id: int, tell: Callable[[JobState], None] | None = None) -> None:
        """End a job by hand; what it has sent stays sent. Calls `tell` as `retry` does.

        Raises
        ------
        LedgerError
            No such job, or it has ended already.
        """
        with self._store.writing() as session:
            job = locked_job(session, job_id)
            if JobState.SUPERSEDED not in CHANGES[job.state]:
                raise LedgerError(f"is {job.state.value} already", f"job {job_id}", "Nothing to cancel")
            state = job.state
            change_state(self._store, session, job, JobState.SUPERSEDED, "cancelled by hand")
            _tell(session, tell, state)


def _running(session: Session, claimed: ClaimedJob) -> Job | None:
    """Return the job if this claim still holds it; else the outcome of a former attempt is dropped."""
    job = session.get(Job, claimed.id, with_for_update=True)
    if job is None or job.state != JobState.RUNNING or job.attempts + job.interruptions != claimed.attempt:
        return None
    return job


def _result_row(session: Session, job: Job, file: ResultFile) -> Result:
    """Return the row of a result file; it is there already where the file was removed and made anew."""
    row = session.scalar(select(Result).where(Result.job_id == job.id, Result.kind == file.kind))
    if row is None:
        row = Result(job_id=job.id, **vars(file))
        session.add(row)
    row.removed_at = None
    return row


def _tell(session: Session, tell: Callable[[JobState], None] | None, before: JobState) -> None:
    """Record a change that is about to be committed; what the database refuses, it refuses before."""
    if tell is not None:
        session.flush()
        tell(before)
