"""Deletes what retention allows: by age, and where the disk is near full."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from scarnode.audit import AuditTrail, tell_deleted
from scarnode.clock import steady
from scarnode.jobs.diskwatch import DiskWatch
from scarnode.jobs.ledger import Ledger
from scarnode.jobs.retention import delete_files
from scarnode.jobs.search import turn_of
from scarnode.jobs.selftests import delete_left_over
from scarnode.jobs.turns import Turns
from scarnode.receive import Spool

if TYPE_CHECKING:
    from scarnode.config import RetentionSection

DAY = 86400.0
PACE = 60.0
"""Seconds between looks for what has come of age."""

SELF_TESTS = 5.0
"""Seconds between looks for what self-tests left."""


class Janitor:
    """Deletes sources and results of studies that are through (`scarnode.jobs.retention.through`), oldest first.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool
    results : Path
    disks : DiskWatch
        Tells when room is needed.
    settings : RetentionSection
    turns : Turns
        A study's (`scarnode.jobs.search.turn_of`) is had while it is searched for stacks, and here while its files are
        deleted: a job that is queued again writes to the same folder.
    audit : AuditTrail, optional
        Is told of every study whose images go.
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        results: Path,
        disks: DiskWatch,
        settings: RetentionSection,
        turns: Turns,
        audit: AuditTrail | None = None,
    ) -> None:
        self._ledger, self._spool, self._results, self._disks = ledger, spool, results, disks
        self.settings, self._turns, self._audit = settings, turns, audit
        self._next = self._next_self_tests = 0.0

    def look(self) -> None:
        """Delete what is due; called every second."""
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
        while studies := self._ledger.removable(sources, results):
            removed = [self._remove(study, sources, results, "kept long enough") for study in studies]
            if not any(removed):
                return

    def _for_room(self) -> None:
        now = steady()
        for name, sources, results in (("spool", now, None), ("results", None, now)):
            while self._disks.near_full(name) and (studies := self._ledger.removable(sources, results, limit=1)):
                if not self._remove(studies[0], sources, results, "the disk is near full"):
                    return

    def _remove(self, study: int, sources: float | None, results: float | None, why: str) -> bool:
        with self._turns.turn(turn_of(study)) as mine:
            if mine is None:
                return False
            removal = self._ledger.mark_removed(study, sources, results, why)
            if removal is None:
                return False
            if self._audit:
                tell_deleted(self._audit, [self._spool.root / path for path, _ in removal.sources])
            delete_files(removal, self._spool, self._results)
        return True

    def _forget_self_tests(self) -> None:
        """Delete what self-tests left: files first, for a file without a row would be taken up at the next start."""
        for left in self._ledger.ended_self_tests():
            with self._turns.turn(turn_of(left.study_id)) as mine:
                if mine is None:
                    continue
                delete_left_over(left, self._spool.root, self._results)
                self._ledger.forget_self_test(left.study_id)

    @staticmethod
    def _before(days: float) -> float | None:
        return steady() - days * DAY if days else None
