"""Studies: what was received, and what the last search found in them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger.model import PlannedJob, ReturnedObject
from scarnode.ledger.planning import add_job
from scarnode.ledger.store import Store
from scarnode.ledger.tables import ROUTINE, URGENT, Event, Instance, Result, Series, Study
from scarnode.pipeline.correct.model import SEG_CLASSES, ReceivedSeg
from scarnode.pipeline.stack import SeriesVerdict

FIRST_INSTANCE = "first instance received from "
"""Begins the reason of a study's first event."""


class Studies:
    """What was received, and what a search found in it: `Ledger.studies`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def known_paths(self) -> set[str]:
        """Return the spool-relative paths of all registered instances that were not removed."""
        with self._store.reading() as session:
            return set(session.scalars(select(Instance.path).where(Instance.removed_at.is_(None))))

    def known_among(self, paths: Sequence[str]) -> set[str]:
        """Return those of some spool-relative paths that are registered and were not removed."""
        found: set[str] = set()
        with self._store.reading() as session:
            for start in range(0, len(paths), 500):
                some = Instance.path.in_(paths[start : start + 500])
                found.update(session.scalars(select(Instance.path).where(some, Instance.removed_at.is_(None))))
        return found

    def add_instances(self, received: Sequence[ReceivedInstance]) -> None:
        """Register instances that lie in the spool.

        One that is known already makes no second row, but has its study searched again: whoever sends a study again
        wants an answer, perhaps after a setting was changed. The same input still makes no second job.
        A study is quiet from this moment on, not from the file's time, which a clock that jumps makes worthless.
        """
        now = self._store.clock.monotonic_time()
        with self._store.writing() as session:
            studies = _studies_of(self._store, session, received, now)
            paths = [one.path for one in received]
            rows = {row.path: row for row in session.scalars(select(Instance).where(Instance.path.in_(paths)))}
            added: list[Instance] = []
            for one in received:
                study = studies.get(one.study_instance_uid)
                known = rows.get(one.path)
                if known is not None:
                    known.received_at = one.received_at  # the file was replaced: see `Retention`
                    if study:
                        study.searched_instance = 0
                    continue
                row = rows[one.path] = Instance(
                    study_id=study.id if study else None,
                    series_instance_uid=one.series_instance_uid,
                    sop_instance_uid=one.sop_instance_uid,
                    sop_class_uid=one.sop_class_uid,
                    digest=one.digest,
                    path=one.path,
                    calling_ae=one.calling_ae,
                    received_at=one.received_at,
                    size=one.size,
                    problem=one.problem,
                )
                added.append(row)
                if study:
                    study.sources_removed_at = None
            session.add_all(added)
            session.flush()
            by_id = {study.id: study for study in studies.values()}
            for row in added:
                if row.study_id is not None:
                    study = by_id[row.study_id]
                    study.newest_instance = max(study.newest_instance, row.id)

    def quiet_studies(self, quiet_seconds: float, limit: int = 20, besides: Collection[int] = ()) -> list[int]:
        """Return studies (but those in `besides`) with unsearched instances, quiet for `quiet_seconds`, oldest
        first.
        """
        query = (
            select(Study.id)
            .where(Study.newest_instance > Study.searched_instance)
            .where(
                Study.last_received_at <= self._store.clock.monotonic_time() - quiet_seconds, Study.id.not_in(besides)
            )
            .order_by(Study.last_received_at)
            .limit(limit)
        )
        with self._store.reading() as session:
            return list(session.scalars(query))

    def is_unsearched(self, study_id: int) -> bool:
        """Return whether a study has instances that no search has seen."""
        query = select(Study.id).where(Study.id == study_id, Study.newest_instance > Study.searched_instance)
        with self._store.reading() as session:
            return session.scalar(query) is not None

    def unsearched_among(self, studies: Collection[int]) -> set[int]:
        """Return those of some studies that have instances that no search has seen."""
        query = select(Study.id).where(Study.id.in_(studies), Study.newest_instance > Study.searched_instance)
        with self._store.reading() as session:
            return set(session.scalars(query))

    def put_off_search(self, study_id: int, why: str) -> None:
        """Note that a search that was begun could not be made for now; the study's story says it once."""
        with self._store.writing() as session:
            study = session.get_one(Study, study_id)
            study.unended_searches = max(study.unended_searches - 1, 0)
            latest = select(Event.why).where(Event.study_id == study_id).order_by(Event.id.desc()).limit(1)
            if session.scalar(latest) != why:
                session.add(self._store.event(study_id, None, "", "", why))

    def search_again(self, studies: Sequence[int], why: str) -> None:
        """Mark studies to be searched anew, and forget what was wrong with their files: the search says it again."""
        with self._store.writing() as session:
            for study_id in studies:
                session.get_one(Study, study_id).searched_instance = 0
                session.execute(update(Instance).where(Instance.study_id == study_id).values(problem=""))
                session.add(self._store.event(study_id, None, "", "", why))

    def begin_search(self, study_id: int) -> int:
        """Note that a study is about to be searched; give how often that was begun before and came to no end."""
        with self._store.writing() as session:
            study = session.get_one(Study, study_id)
            study.unended_searches += 1
            return study.unended_searches - 1

    def study_files(self, study_id: int) -> tuple[int, list[str]]:
        """Return the id of the study's newest instance and the spool-relative paths of those there, as they came."""
        query = select(Instance.id, Instance.path, Instance.removed_at).where(Instance.study_id == study_id)
        with self._store.reading() as session:
            rows = session.execute(query.order_by(Instance.id)).all()
        return (rows[-1].id if rows else 0), [row.path for row in rows if row.removed_at is None]

    def last_arrivals(self, study_id: int) -> list[str]:
        """Return the spool-relative paths of a study's files in the order in which they came last: again, perhaps."""
        query = select(Instance.path).where(Instance.study_id == study_id, Instance.removed_at.is_(None))
        with self._store.reading() as session:
            return list(session.scalars(query.order_by(Instance.received_at, Instance.id)))

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
        now = self._store.clock.wall_time()
        with self._store.writing() as session:
            if newest_instance < session.get_one(Study, study_id).searched_instance:
                return  # it was cut off from the ledger, and another search has seen more meanwhile
            _write_verdicts(self._store, session, study_id, newest_instance, verdicts, problems or {})
            corrections = sum(plan.correction is not None for plan in planned)
            found = f"{len(planned) - corrections} short-axis LGE stacks, {corrections} corrections"
            why = note or f"study quiet: {len(verdicts)} series, {found}"
            session.add(self._store.event(study_id, None, "", "", why))
            priority = URGENT if planned and urgent and _came_from(session, study_id, urgent) else ROUTINE
            study = session.get_one(Study, study_id)
            study.identity_conflict = identity if isinstance(identity, str) else ""
            if isinstance(identity, ReceivedInstance):
                _rename(self._store, session, study, identity)
            for plan in planned:
                add_job(self._store, session, study, plan, now, priority)

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
        with self._store.reading() as session:
            return [
                ReturnedObject(
                    ReceivedSeg(Path(row.path), row.sop_class_uid, row.sop_instance_uid, row.series_instance_uid), own
                )
                for row, own in session.execute(query)
            ]


