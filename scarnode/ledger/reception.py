"""What was received: instances, their studies, and what the last search found in them. The lower half of the ledger."""

from __future__ import annotations

import copy
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger.data_version import DataVersion
from scarnode.ledger.database import READ_ONLY, files_of, open_engine
from scarnode.ledger.postgres import database_clock
from scarnode.ledger.schema import require_current, upgrade
from scarnode.ledger.tables import Event, Instance, Series, Study
from scarnode.pipeline.stack import SeriesVerdict
from scarnode.util.clock import align, monotonic_time

L = TypeVar("L", bound="Reception")

FIRST_INSTANCE = "first instance received from "
"""Begins the reason of a study's first event."""


class Reception:
    """The ledger's account of instances and studies; `scarnode.ledger.Ledger` adds the jobs.

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

    def __init__(self, url: str, actor: str, migrate: bool = True) -> None:
        self.actor = actor
        self.engine = open_engine(url)
        self.changes = DataVersion(self.engine)
        self.shared = self.engine.dialect.name != "sqlite"
        """Whether other machines may use it too: then time is told by its clock (`scarnode.util.clock.align`)."""
        if migrate:
            upgrade(self.engine)
        else:
            require_current(self.engine)
        if self.shared:
            align(database_clock(self.engine))

    def in_name_of(self: L, actor: str) -> L:
        """Return the same ledger, on the same connections, for changes that another makes."""
        ledger = copy.copy(self)
        ledger.actor = actor
        return ledger

    def file_fault(self) -> str:
        """Return what became of a SQLite ledger's files: see `scarnode.ledger.sqlite_file.LedgerFiles.fault`."""
        files = files_of(self.engine)
        return files.fault() if files else ""

    def close(self) -> None:
        """Return the database connections."""
        if self.file_fault():  # SQLite's last close would delete by name what is no longer ours
            return
        self.changes.close()
        self.engine.dispose()

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Open a session that sees one consistent state and waits for nobody."""
        options = READ_ONLY[self.engine.dialect.name]
        with self.engine.connect().execution_options(**options) as connection, Session(connection) as session:
            yield session

    @contextmanager
    def _writing(self) -> Iterator[Session]:
        with Session(self.engine) as session, session.begin():
            yield session

    # -- what was received -------------------------------------------------------------------------------------------

    def known_paths(self) -> set[str]:
        """Return the spool-relative paths of all registered instances that were not removed."""
        with self.reading() as session:
            return set(session.scalars(select(Instance.path).where(Instance.removed_at.is_(None))))

    def known_among(self, paths: Sequence[str]) -> set[str]:
        """Return those of some spool-relative paths that are registered and were not removed."""
        found: set[str] = set()
        with self.reading() as session:
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
        now = monotonic_time()
        with self._writing() as session:
            studies = self._studies_of(session, received, now)
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

    def _studies_of(self, session: Session, received: Sequence[ReceivedInstance], now: float) -> dict[str, Study]:
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
            session.add(self._event(study.id, None, "", "", FIRST_INSTANCE + firsts[uid].calling_ae))
        return {**studies, **new}

    # -- studies ------------------------------------------------------------------------------------------------------

    def quiet_studies(self, quiet_seconds: float, limit: int = 20, besides: Collection[int] = ()) -> list[int]:
        """Return studies (but those in `besides`) with unsearched instances, quiet for `quiet_seconds`, oldest
        first.
        """
        query = (
            select(Study.id)
            .where(Study.newest_instance > Study.searched_instance)
            .where(Study.last_received_at <= monotonic_time() - quiet_seconds, Study.id.not_in(besides))
            .order_by(Study.last_received_at)
            .limit(limit)
        )
        with self.reading() as session:
            return list(session.scalars(query))

    def is_unsearched(self, study_id: int) -> bool:
        """Return whether a study has instances that no search has seen."""
        query = select(Study.id).where(Study.id == study_id, Study.newest_instance > Study.searched_instance)
        with self.reading() as session:
            return session.scalar(query) is not None

    def unsearched_among(self, studies: Collection[int]) -> set[int]:
        """Return those of some studies that have instances that no search has seen."""
        query = select(Study.id).where(Study.id.in_(studies), Study.newest_instance > Study.searched_instance)
        with self.reading() as session:
            return set(session.scalars(query))

    def put_off_search(self, study_id: int, why: str) -> None:
        """Note that a search that was begun could not be made for now; the study's story says it once."""
        with self._writing() as session:
            study = session.get_one(Study, study_id)
            study.unended_searches = max(study.unended_searches - 1, 0)
            latest = select(Event.why).where(Event.study_id == study_id).order_by(Event.id.desc()).limit(1)
            if session.scalar(latest) != why:
                session.add(self._event(study_id, None, "", "", why))

    def search_again(self, studies: Sequence[int], why: str) -> None:
        """Mark studies to be searched anew, and forget what was wrong with their files: the search says it again."""
        with self._writing() as session:
            for study_id in studies:
                session.get_one(Study, study_id).searched_instance = 0
                session.execute(update(Instance).where(Instance.study_id == study_id).values(problem=""))
                session.add(self._event(study_id, None, "", "", why))

    def begin_search(self, study_id: int) -> int:
        """Note that a study is about to be searched; give how often that was begun before and came to no end."""
        with self._writing() as session:
            study = session.get_one(Study, study_id)
            study.unended_searches += 1
            return study.unended_searches - 1

    def study_files(self, study_id: int) -> tuple[int, list[str]]:
        """Return the id of the study's newest instance and the spool-relative paths of those there, as they came."""
        query = select(Instance.id, Instance.path, Instance.removed_at).where(Instance.study_id == study_id)
        with self.reading() as session:
            rows = session.execute(query.order_by(Instance.id)).all()
        return (rows[-1].id if rows else 0), [row.path for row in rows if row.removed_at is None]

    def last_arrivals(self, study_id: int) -> list[str]:
        """Return the spool-relative paths of a study's files in the order in which they came last: again, perhaps."""
        query = select(Instance.path).where(Instance.study_id == study_id, Instance.removed_at.is_(None))
        with self.reading() as session:
            return list(session.scalars(query.order_by(Instance.received_at, Instance.id)))

    def _write_verdicts(
        self,
        session: Session,
        study_id: int,
        newest_instance: int,
        verdicts: Sequence[SeriesVerdict],
        problems: Mapping[str, str],
    ) -> None:
        """Replace a study's verdicts, and note up to which instance it was searched."""
        now = time.time()
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

    def _event(self, study_id: int, job_id: int | None, old: str, new: str, why: str) -> Event:
        return Event(
            study_id=study_id, job_id=job_id, at=time.time(), actor=self.actor, from_state=old, to_state=new, why=why
        )
