"""Result objects on their way to their destinations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence

from sqlalchemy import ColumnElement, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from scarnode.ledger.model import FAILURE, DeliveryReport, DueDelivery
from scarnode.ledger.selftests import is_self_test
from scarnode.ledger.states import CommitmentState, DeliveryState, JobState, change_state
from scarnode.ledger.store import Store
from scarnode.ledger.tables import Commitment, CommitmentRequest, Delivery, Job, Result
from scarnode.util.clock import DUE_NOW


def settled() -> ColumnElement[bool]:
    """Return the condition that a row of `Delivery` needs nothing more: sent, and committed where that is asked.

    Only then may the result's file go: until a destination committed itself, it may want the object again.
    """
    uncommitted = exists().where(Commitment.delivery_id == Delivery.id, Commitment.state != CommitmentState.COMMITTED)
    return (Delivery.state == DeliveryState.SENT) & ~uncommitted


def _is_due(destination: str, now: float) -> ColumnElement[bool]:
    """Return the condition on `Delivery`, `Result` and `Job` that a destination should get an object now."""
    report_of_failure = (Job.state == JobState.FAILED) & Result.kind.startswith(FAILURE)
    sending = select(Job.id).where(Job.state.in_((JobState.DELIVERING, JobState.FAILED)))
    return (
        (Delivery.destination == destination)
        & (Delivery.state == DeliveryState.PENDING)
        & Delivery.job_id.in_(sending)  # what was held or cancelled may be pending for years
        & (Delivery.due_at + 0.0 <= now)  # the sum has SQLite go by the jobs, not by when those were due
        & or_(Job.state == JobState.DELIVERING, report_of_failure)
    )


class Deliveries:
    """Result objects on their way to their destinations: `Ledger.deliveries`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def due_deliveries(self, destination: str, limit: int = 60) -> list[DueDelivery]:
        """Return what a destination should get now, oldest job first."""
        query = (
            select(Delivery.id, Delivery.job_id, Delivery.attempts, Result.path)
            .join(Result, Result.id == Delivery.result_id)
            .join(Job, Job.id == Delivery.job_id)
            .where(_is_due(destination, self._store.clock.monotonic_time()))
            .order_by(Delivery.job_id, Delivery.id)
            .limit(limit)
        )
        with self._store.reading() as session:
            return [DueDelivery(*row) for row in session.execute(query)]

    def pending_among(self, deliveries: Collection[int]) -> set[int]:
        """Return those of some deliveries that are still to be made."""
        query = select(Delivery.id).where(Delivery.id.in_(deliveries), Delivery.state == DeliveryState.PENDING)
        with self._store.reading() as session:
            return set(session.scalars(query))

    def report_deliveries(self, reports: Sequence[DeliveryReport]) -> None:
        """Note what became of tries to deliver; a job is done when all its objects are with all destinations."""
        now = self._store.clock.wall_time()
        with self._store.writing() as session:
            touched: dict[int, Job] = {}
            for report in reports:
                row = session.get(Delivery, report.id, with_for_update=True)
                if row is None or row.state == DeliveryState.SENT:
                    continue
                news = report.counts or not row.detail  # the story tells of a fault that lasts once
                row.attempts += report.counts
                row.detail = report.detail
                if report.sent:
                    row.state, row.sent_at = DeliveryState.SENT, now
                    if report.commit:
                        _ask_commitment(session, row)
                elif report.retry_at is None:
                    row.state = DeliveryState.FAILED
                else:
                    row.due_at = report.retry_at
                job = session.get_one(Job, row.job_id)
                if news:
                    why = f"{row.destination}: {report.detail}"
                    session.add(self._store.event(job.study_id, job.id, "", row.state.value, why))
                touched[job.id] = job
            session.flush()
            for job in touched.values():
                close_if_delivered(self._store, session, job)

    def put_off_deliveries(self, destination: str, detail: str, delay: Callable[[int], float | None]) -> int:
        """Note that a destination could not be had at all: everything that is due for it waits.

        Parameters
        ----------
        destination : str
        detail : str
            Why.
        delay : callable
            Gives the seconds to wait after so many failed attempts, None where no further try makes sense.

        Returns
        -------
        int
            How many objects wait, or failed.
        """
        query = (
            select(Delivery, Job)
            .join(Result, Result.id == Delivery.result_id)
            .join(Job, Job.id == Delivery.job_id)
            .where(_is_due(destination, self._store.clock.monotonic_time()))
            .order_by(Delivery.id)
        )
        with self._store.writing() as session:
            rows = session.execute(query.with_for_update()).all()
            told: set[int] = set()
            touched: dict[int, Job] = {}
            for row, job in rows:
                row.attempts += 1
                wait = delay(row.attempts)
                # the story tells of a peer that is away once, not at each of two hundred tries; the row counts them
                news = wait is None or not row.detail.startswith(detail)
                if wait is None:
                    row.state, row.detail = DeliveryState.FAILED, f"{detail} Given up after attempt {row.attempts}."
                else:
                    row.due_at = self._store.clock.monotonic_time() + wait
                    row.detail = f"{detail} Next try in {wait:.0f} s."
                if news and job.id not in told:
                    told.add(job.id)
                    why = f"{destination}: {row.detail}"
                    session.add(self._store.event(job.study_id, job.id, "", row.state.value, why))
                touched[job.id] = job
            session.flush()
            for job in touched.values():
                close_if_delivered(self._store, session, job)
            return len(rows)

    def fail_unknown_destinations(self, known: Sequence[str]) -> None:
        """End deliveries to destinations that config.ini no longer names; called once at start."""
        with self._store.writing() as session:
            orphans = session.scalars(
                select(Delivery).where(Delivery.state == DeliveryState.PENDING, Delivery.destination.not_in(known))
            ).all()
            for row in orphans:
                row.state, row.detail = DeliveryState.FAILED, "the destination is no longer in config.ini"
            session.flush()
            for job_id in {row.job_id for row in orphans}:
                close_if_delivered(self._store, session, session.get_one(Job, job_id))


