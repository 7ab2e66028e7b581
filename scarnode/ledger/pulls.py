"""The ledger's account of what was pulled from archives, and of the runs of nightly rules."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Select, func, select

from scarnode.ledger.store import Store
from scarnode.ledger.tables import Instance, Pulled, PullRun, Study


@dataclass(frozen=True)
class Run:
    """A run of a nightly rule; times are UTC seconds since 1970."""

    rule: str
    begun_at: float
    ended_at: float | None
    pulled: int
    failed: int
    left_over: int
    detail: str


class Pulls:
    """What was pulled from archives, and the runs of nightly rules: `Ledger.pulls`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def arrived(self, study_uid: str, series: Collection[str] = ()) -> int:
        """Return how many images of a study, and of these series (none: of all), were ever registered."""
        query = select(func.count(Instance.sop_instance_uid.distinct())).join(Study)
        query = query.where(Study.study_instance_uid == study_uid)
        if series:
            query = query.where(Instance.series_instance_uid.in_(series))
        with self._store.reading() as session:
            return session.scalar(query) or 0

    def was_pulled(self, source: str, study_uid: str, instances: int | None) -> bool:
        """Return whether a study was pulled and has, as far as its archive says, no other number of instances since."""
        with self._store.reading() as session:
            row = session.scalar(_pulled(source, study_uid))
            return row is not None and (instances is None or row.instances in (None, instances))

    def note_pulled(self, source: str, study_uid: str, instances: int | None) -> None:
        """Note that all of a study was pulled."""
        with self._store.writing() as session:
            row = session.scalar(_pulled(source, study_uid))
            if row is None:
                row = Pulled(source=source, study_instance_uid=study_uid)
                session.add(row)
            row.instances, row.pulled_at = instances, self._store.clock.wall_time()

    def begin_pull_run(self, rule: str) -> int:
        """Note that a rule is run now; give the run's id."""
        row = PullRun(
            rule=rule, begun_at=self._store.clock.wall_time(), ended_at=None, pulled=0, failed=0, left_over=0, detail=""
        )
        with self._store.writing() as session:
            session.add(row)
            session.flush()
            return row.id

    def end_pull_run(self, run: int, pulled: int, failed: int, left_over: int, detail: str) -> None:
        """Note how a run ended."""
        with self._store.writing() as session:
            row = session.get_one(PullRun, run)
            row.pulled, row.failed, row.left_over, row.detail = pulled, failed, left_over, detail
            row.ended_at = self._store.clock.wall_time()

    def last_pull_run(self, rule: str) -> Run | None:
        """Return a rule's latest run."""
        query = select(PullRun).where(PullRun.rule == rule).order_by(PullRun.id.desc()).limit(1)
        with self._store.reading() as session:
            row = session.scalar(query)
            if row is None:
                return None
            return Run(row.rule, row.begun_at, row.ended_at, row.pulled, row.failed, row.left_over, row.detail)


def _pulled(source: str, study_uid: str) -> Select[Pulled]:
    return select(Pulled).where(Pulled.source == source, Pulled.study_instance_uid == study_uid)
