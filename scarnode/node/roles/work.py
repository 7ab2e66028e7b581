"""The role that works: processes that hold the network, and the jobs they take from the ledger."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable
from functools import partial

from scarnode.ledger.model import Analysed, ClaimedJob
from scarnode.ledger.retry import retry_until_database_returns
from scarnode.node.cluster.hints import LOOK
from scarnode.node.messages import Failure, Nothing, PutOff, WorkerSettings
from scarnode.node.postponed import JOB
from scarnode.node.runtime import Runtime
from scarnode.node.scheduler import Task, Tasks
from scarnode.node.worker import Worker, WorkerError
from scarnode.util.errors import SystemFaultError
from scarnode.util.memory import share_of_memory

log = logging.getLogger(__name__)

LOADING_PAUSE = 5.0
"""Seconds until a worker that could not load the network is started again."""

GONE = "a source image is gone from the spool: receive the study again"
"""Why a job fails that misses a file for good."""

LEASE_MARGIN = 60.0
"""Seconds by which a lease outlives the worker's time limit."""


class Workers:
    """Runs queued jobs in worker processes.

    Parameters
    ----------
    common : Common
    analysed : callable
        Told the seconds that each analysis took.
    """

    def __init__(self, runtime: Runtime, analysed: Callable[[float], None] = lambda seconds: None) -> None:
        self._runtime, self._analysed = runtime, analysed
        self._load_again: dict[int, float] = {}
        segment = runtime.settings.segment
        self.workers = [Worker(self._worker_settings(), segment.time_limit_seconds) for _ in range(segment.workers)]
        runtime.dispatcher.listen(lambda: runtime.wake("work"))

    def recover(self) -> int:
        """Put back the jobs that were running when this machine's node ended without a word."""
        # on a server the others have done so, or will once this process's predecessor was silent for long enough
        return 0 if self._runtime.shared else self._runtime.ledger.jobs.requeue_interrupted(self._runtime.host)

    def tasks(self) -> Tasks:
        """Return what is to be done again and again."""
        news, broker = self._runtime.ledger_news, self._runtime.dispatcher
        tasks = {"leases": news.task("leases", self._end_lost_leases)}
        for slot, worker in enumerate(self.workers):
            name, work = f"work-{slot}", partial(self._work, slot, worker)
            tasks[name] = Task(work, LOOK) if broker.on else news.task(name, work)
        return tasks

    def reload_settings(self) -> None:
        """Run the next jobs with other settings."""
        for worker in self.workers:
            worker.renew(self._worker_settings(), self._runtime.settings.segment.time_limit_seconds)

    def stop(self) -> None:
        """End the workers: what they run goes back to the queue."""
        for worker in self.workers:
            worker.stop()

    def _worker_settings(self) -> WorkerSettings:
        settings = self._runtime.settings
        segment = settings.segment
        bound = segment.memory_limit_gigabytes
        return WorkerSettings(
            weights=segment.weights,
            device=segment.device,
            threads=segment.threads or max(1, (os.cpu_count() or 1) // segment.workers),
            spool=settings.spool.path,
            results=settings.results.path,
            kinds=settings.kinds(),
            sha256=self._runtime.model.sha256,
            memory=share_of_memory(segment.workers) if bound is None else bound,
            floor=settings.spool.free_space_limit(),
        )

    def _work(self, slot: int, worker: Worker) -> bool:
        """Run queued jobs in this slot's worker until there is none; return whether there was none."""
        runtime = self._runtime
        while not runtime.stopping.is_set() and not runtime.disks.work_waits() and self._ready(slot, worker):
            limit = runtime.settings.segment.time_limit_seconds
            claimed = runtime.ledger.jobs.claim(f"{runtime.owner}:{slot}", limit + LEASE_MARGIN)
            if claimed is None:
                return True
            try:
                outcome: Analysed | Failure | Nothing | PutOff = worker.run(claimed)
            except WorkerError as death:
                if runtime.stopping.is_set():
                    runtime.ledger.jobs.interrupt(claimed)
                    return False
                log.error("job %d: %s", claimed.id, death)
                outcome = Failure(str(death), permanent=False)
            pause = 0.0
            if isinstance(outcome, PutOff):
                fault = SystemFaultError(outcome.why, number=outcome.number)
                pause = runtime.put_offs.note(JOB, claimed.id, fault, not runtime.disks.away())
                if runtime.put_offs.is_gone(JOB, claimed.id):
                    outcome = Failure(GONE, permanent=True)
                else:
                    log.error("job %d is put off: %s", claimed.id, outcome.why)
            if not isinstance(outcome, PutOff):
                runtime.put_offs.over(JOB, claimed.id)
            # should the job be another's by then, the ledger drops this outcome
            write = partial(self._write_down, claimed, outcome, pause)
            retry_until_database_returns(runtime.ledger, f"job {claimed.id}", write, runtime.stopping)
        return False

    def _write_down(self, claimed: ClaimedJob, outcome: Analysed | Failure | Nothing | PutOff, pause: float) -> None:
        runtime = self._runtime
        segment, study = runtime.settings.segment, runtime.settings.study
        if isinstance(outcome, PutOff):
            runtime.ledger.jobs.postpone(claimed, outcome.why, pause)
        elif isinstance(outcome, Nothing):
            runtime.ledger.jobs.drop(claimed, outcome.why)
            log.info("job %d: %s", claimed.id, outcome.why)
        elif isinstance(outcome, Failure):
            runtime.ledger.jobs.fail(claimed, outcome.why, segment.max_attempts, outcome.permanent)
        else:
            runtime.ledger.jobs.finish(claimed, outcome, runtime.objects, study.hold_flags)
            self._analysed(outcome.seconds)
            log.info("job %d: analysed in %.1f s", claimed.id, outcome.seconds)
            runtime.wake("deliver")

    def _ready(self, slot: int, worker: Worker) -> bool:
        """Load the network into the slot's worker; where it can not, the jobs wait, and an alarm says why."""
        if time.monotonic() < self._load_again.get(slot, 0.0):
            return False
        alarm = self._runtime.alarm(f"worker_{slot}")
        try:
            worker.start()
        except WorkerError as death:
            if not self._runtime.stopping.is_set():
                self._load_again[slot] = time.monotonic() + LOADING_PAUSE
                self._runtime.ledger.alarms.set_alarm(alarm, str(death))
                log.error("worker %d: %s", slot, death)
            return False
        self._runtime.ledger.alarms.set_alarm(alarm, "")
        return True

    def _end_lost_leases(self) -> None:
        if self._runtime.sure():
            self._runtime.ledger.jobs.fail_expired(self._runtime.settings.segment.max_attempts)