def _studies_of(store: Store, session: Session, received: Sequence[ReceivedInstance], now: float) -> dict[str, Study]:
    """Return the studies by their UIDs, new ones made; all of them were received `now`."""
    firsts: dict[str, ReceivedInstance] = {}
    for one in received:
        if one.study_instance_uid:
            firsts.setdefault(one.study_instance_uid, one)
    query = select(Study).where(Study.study_instance_uid.in_(firsts))
    studies = {study.study_instance_uid: study for study in session.scalars(query)}
    for study in studies.values():
        study.last_received_at = now
    new = {
        uid: Study(
            study_instance_uid=uid,
            patient_id=one.patient_id,
            patient_name=one.patient_name,
            accession_number=one.accession_number,
            study_date=one.study_date,
            calling_ae=one.calling_ae,
            first_received_at=one.received_at,
            last_received_at=now,
            newest_instance=0,
            searched_instance=0,
            unended_searches=0,
        )
        for uid, one in firsts.items()
        if uid not in studies
    }
    session.add_all(new.values())
    session.flush()
    for uid, study in new.items():
        session.add(store.event(study.id, None, "", "", FIRST_INSTANCE + firsts[uid].calling_ae))
    return {**studies, **new}


def _write_verdicts(
    store: Store,
    session: Session,
    study_id: int,
    newest_instance: int,
    verdicts: Sequence[SeriesVerdict],
    problems: Mapping[str, str],
) -> None:
    """Replace a study's verdicts, and note up to which instance it was searched."""
    now = store.clock.wall_time()
    session.execute(delete(Series).where(Series.study_id == study_id))
    session.add_all(
        Series(
            study_id=study_id,
            series_instance_uid=verdict.series_instance_uid[:128],
            verdict=verdict.verdict.value,
            reason=verdict.reason[:64],
            detail=verdict.detail,
            score=verdict.score,
            instances=verdict.instances,
            description=verdict.description,
            modality=verdict.modality[:32],
            searched_at=now,
        )
        for verdict in verdicts
    )
    ended = {"searched_instance": newest_instance, "unended_searches": 0}
    session.execute(update(Study).where(Study.id == study_id).values(**ended))
    for path, problem in problems.items():
        session.execute(update(Instance).where(Instance.path == path).values(problem=problem))


def _rename(store: Store, session: Session, study: Study, told: ReceivedInstance) -> None:
    """List a study under the patient and numbers that its images have now."""
    former = (study.patient_id, study.patient_name, study.accession_number, study.study_date)
    now = (told.patient_id, told.patient_name, told.accession_number, told.study_date)
    if former == now:
        return
    study.patient_id, study.patient_name, study.accession_number, study.study_date = now
    names = ("PatientID", "PatientName", "AccessionNumber", "StudyDate")
    changed = [name for name, old, new in zip(names, former, now, strict=True) if old != new]
    session.add(store.event(study.id, None, "", "", f"its images came with another {', '.join(changed)}"))


def _came_from(session: Session, study_id: int, callers: Collection[str]) -> bool:
    query = select(Instance.id).where(Instance.study_id == study_id, Instance.calling_ae.in_(callers))
    return session.scalar(query.limit(1)) is not None
