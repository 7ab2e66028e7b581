"""The ledger: jobs from their making to their end. Every change is one transaction and leaves an event row."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timezone

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session, aliased

from scarnode.ledger.commitments import Commitments
from scarnode.ledger.database import sqlite_file
from scarnode.ledger.deliveries import LONGEST_PAUSE_SECONDS, MOVES
from scarnode.ledger.hold import Holding
from scarnode.ledger.model import FAILURE, Analysed, ClaimedJob, FailedJob, ResultFile
from scarnode.ledger.nodes import Nodes
from scarnode.ledger.notifications import Notices
from scarnode.ledger.patient_removal import Takeout
from scarnode.ledger.planning import SEG_JSON, SENT, STACK_JSON, UNFINISHED, Planning
from scarnode.ledger.pulls import Pulls
from scarnode.ledger.retention import Retention
from scarnode.ledger.schema import OlderSchemaError
from scarnode.ledger.selftests import SelfTests
from scarnode.ledger.sqlite_file import LedgerLock, check_beside_node, put_back, rescued_copies
from scarnode.ledger.tables import Commitment, Delivery, DeliveryState, Job, JobOrigin, JobState, Result
from scarnode.util.clock import DUE_NOW, monotonic_time
from scarnode.util.errors import LedgerError

log = logging.getLogger(__name__)

MAX_INTERRUPTIONS = 20
"""How often a job may be running when the node crashes before it counts as the job's fault.

Not power that flaps: from the second crash on the job waits, longer each time, so that the twentieth comes more than an
hour after the first.
"""

FIRST_RETRY_SECONDS = 2.0
"""Pause before a failed attempt is repeated; doubles with every further one."""


def _pause(times: int) -> float:
    """Return the seconds until the next attempt after so many that came to nothing (1 or more)."""
    return min(FIRST_RETRY_SECONDS * 2.0 ** (times - 1), LONGEST_PAUSE_SECONDS)


def _of_failures(destinations: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the kinds of a failure report's objects that go to each destination, as those of a result would."""
    return {name: [FAILURE + kind for kind in kinds] for name, kinds in destinations.items()}


