"""What may be deleted: images and results of studies for which nothing more is to be done, oldest first."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

from sqlalchemy import ColumnElement, Select, exists, select

from scarnode.dicom.scp import Spool
from scarnode.ledger.deliveries import settled
from scarnode.ledger.states import DeliveryState, JobState
from scarnode.ledger.store import Store
from scarnode.ledger.tables import Delivery, Instance, Job, Result, Series, Study
from scarnode.util.errors import SystemFaultError, system_fault

log = logging.getLogger(__name__)

GONE = ".removed-"
"""Begins the name of a folder of results that is being deleted."""


def through() -> ColumnElement[bool]:
    """Return whether nothing more is to be done for a study: the one place that says what may be deleted.

    It was searched, and the search did not fail. Every job has ended well, by a result or by one in its place: none
    is unfinished, held or failed. Every result is with everyone who should get it (sent, and committed where that is
    asked: `scarnode.ledger.deliveries.settled`), and with someone.
    """
    jobs = select(Job.id).where(Job.study_id == Study.id)
    unfinished = jobs.where(Job.state.not_in((JobState.DONE, JobState.SUPERSEDED)))
    done = jobs.where(Job.state == JobState.DONE)
    sent = exists().where(Delivery.job_id == Job.id, Delivery.state == DeliveryState.SENT)
    unsent = exists().where(Delivery.job_id == Job.id, ~settled())
    search_failed = select(Series.id).where(Series.study_id == Study.id, Series.reason == "SEARCH_FAILED")
    return (
        (Study.newest_instance <= Study.searched_instance)
        & ~search_failed.exists()
        & ~unfinished.exists()
        & ~done.where(~sent | unsent).exists()
    )


@dataclass(frozen=True)
class Removal:
    """Files of one study that the ledger has marked as removed, and that are to be deleted now.

    Attributes
    ----------
    sources : tuple of (str, float)
        Spool-relative path, and the time of the file that was registered: a newer one came after that, and stays.
    results : tuple of str
        Folders below the results folder.
    """

    study_id: int
    sources: tuple[tuple[str, float], ...] = ()
    results: tuple[str, ...] = ()


class Retention:
    """What may be deleted, and what was: `Ledger.retention`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def removable(self, sources_before: float | None, results_before: float | None, limit: int = 20) -> list[int]:
        """Return studies with something to delete, oldest first.

        Parameters
        ----------
        sources_before, results_before : float or None
            Of which nothing came, and no job ended, since then (UTC seconds); None: not these files.
        """
        wanted = ((sources_before, _has_sources()), (results_before, _has_results()))
        found: set[tuple[float, int]] = set()
        with self._store.reading() as session:
            for before, has in wanted:  # one by one: each has an index of what is still there, both together have none
                if before is not None:
                    query = select(Study.last_received_at, Study.id).where(has, _older(before), through())
                    query = query.order_by(Study.last_received_at, Study.id).limit(limit)
                    found.update((row.last_received_at, row.id) for row in session.execute(query))
        return [study for _, study in sorted(found)[:limit]]

    def mark_removed(
        self, study_id: int, sources_before: float | None, results_before: float | None, why: str
    ) -> Removal | None:
        """Mark a study's files as removed, if it still is as `removable` found it; only then they may be deleted.

        The rows stay. An instance's row gets another path, so that the same file, sent again, is a new one.

        Parameters
        ----------
        sources_before, results_before : float or None
            As of `removable`.
        why : str
            For the event row.
        """
        now = self._store.clock.wall_time()
        with self._store.writing() as session:
            study = session.scalar(select(Study).where(Study.id == study_id, through()).with_for_update())
            if study is None:
                return None
            instances: list[Instance] = []
            results: list[Result] = []
            if sources_before is not None and session.scalar(_this(study_id, _older(sources_before))):
                query = select(Instance).where(Instance.study_id == study_id, Instance.removed_at.is_(None))
                instances = list(session.scalars(query))
            if results_before is not None and session.scalar(_this(study_id, _older(results_before))):
                of_study = select(Result).join(Job, Job.id == Result.job_id).where(Job.study_id == study_id)
                results = list(session.scalars(of_study.where(Result.removed_at.is_(None))))
            removal = Removal(
                study_id,
                tuple((row.path, row.received_at) for row in instances),
                tuple(sorted({Path(row.path).parts[0] for row in results})),
            )
            for row in instances:
                row.removed_at, row.path = now, f"{row.path}#{row.id}"
            for result in results:
                result.removed_at = now
            if instances:
                study.sources_removed_at = now
                amount = f"{sum(row.size for row in instances) / 1e6:.1f} MB"
                note = f"{len(instances)} images ({amount}) removed from this machine: {why}"
                session.add(self._store.event(study_id, None, "", "", note))
            for job_id in sorted({row.job_id for row in results}):
                session.add(
                    self._store.event(study_id, job_id, "", "", f"its results removed from this machine: {why}")
                )
            return removal

    def was_removed(self, path: str, received_at: float) -> bool:
        """Return whether a file that lies in the spool is one that was marked as removed (the node ended before
        more).
        """
        digest = Path(path).stem.rsplit(".", 1)[-1]
        query = select(Instance.id).where(
            Instance.digest == digest,
            Instance.path.startswith(path + "#", autoescape=True),
            Instance.removed_at.is_not(None),
            Instance.received_at == received_at,
        )
        with self._store.reading() as session:
            return session.scalar(query.limit(1)) is not None

    def removed_results(self, folders: list[str]) -> list[str]:
        """Return those of the results' folders (named after job keys) whose results are marked as removed."""
        found: list[str] = []
        gone = exists().where(Result.job_id == Job.id, Result.removed_at.is_not(None))
        there = exists().where(Result.job_id == Job.id, Result.removed_at.is_(None))
        ended = Job.state.in_((JobState.DONE, JobState.SUPERSEDED))  # one that was queued again writes to the folder
        with self._store.reading() as session:
            for start in range(0, len(folders), 500):
                some = Job.key.in_(folders[start : start + 500])
                found += session.scalars(select(Job.key).where(some, ended, gone, ~there))
        return found


