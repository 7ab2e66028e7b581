"""The ledger's account of self-tests: synthetic studies of which nothing is sent, and nothing stays."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from scarnode.ledger.states import JobState
from scarnode.ledger.store import Store
from scarnode.ledger.tables import (
    Commitment,
    CommitmentRequest,
    Delivery,
    Event,
    Instance,
    Job,
    Result,
    SelfTest,
    Study,
)
from scarnode.ledger.tables import Series as SeriesRow

FORGOTTEN = 6 * 3600.0
"""Seconds after which a self-test that nobody ended is over: its doctor was killed."""


@dataclass(frozen=True)
class LeftOver:
    """What a self-test that is over left on this machine; paths count from the spool and from the results folder."""

    study_id: int
    sources: tuple[str, ...]
    results: tuple[str, ...]


class SelfTests:
    """Self-tests, their beginning and their end: `Ledger.self_tests`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def begin_self_test(self, study_uid: str) -> None:
        """Note that a study is synthetic, before it is sent: the node sends nothing of it anywhere."""
        with self._store.writing() as session:
            session.add(SelfTest(study_instance_uid=study_uid, begun_at=self._store.clock.wall_time(), ended_at=None))

    def end_self_test(self, study_uid: str) -> None:
        """Note that a self-test is over: the node deletes what it left."""
        with self._store.writing() as session:
            row = session.scalar(select(SelfTest).where(SelfTest.study_instance_uid == study_uid))
            if row is not None:
                row.ended_at = self._store.clock.wall_time()

    def ended_self_tests(self) -> list[LeftOver]:
        """Return what self-tests that are over left; empty where there is nothing."""
        over = or_(SelfTest.ended_at.is_not(None), SelfTest.begun_at < self._store.clock.wall_time() - FORGOTTEN)
        running = exists().where(Job.study_id == Study.id, Job.state == JobState.RUNNING)  # it would write more
        query = select(Study.id).join(SelfTest, SelfTest.study_instance_uid == Study.study_instance_uid)
        query = query.where(over, ~running)
        with self._store.reading() as session:
            return [
                LeftOver(
                    study,
                    tuple(session.scalars(select(Instance.path).where(Instance.study_id == study))),
                    tuple(session.scalars(select(Job.key).where(Job.study_id == study))),
                )
                for study in session.scalars(query).all()
            ]

    def forget_self_test(self, study_id: int) -> None:
        """Delete every row of a self-test's study, but the one that says that it is one."""
        jobs = select(Job.id).where(Job.study_id == study_id)
        deliveries = select(Delivery.id).where(Delivery.job_id.in_(jobs))
        with self._store.writing() as session:
            session.execute(delete(Commitment).where(Commitment.delivery_id.in_(deliveries)))
            session.execute(delete(CommitmentRequest).where(CommitmentRequest.job_id.in_(jobs)))
            session.execute(delete(Delivery).where(Delivery.job_id.in_(jobs)))
            session.execute(delete(Result).where(Result.job_id.in_(jobs)))
            session.execute(delete(Event).where(or_(Event.study_id == study_id, Event.job_id.in_(jobs))))
            for kind in (Job, SeriesRow, Instance):
                session.execute(delete(kind).where(kind.study_id == study_id))
            session.execute(delete(Study).where(Study.id == study_id))


def is_self_test(session: Session, study_id: int) -> bool:
    """Return whether a study of the ledger is one of a self-test: nothing of it may be sent anywhere."""
    query = select(SelfTest.id).join(Study, Study.study_instance_uid == SelfTest.study_instance_uid)
    return session.scalar(query.where(Study.id == study_id)) is not None


def delete_left_over(left: LeftOver, spool: Path, results: Path) -> None:
    """Delete a self-test's files; what is gone already is no fault."""
    for path in left.sources:
        (spool / path.partition("#")[0]).unlink(missing_ok=True)
    for key in left.results:
        shutil.rmtree(results / key, ignore_errors=True)