class Ledger(Planning, Commitments, Holding, Notices, Retention, Takeout, Pulls, SelfTests, Nodes):
    """The job database: what came (`Reception`), was found (`Planning`), is sent (`Deliveries`), committed, deleted.

    Running the jobs is here.

    Parameters
    ----------
    url : str
        SQLAlchemy's, of SQLite or PostgreSQL.
    actor : str
        Stands in the event rows: who makes the changes.
    migrate : bool
        Bring an older schema up to date; False: refuse it. A new database gets its schema either way.

    Raises
    ------
    LedgerError
        The database can not be opened, or has the schema of another version.
    """

    # -- running jobs ------------------------------------------------------------------------------------------------

    def claim(self, owner: str, lease_seconds: float) -> ClaimedJob | None:
        """Take the queued job that is due, urgent ones first, then the oldest; None where there is none.

        A correction waits until the network's jobs of its study have run.

        Parameters
        ----------
        owner : str
            ``host:slot``, by which `requeue_interrupted` finds the jobs of a host; on a server ``member:slot``
            (`scarnode.ledger.nodes`), by which `end_lost` finds those of a dead process.
        lease_seconds : float
            After this time the job counts as lost and is tried again, though its owner lives.
        """
        now = monotonic_time()
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
        with self.reading() as session:  # an idle node asks often: do not take the write lock for nothing
            if session.scalar(due) is None:
                return None
        with self._writing() as session:
            job = session.scalar(select(Job).where(Job.id == due.scalar_subquery()).with_for_update(skip_locked=True))
            if job is None:
                return None
            job.attempts += 1
            job.owner = owner
            job.lease_until = now + lease_seconds
            self._move(session, job, JobState.RUNNING, f"attempt {job.attempts} by {owner}")
            self._settle(session, job)
            return ClaimedJob(
                id=job.id,
                key=job.key,
                attempt=job.attempts + job.interruptions,
                input_digest=job.input_digest,
                made_at=datetime.fromtimestamp(job.created_at, timezone.utc),
                stack=STACK_JSON.validate_json(job.stack),
                predecessor=self._predecessor(session, job),
                correction=SEG_JSON.validate_json(job.correction) if job.correction else None,
                revises_correction=self._revises_correction(session, job),
            )

    def _settle(self, session: Session, job: Job) -> None:
        """Take the place of the job to be revised where that was held, or failed, while this one waited for it."""
        other = session.get(Job, job.predecessor_id) if job.predecessor_id else None
        if other is not None and other.state not in SENT:
            self._replace(session, job, other)

    def _predecessor(self, session: Session, job: Job) -> tuple[str, str] | None:
        """Return the SR that a job's result revises: the report of its own failure, or that of the job it revises."""
        own = select(Result).where(Result.job_id == job.id, Result.kind == FAILURE + "sr")
        own = own.join(Delivery).where(Delivery.state == DeliveryState.SENT)
        if job.predecessor_id is None:  # not asked for as "IS NULL": that reads the whole table
            revised = session.scalar(own)
            return (revised.sop_instance_uid, revised.series_instance_uid) if revised else None
        older = select(Result).where(Result.job_id == job.predecessor_id, Result.kind.in_(("sr", FAILURE + "sr")))
        # a result before a report of failure
        revised = session.scalar(own) or session.scalar(older.order_by(Result.kind.desc()))
        return (revised.sop_instance_uid, revised.series_instance_uid) if revised else None

    @staticmethod
    def _revises_correction(session: Session, job: Job) -> bool:
        other = session.get(Job, job.predecessor_id) if job.predecessor_id else None
        return other is not None and other.origin is JobOrigin.CORRECTION

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
        now = monotonic_time()
        with self._writing() as session:
            job = self._running(session, claimed)
            if job is None:
                return
            job.flags = ",".join(analysed.flags)
            job.seconds = analysed.seconds
            job.scar_volume_cm3 = analysed.measurements.scar_volume
            job.myocardium_volume_cm3 = analysed.measurements.myocardium_volume
            job.lge_percent = analysed.measurements.lge_percent
            self._take_back_report(session, job)
            results = [self._result(session, job, file) for file in analysed.files]
            session.flush()
            self._send_again(session, job, results, destinations, now)
            self._note_unmade(session, job, {file.kind for file in analysed.files}, destinations)
            holding = [flag for flag in analysed.flags if flag in hold_flags]
            if holding:
                self._move(session, job, JobState.HELD, f"waits for a person: {', '.join(holding)}")
            else:
                self._move(session, job, JobState.DELIVERING, "analysed")
                self._close_if_delivered(session, job)

    @staticmethod
    def _result(session: Session, job: Job, file: ResultFile) -> Result:
        """Return the row of a result file; it is there already where the file was removed and made anew."""
        row = session.scalar(select(Result).where(Result.job_id == job.id, Result.kind == file.kind))
        if row is None:
            row = Result(job_id=job.id, **vars(file))
            session.add(row)
        row.removed_at = None
        return row

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
        with self._writing() as session:
            job = self._running(session, claimed)
            if job is not None:
                self._fail(session, job, why, max_attempts, permanent)

    def _fail(self, session: Session, job: Job, why: str, max_attempts: int, permanent: bool = False) -> None:
        if permanent or job.attempts >= max_attempts:
            self._move(session, job, JobState.FAILED, f"{why} (attempt {job.attempts} of {max_attempts})")
            return
        job.due_at = monotonic_time() + _pause(job.attempts)
        self._move(session, job, JobState.QUEUED, f"{why} (attempt {job.attempts} of {max_attempts}, will be repeated)")

    def drop(self, claimed: ClaimedJob, why: str) -> None:
        """End a running job that makes no result, because there is nothing to be said (an unchanged correction)."""
        with self._writing() as session:
            job = self._running(session, claimed)
            if job is not None:
                self._move(session, job, JobState.SUPERSEDED, why)

    def postpone(self, claimed: ClaimedJob, why: str, seconds: float) -> None:
        """Put a running job back that can not end now through no fault of its own; its attempt is given back."""
        with self._writing() as session:
            job = self._running(session, claimed)
            if job is not None:
                job.attempts -= 1
                job.due_at = monotonic_time() + seconds
                self._move(session, job, JobState.QUEUED, why)

    def jobs_among(self, jobs: Collection[int], states: Collection[JobState] = UNFINISHED) -> set[int]:
        """Return those of some jobs that are in one of some states, by default queued or running."""
        with self.reading() as session:
            return set(session.scalars(select(Job.id).where(Job.id.in_(jobs), Job.state.in_(states))))

    def interrupt(self, claimed: ClaimedJob) -> None:
        """Put a running job back because the node is stopped; this counts as nothing, however often it happens."""
        with self._writing() as session:
            job = self._running(session, claimed)
            if job is not None:
                job.attempts -= 1
                self._move(session, job, JobState.QUEUED, "the node was stopped while it ran")

    def requeue_interrupted(self, host: str) -> int:
        """Put back the jobs that were running on this host when it ended without a word; called once at start.

        Returns
        -------
        int
            How many.
        """
        with self._writing() as session:
            return self._end_jobs_of(session, host)

    def _interrupt(self, session: Session, job: Job) -> None:
        """Return a job back after a crash of the node: at once the first time, then after a growing pause.

        A job that brings the node down does so whenever it runs; the pauses let the others through. Power that flaps
        strikes the running job too, but not again and again over an hour. The pauses are random in part, so that of
        several jobs that ran at once the innocent ones get to run alone.
        """
        job.attempts -= 1
        job.interruptions += 1
        if job.interruptions > MAX_INTERRUPTIONS:
            self._move(session, job, JobState.FAILED, f"the node crashed {job.interruptions} times while it ran")
            return
        pause = _pause(job.interruptions - 1) * random.uniform(0.5, 1.0) if job.interruptions > 1 else 0.0
        job.due_at = monotonic_time() + pause
        later = f" (time {job.interruptions}; again in {pause:.0f} s)" if pause else ""
        self._move(session, job, JobState.QUEUED, f"the node crashed while it ran{later}")

    def fail_expired(self, max_attempts: int) -> None:
        """Take running jobs whose lease ended from their owner: nothing may be stuck."""
        with self._writing() as session:
            expired = select(Job).where(Job.state == JobState.RUNNING, Job.lease_until < monotonic_time())
            for job in session.scalars(expired).all():
                self._fail(session, job, "its worker was not heard of again", max_attempts)

    def _running(self, session: Session, claimed: ClaimedJob) -> Job | None:
        """Return the job if this claim still holds it; else the outcome of a former attempt is dropped."""
        job = session.get(Job, claimed.id, with_for_update=True)
        if job is None or job.state != JobState.RUNNING or job.attempts + job.interruptions != claimed.attempt:
            return None
        return job

    # -- failed for good ---------------------------------------------------------------------------------------------

    def unreported_failures(self, besides: Collection[int] = ()) -> list[FailedJob]:
        """Return the jobs (but those in `besides`) that failed for good without a result or a failure report."""
        query = (
            select(Job)
            .where(Job.state == JobState.FAILED, ~exists().where(Result.job_id == Job.id))
            .where(Job.id.not_in(besides))
            .order_by(Job.id)
            .limit(20)
        )
        with self.reading() as session:
            return [
                FailedJob(
                    id=job.id,
                    key=job.key,
                    input_digest=job.input_digest,
                    made_at=datetime.fromtimestamp(job.created_at, timezone.utc),
                    stack=STACK_JSON.validate_json(job.stack),
                    predecessor=self._predecessor(session, job),
                    reason=job.reason,
                )
                for job in session.scalars(query)
            ]

    def report_failure(
        self, job_id: int, files: Sequence[ResultFile], destinations: Mapping[str, Sequence[str]]
    ) -> None:
        """Register a job's failure report and send it on its way; the job stays `failed`.

        One report is made of a job, of its first failure. Nothing happens where the job was asked for again meanwhile.

        Parameters
        ----------
        job_id : int
        files : sequence of ResultFile
            From `scarnode.node.tasks.failures.write_failure`.
        destinations : mapping of str to sequence of str
            Name of each destination, and the kinds of object it takes.
        """
        now = monotonic_time()
        with self._writing() as session:
            job = self._job(session, job_id)
            if job.state is not JobState.FAILED or session.scalar(select(Result.id).where(Result.job_id == job.id)):
                return
            report = [Result(job_id=job.id, **vars(file)) for file in files]
            session.add_all(report)
            session.flush()
            self._send_again(session, job, report, _of_failures(destinations), now)
            session.add(self._event(job.study_id, job.id, "", "", "made a report of the failure"))

    @staticmethod
    def _take_back_report(session: Session, job: Job) -> None:
        """Do not send what is left of a failure report: there is a result after all."""
        of_report = select(Result.id).where(Result.job_id == job.id, Result.kind.startswith(FAILURE))
        unsent = select(Delivery.id).where(Delivery.result_id.in_(of_report), Delivery.state != DeliveryState.SENT)
        session.execute(delete(Commitment).where(Commitment.delivery_id.in_(unsent)))
        session.execute(delete(Delivery).where(Delivery.id.in_(unsent)))

    # -- what a person asks ------------------------------------------------------------------------------------------

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
        with self._writing() as session:
            job = self._job(session, job_id)
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
                self._send_again(session, job, made, _of_failures(destinations), now)
                job.attempts, job.interruptions, job.due_at = 0, 0, now
                self._move(session, job, JobState.QUEUED, "asked for again")
                self._tell(session, tell, state)
                return JobState.QUEUED
            self._send_again(session, job, results, destinations, now)
            self._note_unmade(session, job, {result.kind for result in results}, destinations)
            if state is not JobState.DELIVERING:
                self._move(session, job, JobState.DELIVERING, "asked for again")
            self._close_if_delivered(session, job)
            self._tell(session, tell, state)
            return job.state

    def cancel(self, job_id: int, tell: Callable[[JobState], None] | None = None) -> None:
        """End a job by hand; what it has sent stays sent. Calls `tell` as `retry` does.

        Raises
        ------
        LedgerError
            No such job, or it has ended already.
        """
        with self._writing() as session:
            job = self._job(session, job_id)
            if JobState.SUPERSEDED not in MOVES[job.state]:
                raise LedgerError(f"is {job.state.value} already", f"job {job_id}", "Nothing to cancel")
            state = job.state
            self._move(session, job, JobState.SUPERSEDED, "cancelled by hand")
            self._tell(session, tell, state)


