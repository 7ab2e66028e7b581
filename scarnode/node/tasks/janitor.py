"""Deletes what retention allows: by age, and where the disk is near full."""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from scarnode.audit import AuditTrail, record_deleted
from scarnode.dicom.scp import Spool
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.retention import Removal, delete_files
from scarnode.ledger.selftests import delete_left_over
from scarnode.ledger.task_locks import TaskLocks
from scarnode.node.postponed import DELETION, PutOffs
from scarnode.node.tasks.disk_space import DiskWatch
from scarnode.node.tasks.search import study_lock_of
from scarnode.util.clock import monotonic_time

if TYPE_CHECKING:
    from scarnode.config import RetentionSection

log = logging.getLogger(__name__)

DAY = 86400.0
PACE = 60.0
"""Seconds between looks for what has come of age."""

SELF_TESTS = 5.0
"""Seconds between looks for what self-tests left."""


class Janitor:
    """Deletes sources and results of studies that are through (`scarnode.ledger.retention.through`), oldest first.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool
    results : Path
    disks : DiskWatch
        Tells when room is needed.
    settings : RetentionSection
    turns : Turns
        A study's (`scarnode.node.tasks.search.study_lock_of`) is had while it is searched for stacks, and here while
        its
        files are
        deleted: a job that is queued again writes to the same folder.
    audit : AuditTrail, optional
        Is told of every study whose images go.
    put_offs : PutOffs, optional
        Is told of files that the machine can not delete for now.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        results: Path,
        disks: DiskWatch,
        settings: RetentionSection,
        task_locks: TaskLocks,
        audit: AuditTrail | None = None,
        put_offs: PutOffs | None = None,
    ) -> None:
        self._ledger, self._spool, self._results, self._disks = ledger, spool, results, disks
        self.settings, self._task_locks, self._audit = settings, task_locks, audit
        self._put_offs = put_offs or PutOffs()
        self._left: dict[int, Removal] = {}
        self._next = self._next_self_tests = 0.0

    def look(self) -> None:
        """Delete what is due; called every second. Nothing is marked as deleted on a disk that is away."""
        if self._disks.away():
            return
        self._delete_left()
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + PACE
            self._by_age()
        if self.settings.free_when_full:
            self._for_room()
        if time.monotonic() >= self._next_self_tests:
            self._next_self_tests = time.monotonic() + SELF_TESTS
            self._forget_self_tests()

    def _by_age(self) -> None:
        sources, results = self._before(self.settings.sources_days), self._before(self.settings.results_days)
        while studies := self._ledger.retention.removable(sources, results):
            removed = [self._remove(study, sources, results, "kept long enough") for study in studies]
            if not any(removed):
                return

    def _for_room(self) -> None:
        now = monotonic_time()
        for name, sources, results in (("spool", now, None), ("results", None, now)):
            while self._disks.near_full(name) and (
                studies := self._ledger.retention.removable(sources, results, limit=1)
            ):
                if not self._remove(studies[0], sources, results, "the disk is near full"):
                    return

    def _remove(self, study: int, sources: float | None, results: float | None, why: str) -> bool:
        with self._task_locks.turn(study_lock_of(study)) as mine:
            if mine is None:
                return False
            removal = self._ledger.retention.mark_removed(study, sources, results, why)
            if removal is None:
                return False
            if self._audit:
                record_deleted(self._audit, [self._spool.root / path for path, _ in removal.sources])
            self._delete(removal)
        return True

    def _delete(self, removal: Removal) -> None:
        left, fault = delete_files(removal, self._spool, self._results)
        if fault is None:
            self._left.pop(removal.study_id, None)
            self._put_offs.over(DELETION, removal.study_id)
        else:
            self._left[removal.study_id] = left
            self._put_offs.note(DELETION, removal.study_id, fault, True)
            log.error("study %d: its files can not be deleted (%s): trying again", removal.study_id, fault.why)

    def _delete_left(self) -> None:
        """Delete what the machine could not delete before; at a restart the start does."""
        waiting = self._put_offs.waiting(DELETION)
        for study in [study for study in self._left if study not in waiting]:
            with self._task_locks.turn(study_lock_of(study)) as mine:
                if mine is not None:
                    left = self._left[study]
                    still = self._ledger.retention.removed_results(
                        list(left.results)
                    )  # a job that was queued again writes there
                    self._delete(replace(left, results=tuple(still)))

    def _forget_self_tests(self) -> None:
        """Delete what self-tests left: files first, for a file without a row would be taken up at the next start."""
        for left in self._ledger.self_tests.ended_self_tests():
            with self._task_locks.turn(study_lock_of(left.study_id)) as mine:
                if mine is None:
                    continue
                delete_left_over(left, self._spool.root, self._results)
                self._ledger.self_tests.forget_self_test(left.study_id)

    @staticmethod
    def _before(days: float) -> float | None:
        return monotonic_time() - days * DAY if days else None
