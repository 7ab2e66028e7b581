"""Storage commitment: a destination's word that it keeps what it was sent (PS3.4 Annex J).

A request is written down before it goes out, under a Transaction UID of its own that is never used again. So whenever
the node dies, a report that comes is known; and asking again, after a crash or because no report came, is a new
request beside the old one: whichever is reported on first counts.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import groupby

from pydicom.uid import generate_uid
from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from scarnode.dicom.scp import CommitmentReport
from scarnode.ledger.deliveries import close_if_delivered
from scarnode.ledger.model import FAILURE, DueCommitment
from scarnode.ledger.states import CommitmentState, DeliveryState, JobState, change_state
from scarnode.ledger.store import Store, locked_job
from scarnode.ledger.tables import Commitment, CommitmentRequest, Delivery, Job, Result

MOST_RESENDS = 3
"""How often an object is sent again because a destination reports that it does not have it."""

LONGEST_WAIT = 24 * 3600.0
"""Seconds; however often no report on a commitment came, the next request is not later."""

DUPLICATE_TRANSACTION = 0x0131
FINAL_REASONS = frozenset({0x0119, 0x0122})
"""FailureReasons that sending the object again can not change: another SOP class than the destination knows the
instance by, and a SOP class it commits to nothing of (PS3.3 C.14.1.1)."""

REASONS = {
    0x0110: "processing failure",
    0x0112: "no such object instance",
    0x0119: "class/instance conflict",
    0x0122: "referenced SOP class not supported",
    0x0131: "duplicate transaction UID",
    0x0213: "resource limitation",
}
"""FailureReason (0008,1197) of a storage commitment (PS3.3 C.14.1.1)."""


class Commitments:
    """Requests for storage commitment, and the reports on them: `Ledger.commitments`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def due_commitments(self, destination: str, limit: int = 60) -> list[DueCommitment]:
        """Return what a destination should be asked to commit to now, by job: for the first time, or again."""
        query = (
            select(Commitment, Delivery.job_id, Result.sop_class_uid, Result.sop_instance_uid)
            .join(Delivery, Delivery.id == Commitment.delivery_id)
            .join(Result, Result.id == Delivery.result_id)
            .where(Delivery.destination == destination, Delivery.state == DeliveryState.SENT)
            .where(Commitment.state.in_((CommitmentState.PENDING, CommitmentState.REQUESTED)))
            .where(Commitment.due_at <= self._store.clock.monotonic_time())
            .order_by(Delivery.job_id + 0, Delivery.id)  # the sum has SQLite go by what waits, not by all that was sent
            .limit(limit)
        )
        with self._store.reading() as session:
            rows = list(session.execute(query))
        rows.sort(key=lambda row: (row.job_id, row.Commitment.requests))
        due = []
        for (job_id, requests), group in groupby(rows, key=lambda row: (row.job_id, row.Commitment.requests)):
            some = list(group)
            due.append(
                DueCommitment(
                    job_id,
                    tuple(row.Commitment.id for row in some),
                    tuple((row.sop_class_uid, row.sop_instance_uid) for row in some),
                    max(row.Commitment.attempts for row in some),
                    requests,
                )
            )
        return due

    def open_commitment(self, due: DueCommitment, destination: str, wait: float) -> str:
        """Write down a request that is about to be made, and give its Transaction UID.

        Parameters
        ----------
        due : DueCommitment
        destination : str
        wait : float
            Seconds until it is made again, where no report comes.
        """
        request = CommitmentRequest(
            transaction_uid=str(generate_uid(prefix=None)),  # of a random UUID
            job_id=due.job_id,
            destination=destination,
            requested_at=self._store.clock.wall_time(),
            answered_at=None,
        )
        with self._store.writing() as session:
            session.add(request)
            uid = request.transaction_uid
            for row in _locked_commitments(session, due.ids):
                row.state, row.due_at = CommitmentState.REQUESTED, self._store.clock.monotonic_time() + wait
                row.requests += 1
                row.detail = f"asked for, request {row.requests}"
        return uid

    def is_reported(self, transaction_uids: Collection[str]) -> bool:
        """Describe whether all these requests have been reported on."""
        waiting = select(CommitmentRequest.id).where(
            CommitmentRequest.transaction_uid.in_(transaction_uids), CommitmentRequest.answered_at.is_(None)
        )
        with self._store.reading() as session:
            return session.scalar(waiting.limit(1)) is None

    def commitment_requested(self, due: DueCommitment, destination: str, detail: str) -> None:
        """Note that a destination took a request; its report may have come already."""
        with self._store.writing() as session:
            for row in _locked_commitments(session, due.ids):
                row.attempts = 0
            job = session.get_one(Job, due.job_id)
            session.add(self._store.event(job.study_id, job.id, "", "", f"{destination}: {detail}"))

    def commitment_not_requested(
        self, due: DueCommitment, destination: str, detail: str, delay: Callable[[int], float | None], made: bool
    ) -> None:
        """Note that a destination did not take a request, or reported on none.

        Parameters
        ----------
        due : DueCommitment
        destination : str
        detail : str
            Why, for a person.
        delay : callable
            Gives the seconds to wait after so many failed attempts, None where no further try makes sense.
        made : bool
            `open_commitment` counted the request.
        """
        with self._store.writing() as session:
            job = locked_job(session, due.job_id)
            for row in _locked_commitments(session, due.ids):
                if made and row.state is not CommitmentState.REQUESTED:
                    continue  # a report came nevertheless
                row.requests -= made
                row.attempts += 1
                wait = delay(row.attempts)
                news = wait is None or not row.detail.startswith(detail)
                if wait is None:
                    row.state, row.detail = CommitmentState.FAILED, f"{detail} Given up."
                else:
                    row.state, row.due_at = CommitmentState.PENDING, self._store.clock.monotonic_time() + wait
                    row.detail = f"{detail} Asked again in {wait:.0f} s."
                if news:
                    why = f"{destination}: {row.detail}"
                    session.add(self._store.event(job.study_id, job.id, "", "", why))
            session.flush()
            close_if_delivered(self._store, session, job)

    def take_commitment_report(
        self, report: CommitmentReport, destinations: Collection[str], delay: Callable[[int], float]
    ) -> bool:
        """Take a destination's report on a request.

        Parameters
        ----------
        report : CommitmentReport
        destinations : collection of str
            Names of the destinations that the reporting AE stands for.
        delay : callable
            Gives the seconds to wait before an object is sent again for the nth time.

        Returns
        -------
        bool
            False where none of these destinations was ever asked under this Transaction UID; nothing changes then.
        """
        now = self._store.clock.wall_time()
        with self._store.writing() as session:
            request = session.scalar(
                select(CommitmentRequest)
                .where(CommitmentRequest.transaction_uid == report.transaction_uid)
                .where(CommitmentRequest.destination.in_(destinations))
                .with_for_update()
            )
            if request is None:
                return False
            first, request.answered_at = request.answered_at is None, request.answered_at or now
            job = locked_job(session, request.job_id)
            rows = session.execute(
                select(Commitment, Delivery, Result)
                .join(Delivery, Delivery.id == Commitment.delivery_id)
                .join(Result, Result.id == Delivery.result_id)
                .where(Delivery.job_id == job.id, Delivery.destination == request.destination)
                .where(Delivery.state == DeliveryState.SENT, Commitment.stale_request < request.id)
                .where(Commitment.state != CommitmentState.COMMITTED)
                .with_for_update()
            ).all()
            committed = 0
            for row, delivery, result in rows:
                reason = report.failed.get(result.sop_instance_uid)
                if reason is not None:
                    if first and row.state is CommitmentState.REQUESTED:
                        _not_committed(self._store, session, job, row, delivery, result, reason, delay)
                elif result.sop_instance_uid in report.committed:
                    row.state, row.committed_at, row.failure_reason = CommitmentState.COMMITTED, now, None
                    row.detail = "the destination committed itself to keep it"
                    committed += 1
            if committed:
                why = f"{request.destination}: storage of {committed} objects committed"
                session.add(self._store.event(job.study_id, job.id, "", "", why))
            session.flush()
            _reopen(self._store, session, job)
            close_if_delivered(self._store, session, job)
            return True

    def end_unasked_commitments(self, asking: Sequence[str]) -> None:
        """Wait no more for destinations that config.ini does not ask for commitment any more; called once at start."""
        with self._store.writing() as session:
            unasked = session.execute(
                select(Commitment.id, Delivery.job_id)
                .join(Delivery, Delivery.id == Commitment.delivery_id)
                .where(Commitment.state.in_((CommitmentState.PENDING, CommitmentState.REQUESTED)))
                .where(Delivery.destination.not_in(asking))
            ).all()
            session.execute(delete(Commitment).where(Commitment.id.in_([row.id for row in unasked])))
            session.flush()
            for job_id in {row.job_id for row in unasked}:
                job = session.get_one(Job, job_id)
                why = "storage commitment is no longer asked for: see config.ini"
                session.add(self._store.event(job.study_id, job.id, "", "", why))
                close_if_delivered(self._store, session, job)


