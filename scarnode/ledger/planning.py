"""From what was found in a study to its jobs: new ones, revisions, and what a person corrected."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from pydantic import TypeAdapter
from sqlalchemy import select
from sqlalchemy.orm import Session

from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger.deliveries import Deliveries
from scarnode.ledger.model import PlannedJob, ReturnedObject
from scarnode.ledger.tables import (
    ROUTINE,
    URGENT,
    Delivery,
    DeliveryState,
    Instance,
    Job,
    JobOrigin,
    JobState,
    Result,
    Study,
)
from scarnode.pipeline.correct.model import SEG_CLASSES, ReceivedSeg
from scarnode.pipeline.stack import Flag, SeriesVerdict, Stack
from scarnode.util.clock import monotonic_time

STACK_JSON = TypeAdapter(Stack)
SEG_JSON = TypeAdapter(ReceivedSeg)

SENT = (JobState.DONE, JobState.DELIVERING)
UNFINISHED = (JobState.QUEUED, JobState.RUNNING)


class Planning(Deliveries):
    """The ledger's account of what a search found; `scarnode.ledger.Ledger` has it beside the others."""

    def close_study(
        self,
        study_id: int,
        newest_instance: int,
        verdicts: Sequence[SeriesVerdict],
        planned: Sequence[PlannedJob],
        problems: Mapping[str, str] | None = None,
        note: str = "",
        urgent: Collection[str] = (),
        identity: ReceivedInstance | str = "",
    ) -> None:
        """Write down what was found in a quiet study, and queue a job for every stack that has none yet.

        Parameters
        ----------
        study_id : int
        newest_instance : int
            Of `study_files`; instances that came meanwhile keep the study open.
        verdicts : sequence of SeriesVerdict
            Replace the study's former ones.
        planned : sequence of PlannedJob
            A key that exists already makes no second job. A stack that shares images with an older job's
            makes a revision: the older job is superseded where nothing was sent yet, else named as predecessor.
        problems : mapping of str to str, optional
            Spool-relative path of each file that can not be used, and why.
        note : str
            For the event row, e.g. why the search failed.
        urgent : collection of str
            Calling AE titles; jobs of a study that has an image from one of them go first.
        identity : ReceivedInstance or str
            The instance that says whose the study is: from now on it is listed so. Or how its images disagree in that:
            an alarm stands as long as they do (`scarnode.monitoring.alarm_rules`), if the study has results.
        """
        now = time.time()
        with self._writing() as session:
            if newest_instance < session.get_one(Study, study_id).searched_instance:
                return  # it was cut off from the ledger, and another search has seen more meanwhile
            self._write_verdicts(session, study_id, newest_instance, verdicts, problems or {})
            corrections = sum(plan.correction is not None for plan in planned)
            found = f"{len(planned) - corrections} short-axis LGE stacks, {corrections} corrections"
            why = note or f"study quiet: {len(verdicts)} series, {found}"
            session.add(self._event(study_id, None, "", "", why))
            priority = URGENT if planned and urgent and self._came_from(session, study_id, urgent) else ROUTINE
            study = session.get_one(Study, study_id)
            study.identity_conflict = identity if isinstance(identity, str) else ""
            if isinstance(identity, ReceivedInstance):
                self._name(session, study, identity)
            for plan in planned:
                self._add_job(session, study, plan, now, priority)

    def _name(self, session: Session, study: Study, told: ReceivedInstance) -> None:
        """List a study under the patient and numbers that its images have now."""
        former = (study.patient_id, study.patient_name, study.accession_number, study.study_date)
        now = (told.patient_id, told.patient_name, told.accession_number, told.study_date)
        if former == now:
            return
        study.patient_id, study.patient_name, study.accession_number, study.study_date = now
        names = ("PatientID", "PatientName", "AccessionNumber", "StudyDate")
        changed = [name for name, old, new in zip(names, former, now, strict=True) if old != new]
        session.add(self._event(study.id, None, "", "", f"its images came with another {', '.join(changed)}"))

    @staticmethod
    def _came_from(session: Session, study_id: int, callers: Collection[str]) -> bool:
        query = select(Instance.id).where(Instance.study_id == study_id, Instance.calling_ae.in_(callers))
        return session.scalar(query.limit(1)) is not None

    def _add_job(self, session: Session, study: Study, plan: PlannedJob, now: float, priority: int) -> None:
        existing = session.scalar(select(Job).where(Job.key == plan.key))
        if existing is not None:
            self._come_again(session, existing, priority)
            newer = self._latest_of(session, existing, plan.stack)
            if newer is not None and not plan.correction:
                study.identity_conflict = (
                    f"they came again as they were before job {newer.id} revised job {existing.id}"
                )
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
            due_at=monotonic_time(),
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
        session.add(self._event(study_id, job.id, "", job.state.value, what))
        self._revise(session, job, plan.stack)

    def _come_again(self, session: Session, job: Job, priority: int) -> None:
        """Allow a job stand whose input came again; where its results were removed, they are made and sent anew.

        The key says that they become the same objects under the same UIDs, so that an archive knows them.
        """
        made = session.scalars(select(Result.removed_at).where(Result.job_id == job.id)).all()
        if job.state is not JobState.DONE or None in made or not made:
            session.add(self._event(job.study_id, job.id, "", "", "the same input came again: its job stands"))
            return
        job.attempts, job.interruptions, job.due_at, job.priority = 0, 0, monotonic_time(), priority
        self._move(session, job, JobState.QUEUED, "the same input came again after its results were removed")

    @staticmethod
    def _latest_of(session: Session, job: Job, stack: Stack) -> Job | None:
        """Return the network's job that revised another one of the same images with the same slices, if there is
        one.
        """
        images = {frame.sop_instance_uid for frame in stack.frames}
        newer = select(Job).where(Job.study_id == job.study_id, Job.id > job.id, Job.origin == JobOrigin.NETWORK)
        for other in session.scalars(newer.where(Job.state != JobState.SUPERSEDED).order_by(Job.id.desc())):
            same = STACK_JSON.validate_json(other.stack)
            if Flag.IDENTITY_CHANGED in same.flags and images == {frame.sop_instance_uid for frame in same.frames}:
                return other
        return None

    def _revise(self, session: Session, job: Job, stack: Stack) -> None:
        """Link a job to the one it revises: the latest of the study that used any of the same images.

        A correction lets the network end first (see `claim`), so that both results come, the person's last.
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
                self._replace(session, job, other)
            return

    def _replace(self, session: Session, job: Job, other: Job) -> None:
        """Put a job in the place of one whose result is not on its way; what was sent of that is revised."""
        job.predecessor_id = other.id if self._was_sent(session, other) else other.predecessor_id
        if other.state != JobState.SUPERSEDED:
            what = "a correction" if job.origin is JobOrigin.CORRECTION else "late images, or their corrected identity,"
            self._move(session, other, JobState.SUPERSEDED, f"{what} made job {job.id}")

    def returned_objects(self, study_id: int) -> list[ReturnedObject]:
        """Return a study's Segmentations, and the results of this node that were sent back to it, in order of
        arrival.
        """
        query = (
            select(Instance, Result.path)
            .outerjoin(Result, Result.sop_instance_uid == Instance.sop_instance_uid)
            .where(Instance.study_id == study_id, Instance.removed_at.is_(None))
            .where(Instance.sop_class_uid.in_(SEG_CLASSES) | Result.id.is_not(None))
            .order_by(Instance.id)
        )
        with self.reading() as session:
            return [
                ReturnedObject(
                    ReceivedSeg(Path(row.path), row.sop_class_uid, row.sop_instance_uid, row.series_instance_uid), own
                )
                for row, own in session.execute(query)
            ]

    @staticmethod
    def _was_sent(session: Session, job: Job) -> bool:
        sent = select(Delivery.id).where(Delivery.job_id == job.id, Delivery.state == DeliveryState.SENT).limit(1)
        return session.scalar(sent) is not None