def _ask_commitment(session: Session, delivery: Delivery) -> None:
    """Plan to ask a destination to commit to what it was just sent."""
    latest = session.scalar(select(func.max(CommitmentRequest.id))) or 0
    row = session.scalar(select(Commitment).where(Commitment.delivery_id == delivery.id))
    if row is None:
        row = Commitment(delivery_id=delivery.id, resends=0, detail="")
        session.add(row)
    row.attempts = row.requests = 0
    row.state, row.due_at, row.committed_at, row.stale_request = CommitmentState.PENDING, DUE_NOW, None, latest


def close_if_delivered(store: Store, session: Session, job: Job) -> None:
    """End a job when nothing of it is on its way any more, and every commitment that was asked for is decided."""
    if job.state != JobState.DELIVERING:
        return
    query = select(Delivery, Commitment.state).outerjoin(Commitment, Commitment.delivery_id == Delivery.id)
    rows = session.execute(query.where(Delivery.job_id == job.id)).all()
    if any(row.state is DeliveryState.PENDING for row, _ in rows):
        return
    sent = [(row, commitment) for row, commitment in rows if row.state is DeliveryState.SENT]
    if any(commitment in (CommitmentState.PENDING, CommitmentState.REQUESTED) for _, commitment in sent):
        return
    failed = {row.destination for row, _ in rows if row.state is DeliveryState.FAILED}
    uncommitted = {row.destination for row, commitment in sent if commitment is CommitmentState.FAILED}
    if failed or uncommitted:
        count = sum(row.state is DeliveryState.FAILED for row, _ in rows)
        missing = sum(commitment is CommitmentState.FAILED for _, commitment in sent)
        what = [f"{count} of {len(rows)} deliveries failed ({', '.join(sorted(failed))})"] if failed else []
        if uncommitted:
            what.append(f"{missing} of {len(rows)} sent but not committed ({', '.join(sorted(uncommitted))})")
        change_state(store, session, job, JobState.FAILED, "; ".join(what))
    else:
        committed = sum(commitment is CommitmentState.COMMITTED for _, commitment in sent)
        why = f"{len(rows)} deliveries made" if rows else "no destination takes a result: they stay on this machine"
        change_state(store, session, job, JobState.DONE, why + (f", {committed} committed" if committed else ""))


def send_again(
    session: Session,
    job: Job,
    results: Sequence[Result],
    destinations: Mapping[str, Sequence[str]],
    now: float,
) -> None:
    """Plan a job's results to be sent, each to the destinations that take its kind.

    What was sent already is sent again where the job is done, or was analysed anew.

    Parameters
    ----------
    session : Session
    job : Job
    results : sequence of Result
    destinations : mapping of str to sequence of str
        Name of each destination, and the kinds of object it takes.
    now : float
        When the deliveries are due.
    """
    if is_self_test(session, job.study_id):
        return
    rows = session.scalars(select(Delivery).where(Delivery.job_id == job.id)).all()
    known = {(row.result_id, row.destination): row for row in rows}
    refused = select(Commitment.delivery_id).where(Commitment.state == CommitmentState.FAILED)
    uncommitted = set(session.scalars(refused.where(Commitment.delivery_id.in_([row.id for row in rows]))))
    resend = job.state in (JobState.DONE, JobState.RUNNING)  # asked for, or made anew
    for result in results:
        for name, kinds in destinations.items():
            row = known.get((result.id, name))
            if row is None and result.kind in kinds:
                session.add(_new_delivery(result, name, now))
            elif row is not None and (resend or row.state != DeliveryState.SENT or row.id in uncommitted):
                row.state, row.due_at, row.attempts = DeliveryState.PENDING, now, 0
                session.execute(delete(Commitment).where(Commitment.delivery_id == row.id))
    waiting = Commitment.state.in_((CommitmentState.PENDING, CommitmentState.REQUESTED))
    ids = [row.id for row in rows]
    session.execute(update(Commitment).where(Commitment.delivery_id.in_(ids), waiting).values(due_at=DUE_NOW))
    session.flush()


def note_unmade(
    store: Store, session: Session, job: Job, made: Collection[str], destinations: Mapping[str, Sequence[str]]
) -> None:
    """Describe which objects a destination will not get: nobody shall wait for what was never made.

    They are not made later either: by another version of scarnode they would not fit what was sent already.
    """
    for name, kinds in destinations.items():
        missing = [kind for kind in kinds if kind not in made]
        if missing:
            why = f"{name}: not sent, for it was not made when the job was analysed: {', '.join(missing)}"
            session.add(store.event(job.study_id, job.id, "", "", why))


def _new_delivery(result: Result, destination: str, now: float) -> Delivery:
    return Delivery(
        job_id=result.job_id,
        result_id=result.id,
        destination=destination,
        state=DeliveryState.PENDING,
        attempts=0,
        due_at=now,
        sent_at=None,
        detail="",
    )