def _locked_commitments(session: Session, ids: Collection[int]) -> Sequence[Commitment]:
    return session.scalars(select(Commitment).where(Commitment.id.in_(ids)).with_for_update()).all()


def _not_committed(
    store: Store,
    session: Session,
    job: Job,
    row: Commitment,
    delivery: Delivery,
    result: Result,
    reason: int,
    delay: Callable[[int], float],
) -> None:
    """Act on an object that a destination does not commit itself to."""
    row.failure_reason = reason
    what = f"not committed: 0x{reason:04X} ({REASONS.get(reason, 'unknown reason')})"
    sends = job.state is JobState.DELIVERING or (job.state is JobState.FAILED and result.kind.startswith(FAILURE))
    if reason == DUPLICATE_TRANSACTION:
        wait = delay(row.requests)
        row.state, row.due_at = CommitmentState.PENDING, store.clock.monotonic_time() + wait
        row.detail = f"{what}. Asked again in {wait:.0f} s."
    elif reason in FINAL_REASONS or row.resends >= MOST_RESENDS or not sends:
        row.state = CommitmentState.FAILED
        row.detail = f"{what}. Given up after {row.resends} times sent again."
    else:
        row.resends += 1
        wait = delay(row.resends)
        row.state, row.detail = CommitmentState.PENDING, f"{what}. Sent again in {wait:.0f} s."
        delivery.state, delivery.due_at, delivery.attempts = (
            DeliveryState.PENDING,
            store.clock.monotonic_time() + wait,
            0,
        )
    why = f"{delivery.destination}: {result.kind}: {row.detail}"
    session.add(store.event(job.study_id, job.id, "", row.state.value, why))


def _reopen(store: Store, session: Session, job: Job) -> None:
    """Take back the failure of a job whose last missing commitment came after all."""
    if job.state is not JobState.FAILED:
        return
    missing = (
        select(Delivery.id)
        .outerjoin(Commitment, Commitment.delivery_id == Delivery.id)
        .where(Delivery.job_id == job.id)
        .where((Delivery.state != DeliveryState.SENT) | (Commitment.state != CommitmentState.COMMITTED))
    )
    has_result = select(Result.id).where(Result.job_id == job.id, Result.kind.not_like(f"{FAILURE}%"))
    if session.scalar(has_result) is not None and session.scalar(missing) is None:
        change_state(store, session, job, JobState.DELIVERING, "the missing commitments came after all")
