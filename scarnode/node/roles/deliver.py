"""The role that looks after studies: searches them, delivers results, deletes, pulls, tells people and shows pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from scarnode.config.local_node import make_link
from scarnode.ledger.due import trust_no_clock
from scarnode.ledger.model import FailedJob
from scarnode.ledger.redo import do_again
from scarnode.ledger.retention import finish_deleting
from scarnode.ledger.task_locks import StopOrLockLost
from scarnode.monitoring import Facts
from scarnode.monitoring.metrics import Metrics
from scarnode.monitoring.monitor import EVERY, Monitor
from scarnode.node.postponed import REPORT, SEARCH
from scarnode.node.runtime import Runtime
from scarnode.node.scheduler import Task, Tasks
from scarnode.node.tasks import nightly
from scarnode.node.tasks.failures import write_failure
from scarnode.node.tasks.janitor import Janitor
from scarnode.node.tasks.outbox import ask_commitments, deliver_due
from scarnode.node.tasks.search import search_study, study_lock_of
from scarnode.util.clock import monotonic_time
from scarnode.util.errors import SystemFaultError, system_fault
from scarnode.web import WebServer, serve_web

log = logging.getLogger(__name__)

PULL_SECONDS = 10.0
"""Seconds between looks whether a nightly rule is due."""


class Coordinator:
    """Everything that is done with a study besides receiving and analysing it.

    Parameters
    ----------
    common : Common
    caught_up_to : callable
        Gives the time up to which what this process received is in the ledger (`Registrar.caught_up_to`).
    """

    def __init__(self, runtime: Runtime, caught_up_to: Callable[[], float] = monotonic_time) -> None:
        self._runtime, self._caught_up_to = runtime, caught_up_to
        self._untellable: set[int] = set()
        settings = runtime.settings
        self.watch = Monitor(runtime.ledger, lambda: runtime.settings, runtime.task_locks)
        self.janitor = Janitor(
            runtime.ledger,
            runtime.spool,
            settings.results.path,
            runtime.disks,
            settings.retention,
            runtime.task_locks,
            runtime.audit,
            runtime.put_offs,
        )
        self._web: WebServer | None = None

    def open_web(self, facts: Callable[[], Facts], engines: Callable[[], list[str]]) -> None:
        """Open the pages, where there is a port for them."""
        settings = self._runtime.settings
        if not settings.web.port:  # then FastAPI need not be loaded
            return
        from scarnode.web.monitoring import monitoring_router

        metrics = Metrics(self.watch, facts)
        unhealthy = lambda: self._runtime.ledger_watch.trouble  # noqa: E731
        router = monitoring_router(metrics.text, lambda: self.watch.why_not_ready(facts()), unhealthy)
        self._web = serve_web(settings, self._runtime.ledger.in_name_of("web"), [router], engines)

    def recover(self) -> int:
        """Take up what the last run left, and end what config.ini no longer asks for."""
        runtime = self._runtime
        trust_no_clock(runtime.ledger, runtime.settings.deliver.max_delay_seconds, anew=not runtime.shared)
        self._end_what_is_gone()
        do_again(runtime.ledger, runtime.objects)
        finish_deleting(runtime.ledger.retention, runtime.settings.results.path)
        return 0

    def tasks(self) -> Tasks:
        """Return what is to be done again and again."""
        runtime, settings, news = self._runtime, self._runtime.settings, self._runtime.ledger_news
        tasks = {
            "search": news.task("search", self._search),
            "retention": Task(self.janitor.look),
            **{name: Task(run, EVERY) for name, run in self.watch.tasks().items()},
        }
        for name in settings.destinations:
            tasks[f"deliver-{name}"] = news.task(f"deliver-{name}", partial(self._deliver, name))
        for name in runtime.committing:
            tasks[f"commit-{name}"] = news.task(f"commit-{name}", partial(self._commit, name))
        if settings.report.failures:
            tasks["failures"] = news.task("failures", self._tell_failures)
        for name in settings.pulls:
            tasks[f"pull-{name}"] = Task(partial(self._pull, name), PULL_SECONDS)
        return tasks

    def reload_settings(self) -> None:
        """Go on by other settings."""
        if self._web:
            self._web.reload_settings(self._runtime.settings)
        self.janitor.settings = self._runtime.settings.retention
        self._end_what_is_gone()

    def stop(self) -> None:
        """Close the pages."""
        if self._web:
            self._web.stop()

    def _end_what_is_gone(self) -> None:
        self._runtime.ledger.deliveries.fail_unknown_destinations(list(self._runtime.settings.destinations))
        self._runtime.ledger.commitments.end_unasked_commitments(list(self._runtime.committing))

    def _search(self) -> bool:
        """Search the studies that went quiet; one that waits for a registrar is not. Give whether all were searched."""
        runtime, settings = self._runtime, self._runtime.settings
        whole = True
        behind = max(0.0, monotonic_time() - self._caught_up_to())
        if runtime.shared:
            behind = max(behind, runtime.ledger.nodes.receivers_behind())
            if not runtime.sure():
                return False
        if runtime.disks.away("spool"):  # an alarm says so
            return False
        waiting = runtime.put_offs.waiting(SEARCH)
        for study_id in runtime.ledger.studies.quiet_studies(settings.study.quiet_seconds + behind, besides=waiting):
            if runtime.stopping.is_set():
                return False
            with runtime.task_locks.turn(study_lock_of(study_id)) as mine:
                if mine is None:
                    whole = False  # another searches it, or deletes its files
                    continue
                if not runtime.ledger.studies.is_unsearched(study_id):
                    continue
                if not self._search_one(study_id):
                    whole = False
                    continue
            runtime.wake("work")
            runtime.dispatcher.announce()
        return whole and not waiting

    def _search_one(self, study_id: int) -> bool:
        """Search a study; False: the machine could not, and it is put off."""
        runtime, settings = self._runtime, self._runtime.settings
        search = partial(
            search_study,
            runtime.ledger,
            runtime.spool.root,
            settings.results.path,
            study_id,
            settings.recognition,
            runtime.model.sha256,
            settings.digest(),
            settings.study.urgent_calling_ae_titles,
        )
        try:
            search(without_missing=runtime.put_offs.is_gone(SEARCH, study_id))
        except SystemFaultError as fault:
            pause = runtime.put_offs.note(SEARCH, study_id, fault, not runtime.disks.away("spool"))
            log.error("study %d: its search waits %.0f s: %s (a fault of the system)", study_id, pause, fault.why)
            return False
        runtime.put_offs.over(SEARCH, study_id)
        return True

    def _tell_failures(self) -> bool:
        """Report the jobs that failed for good, all of them where there is room.

        One that can not even be reported waits for the next start.
        """
        runtime = self._runtime
        waiting = runtime.put_offs.waiting(REPORT)
        for job in runtime.ledger.failures.unreported_failures(besides=self._untellable | waiting):
            if runtime.stopping.is_set() or runtime.disks.work_waits():
                return False
            with runtime.task_locks.turn(f"failure-{job.id}") as mine:
                if mine and not self._tell_failure(job):
                    return False
        return not waiting

    def _tell_failure(self, job: FailedJob) -> bool:
        """Report a job; False: the machine can not do it now."""
        runtime, settings = self._runtime, self._runtime.settings
        try:
            files = write_failure(job, runtime.model, runtime.spool.root, settings.results.path, settings.kinds())
        except Exception as error:  # whatever broke the analysis may break this too
            fault = system_fault(error)
            if fault is not None and not runtime.put_offs.is_gone(REPORT, job.id):
                runtime.put_offs.note(REPORT, job.id, fault, not runtime.disks.away())
                return False  # later
            runtime.put_offs.over(REPORT, job.id)
            log.error("job %d: no report of its failure (%s)", job.id, type(error).__name__)
            self._untellable.add(job.id)
            return True
        runtime.put_offs.over(REPORT, job.id)
        runtime.ledger.failures.report_failure(job.id, files, runtime.objects)
        log.info("job %d: failed for good, reported", job.id)
        runtime.wake("deliver")
        return True

    def _deliver(self, name: str) -> bool:
        """Send a destination what it should get now; give whether that was looked for."""
        runtime, settings = self._runtime, self._runtime.settings
        if runtime.disks.ledger_full():  # what is sent could not be written down, and would be sent for ever
            return False
        if runtime.disks.away("results"):  # an alarm says so
            return False
        peer = runtime.destinations.get(name)
        if peer is None:  # config.ini no longer has it
            return True
        with runtime.task_locks.turn(f"deliver-{name}") as mine:
            if mine is None:
                return False
            stopping = StopOrLockLost(mine, runtime.stopping)
            title, patience = settings.node.ae_title, settings.deliver
            sent = deliver_due(
                runtime.ledger,
                settings.results.path,
                peer,
                title,
                patience,
                stopping,
                runtime.audit,
                runtime.put_offs,
                partial(runtime.disks.away, "results"),
            )
        if sent and name in runtime.committing:
            runtime.wake(f"commit-{name}")
        return True

    def _commit(self, name: str) -> None:
        """Ask a destination to commit itself to keep what it was sent."""
        runtime, settings = self._runtime, self._runtime.settings
        peer = runtime.committing.get(name)
        if peer is None:
            return
        with runtime.task_locks.turn(f"commit-{name}") as mine:
            if mine:
                stopping = StopOrLockLost(mine, runtime.stopping)
                take = runtime.take_commitment_report
                ask_commitments(runtime.ledger, name, peer, settings.node.ae_title, settings.deliver, take, stopping)

    def _pull(self, name: str) -> None:
        """Run a nightly rule when it is due."""
        runtime, settings = self._runtime, self._runtime.settings
        rule = settings.pull_rules().get(name)
        if rule is None or not nightly.due_now(rule, runtime.ledger):
            return
        with runtime.task_locks.turn(f"pull-{name}") as mine:
            if mine and nightly.due_now(rule, runtime.ledger):
                link = make_link(settings, runtime.ledger.pulls.arrived, rule.source)
                nightly.run_rule(rule, link, runtime.ledger, runtime.stopping)