def open_beside_node(url: str, actor: str) -> Ledger:
    """Open a ledger for a command, beside a node that may run on it.

    Raises
    ------
    LedgerError
        As of `Ledger`; it has an older schema; or it is not the one on which the node runs.
    """
    if database := sqlite_file(url):
        check_beside_node(database)
    return Ledger(url, actor, migrate=False)


def lock_ledger(url: str) -> LedgerLock | None:
    """Lock a ledger on SQLite for a node, and put back what a former one saved of it where it is gone since.

    Raises
    ------
    LedgerError
        Another node runs on it.
    """
    database = sqlite_file(url)
    if database is None:
        return None
    lock = LedgerLock(database)
    if copy := put_back(database):
        log.warning("the ledger was gone: %s, which a running node had saved of it, is in its place", copy)
    for left in rescued_copies(database):
        log.warning("%s was saved when the ledger was deleted or replaced: compare, then delete it", left)
    return lock


def upgrade_ledger(url: str, actor: str) -> None:
    """Bring a ledger's schema up to date, unless a node runs on it.

    Raises
    ------
    LedgerError
        As of `Ledger`; or its schema is older, and a node runs on it.
    """
    try:
        open_beside_node(url, actor).close()
        return
    except OlderSchemaError:
        lock = lock_ledger(url)
    try:
        Ledger(url, actor).close()
    finally:
        if lock:
            lock.close()
