"""The role that works: processes that hold the network, and the jobs they take from the ledger."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial

from scarnode.errors import SystemFaultError
from scarnode.jobs.away import write_down
from scarnode.jobs.line import Failure, Nothing, PutOff
from scarnode.jobs.memory import share_of_memory
from scarnode.jobs.model import Analysed, ClaimedJob
from scarnode.jobs.putoff import JOB
from scarnode.jobs.worker import Worker, WorkerError, WorkerSettings
from scarnode.roles.common import Common, Tasks

log = logging.getLogger(__name__)

LOADING_PAUSE = 5.0
"""Seconds until a worker that could not load the network is started again."""

GONE = "a source image is gone from the spool: receive the study again"
"""Why a job fails that misses a file for good."""

LEASE_MARGIN = 60.0
"""Seconds by which a lease outlives the worker's time limit."""


class Working:
    """Runs queued jobs in worker processes.

    Parameters
    ----------
    common : Common
    analysed : callable
        Told the seconds that each analysis took.
    """

    def __init__(self, common: Common, analysed: Callable[[float], None] = lambda seconds: None) -> None:
        self._common, self._analysed = common, analysed
        self._load_again: dict[int, float] = {}
        segment = common.settings.segment
        self.workers = [Worker(self._worker_settings(), segment.time_limit_seconds) for _ in range(segment.workers)]
        common.dispatcher.listen(lambda: common.wake("work"))

    def recover(self) -> int:
        """Put back the jobs that were running when this machine's node ended without a word."""
        # on a server the others have done so, or will once this process's predecessor was silent for long enough
        return 0 if self._common.shared else self._common.ledger.requeue_interrupted(self._common.host)

    def tasks(self) -> Tasks:
        """Give what is to be called every second."""
        tasks: dict[str, Callable[[], object]] = {"leases": self._common.guard("leases", self._end_lost_leases)}
        for slot, worker in enumerate(self.workers):
            tasks[f"work-{slot}"] = partial(self._work, slot, worker)
        return tasks

    def take_over(self) -> None:
        """Have the next jobs run by other settings."""
        for worker in self.workers:
            worker.renew(self._worker_settings(), self._common.settings.segment.time_limit_seconds)

    def stop(self) -> None:
        """End the workers: what they run goes back to the queue."""
        for worker in self.workers:
            worker.stop()

    def _worker_settings(self) -> WorkerSettings:
        settings = self._common.settings
        segment = settings.segment
        bound = segment.memory_limit_gigabytes
        return WorkerSettings(
            weights=segment.weights,
            device=segment.device,
            threads=segment.threads or max(1, (os.cpu_count() or 1) // segment.workers),
            spool=settings.spool.path,
            results=settings.results.path,
            kinds=settings.kinds(),
            sha256=self._common.model.sha256,
            memory=share_of_memory(segment.workers) if bound is None else bound,
            floor=settings.spool.floor(),
        )

    def _work(self, slot: int, worker: Worker) -> None:
        """Run queued jobs in this slot's worker until there is none."""
        common = self._common
        if not common.dispatcher.look_now(f"work-{slot}"):
            return
        while not common.stopping.is_set() and not common.disks.work_waits() and self._ready(slot, worker):
            limit = common.settings.segment.time_limit_seconds
            claimed = common.ledger.claim(f"{common.owner}:{slot}", limit + LEASE_MARGIN)
            if claimed is None:
                return
            try:
                outcome: Analysed | Failure | Nothing | PutOff = worker.run(claimed)
            except WorkerError as death:
                if common.stopping.is_set():
                    common.ledger.interrupt(claimed)
                    return
                log.error("job %d: %s", claimed.id, death)
                outcome = Failure(str(death), permanent=False)
            pause = 0.0
            if isinstance(outcome, PutOff):
                fault = SystemFaultError(outcome.why, number=outcome.number)
                pause = common.put_offs.note(JOB, claimed.id, fault, not common.disks.away())
                if common.put_offs.is_gone(JOB, claimed.id):
                    outcome = Failure(GONE, permanent=True)
                else:
                    log.error("job %d is put off: %s", claimed.id, outcome.why)
            if not isinstance(outcome, PutOff):
                common.put_offs.over(JOB, claimed.id)
            # should the job be another's by then, the ledger drops this outcome
            write = partial(self._write_down, claimed, outcome, pause)
            write_down(common.ledger, f"job {claimed.id}", write, common.stopping)

    def _write_down(self, claimed: ClaimedJob, outcome: Analysed | Failure | Nothing | PutOff, pause: float) -> None:
        common = self._common
        segment, study = common.settings.segment, common.settings.study
        if isinstance(outcome, PutOff):
            common.ledger.postpone(claimed, outcome.why, pause)
        elif isinstance(outcome, Nothing):
            common.ledger.drop(claimed, outcome.why)
            log.info("job %d: %s", claimed.id, outcome.why)
        elif isinstance(outcome, Failure):
            common.ledger.fail(claimed, outcome.why, segment.max_attempts, outcome.permanent)
        else:
            common.ledger.finish(claimed, outcome, common.objects, study.hold_flags)
            self._analysed(outcome.seconds)
            log.info("job %d: analysed in %.1f s", claimed.id, outcome.seconds)
            common.wake("deliver")

    def _ready(self, slot: int, worker: Worker) -> bool:
        """Have the slot's worker hold the network; where it can not, the jobs wait, and an alarm says why."""
        if time.monotonic() < self._load_again.get(slot, 0.0):
            return False
        alarm = self._common.alarm(f"worker_{slot}")
        try:
            worker.start()
        except WorkerError as death:
            if not self._common.stopping.is_set():
                self._load_again[slot] = time.monotonic() + LOADING_PAUSE
                self._common.ledger.set_alarm(alarm, str(death))
                log.error("worker %d: %s", slot, death)
            return False
        self._common.ledger.set_alarm(alarm, "")
        return True

    def _end_lost_leases(self) -> None:
        if self._common.sure():
            self._common.ledger.fail_expired(self._common.settings.segment.max_attempts)