def _older(before: float) -> ColumnElement[bool]:
    """Return whether nothing came for a study, and none of its jobs ended, since a moment."""
    later = exists().where(Job.study_id == Study.id, Job.finished_at > before)
    return (Study.last_received_at <= before) & ~later


def _has_sources() -> ColumnElement[bool]:
    return Study.sources_removed_at.is_(None)


def _has_results() -> ColumnElement[bool]:
    return Study.id.in_(select(Job.study_id).join(Result, Result.job_id == Job.id).where(Result.removed_at.is_(None)))


def _this(study_id: int, condition: ColumnElement[bool]) -> Select[Any]:
    return select(Study.id).where(Study.id == study_id, condition)


def delete_files(removal: Removal, spool: Spool, results: Path) -> tuple[Removal, SystemFaultError | None]:
    """Delete what was marked; what is gone already is no fault.

    The caller has the study's turn: it is not searched meanwhile, for a job that is queued again writes to its folder.

    Returns
    -------
    Removal
        What the machine could not delete.
    SystemFaultError or None
        Why.
    """
    kept, left, folders = 0, [], []
    fault: SystemFaultError | None = None
    for path, at in removal.sources:
        try:
            kept += not spool.remove(spool.root / path, at)
        except OSError as error:
            fault = system_fault(error) or fault
            left.append((path, at))
    for folder in removal.results:
        try:
            _remove_folder(results / folder)
        except OSError as error:
            fault = system_fault(error) or fault
            folders.append(folder)
    counts = (removal.study_id, len(removal.sources) - kept - len(left), len(removal.results) - len(folders))
    log.info("study %d: %d images and the results of %d jobs removed", *counts)
    return Removal(removal.study_id, tuple(left), tuple(folders)), fault


def finish_deleting(retention: Retention, results: Path) -> None:
    """Delete results that were marked before the node ended; called at start. Images: `Registrar.recover`."""
    folders = [path.name for path in results.iterdir() if path.is_dir()]
    for folder in retention.removed_results(folders):
        with suppress(OSError):
            _remove_folder(results / folder)
    for left_over in results.glob(f"{GONE}*"):
        shutil.rmtree(left_over, ignore_errors=True)


def _remove_folder(folder: Path) -> None:
    """Delete a folder that goes out of the way first: who makes it anew meanwhile keeps what is new."""
    gone = folder.with_name(f"{GONE}{uuid4().hex}")
    with suppress(FileNotFoundError):
        folder.rename(gone)
        shutil.rmtree(gone, ignore_errors=True)
