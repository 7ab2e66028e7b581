"""From what was found in a study to its jobs: new ones, revisions, and what a person corrected.

Functions on a session of `Store.writing`: what a search found is written in one transaction.
"""

from __future__ import annotations

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from scarnode.ledger.model import FAILURE, PlannedJob
from scarnode.ledger.states import SENT, UNFINISHED, DeliveryState, JobOrigin, JobState, change_state
from scarnode.ledger.store import Store
from scarnode.ledger.tables import Delivery, Job, Result, Study
from scarnode.pipeline.correct.model import ReceivedSeg
from scarnode.pipeline.stack import Flag, Stack

STACK_JSON = TypeAdapter(Stack)
SEG_JSON = TypeAdapter(ReceivedSeg)


def add_job(store: Store, session: Session, study: Study, plan: PlannedJob, now: float, priority: int) -> None:
    """Queue a job for a planned stack, unless there is one of its key; link it to the job that it revises.

    Parameters
    ----------
    store : Store
    session : Session
    study : Study
    plan : PlannedJob
    now : float
        When the job was made, for a person.
    priority : int
        `ROUTINE` or `URGENT` of `scarnode.ledger.tables`.
    """
    existing = session.scalar(select(Job).where(Job.key == plan.key))
    if existing is not None:
        _come_again(store, session, existing, priority)
        newer = _latest_of(session, existing, plan.stack)
        if newer is not None and not plan.correction:
            study.identity_conflict = f"they came again as they were before job {newer.id} revised job {existing.id}"
        return
    study_id = study.id
    job = Job(
        key=plan.key,
        study_id=study_id,
        state=JobState.QUEUED,
        reason="",
        priority=priority,
        stack=STACK_JSON.dump_json(plan.stack).decode(),
        origin=JobOrigin.CORRECTION if plan.correction else JobOrigin.NETWORK,
        correction=SEG_JSON.dump_json(plan.correction).decode() if plan.correction else "",
        input_digest=plan.input_digest,
        predecessor_id=None,
        created_at=now,
        due_at=store.clock.monotonic_time(),
        attempts=0,
        interruptions=0,
        owner="",
        lease_until=None,
        finished_at=None,
        slices=len(plan.stack.frames),
        flags=",".join(flag.value for flag in plan.stack.flags),
        model_sha256=plan.model_sha256,
        seconds=None,
        scar_volume_cm3=None,
        myocardium_volume_cm3=None,
        lge_percent=None,
    )
    session.add(job)
    session.flush()
    what = f"stack of {job.slices} slices"
    if plan.correction is not None:
        what = f"a person's correction of a {what}: SEG {plan.correction.sop_instance_uid}"
    if plan.stack.left_empty:
        what += f"; its images have no usable {', '.join(plan.stack.left_empty)}: left empty in the results"
    session.add(store.event(study_id, job.id, "", job.state.value, what))
    _revise(store, session, job, plan.stack)


def _come_again(store: Store, session: Session, job: Job, priority: int) -> None:
    """Let a job stand whose input came again; where its results were removed, they are made and sent anew.

    The key says that they become the same objects under the same UIDs, so that an archive knows them.
    """
    made = session.scalars(select(Result.removed_at).where(Result.job_id == job.id)).all()
    if job.state is not JobState.DONE or None in made or not made:
        session.add(store.event(job.study_id, job.id, "", "", "the same input came again: its job stands"))
        return
    job.attempts, job.interruptions, job.due_at, job.priority = 0, 0, store.clock.monotonic_time(), priority
    change_state(store, session, job, JobState.QUEUED, "the same input came again after its results were removed")


def _latest_of(session: Session, job: Job, stack: Stack) -> Job | None:
    """Return the network's job that revised another one of the same images with the same slices, if any."""
    images = {frame.sop_instance_uid for frame in stack.frames}
    newer = select(Job).where(Job.study_id == job.study_id, Job.id > job.id, Job.origin == JobOrigin.NETWORK)
    for other in session.scalars(newer.where(Job.state != JobState.SUPERSEDED).order_by(Job.id.desc())):
        same = STACK_JSON.validate_json(other.stack)
        if Flag.IDENTITY_CHANGED in same.flags and images == {frame.sop_instance_uid for frame in same.frames}:
            return other
    return None


def _revise(store: Store, session: Session, job: Job, stack: Stack) -> None:
    """Link a job to the one it revises: the latest of the study that used any of the same images.

    A correction lets the network end first (see `scarnode.ledger.jobs.Jobs.claim`), so that both results come, the
    person's last.
    """
    images = {frame.sop_instance_uid for frame in stack.frames}
    older = select(Job).where(Job.study_id == job.study_id, Job.id != job.id).order_by(Job.id.desc())
    for other in session.scalars(older):
        frames = STACK_JSON.validate_json(other.stack).frames
        if images.isdisjoint(frame.sop_instance_uid for frame in frames):
            continue
        awaited = job.origin is JobOrigin.CORRECTION and other.origin is JobOrigin.NETWORK
        if other.state in SENT or (awaited and other.state in UNFINISHED):
            job.predecessor_id = other.id
        else:
            _replace(store, session, job, other)
        return


def settle(store: Store, session: Session, job: Job) -> None:
    """Take the place of the job to be revised where that was held, or failed, while this one waited for it."""
    other = session.get(Job, job.predecessor_id) if job.predecessor_id else None
    if other is not None and other.state not in SENT:
        _replace(store, session, job, other)


def _replace(store: Store, session: Session, job: Job, other: Job) -> None:
    """Put a job in the place of one whose result is not on its way; what was sent of that is revised."""
    job.predecessor_id = other.id if _was_sent(session, other) else other.predecessor_id
    if other.state != JobState.SUPERSEDED:
        what = "a correction" if job.origin is JobOrigin.CORRECTION else "late images, or their corrected identity,"
        change_state(store, session, other, JobState.SUPERSEDED, f"{what} made job {job.id}")


def _was_sent(session: Session, job: Job) -> bool:
    sent = select(Delivery.id).where(Delivery.job_id == job.id, Delivery.state == DeliveryState.SENT).limit(1)
    return session.scalar(sent) is not None


def predecessor(session: Session, job: Job) -> tuple[str, str] | None:
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


def revises_correction(session: Session, job: Job) -> bool:
    """Return whether the job that a job revises is a person's correction."""
    other = session.get(Job, job.predecessor_id) if job.predecessor_id else None
    return other is not None and other.origin is JobOrigin.CORRECTION
