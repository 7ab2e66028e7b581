"""The role that looks after studies: searches them, delivers results, deletes, pulls, tells people and shows pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from scarnode.clock import steady
from scarnode.errors import SystemFaultError, system_fault
from scarnode.jobs import nightly
from scarnode.jobs.again import do_again
from scarnode.jobs.failures import write_failure
from scarnode.jobs.janitor import Janitor
from scarnode.jobs.model import FailedJob
from scarnode.jobs.outbox import ask_commitments, deliver_due
from scarnode.jobs.putoff import REPORT, SEARCH
from scarnode.jobs.retention import finish_deleting
from scarnode.jobs.search import search_study, turn_of
from scarnode.jobs.turns import WhileMine
from scarnode.ourselves import make_link
from scarnode.roles.common import Common, Tasks
from scarnode.watch import Facts
from scarnode.watch.keeper import Watch
from scarnode.watch.metrics import Metrics
from scarnode.web import WebServer, serve_web

log = logging.getLogger(__name__)


class Delivering:
    """Everything that is done with a study besides receiving and analysing it.

    Parameters
    ----------
    common : Common
    caught_up_to : callable
        Gives the time up to which what this process received is in the ledger (`Registrar.caught_up_to`).
    """

    def __init__(self, common: Common, caught_up_to: Callable[[], float] = steady) -> None:
        self._common, self._caught_up_to = common, caught_up_to
        self._untellable: set[int] = set()
        settings = common.settings
        self.watch = Watch(common.ledger, lambda: common.settings, common.turns)
        self.janitor = Janitor(
            common.ledger,
            common.spool,
            settings.results.path,
            common.disks,
            settings.retention,
            common.turns,
            common.audit,
            common.put_offs,
        )
        self._web: WebServer | None = None

    def open_web(self, facts: Callable[[], Facts], engines: Callable[[], list[str]]) -> None:
        """Open the pages, where there is a port for them."""
        settings = self._common.settings
        if not settings.web.port:  # then FastAPI need not be loaded
            return
        from scarnode.web.monitoring import monitoring_router

        metrics = Metrics(self.watch, facts)
        unhealthy = lambda: self._common.ledger_watch.trouble  # noqa: E731
        router = monitoring_router(metrics.text, lambda: self.watch.why_not_ready(facts()), unhealthy)
        self._web = serve_web(settings, self._common.ledger.in_name_of("web"), [router], engines)

    def recover(self) -> int:
        """Take up what the last run left, and end what config.ini no longer asks for."""
        common = self._common
        common.ledger.trust_no_clock(common.settings.deliver.max_delay_seconds, anew=not common.shared)
        self._end_what_is_gone()
        do_again(common.ledger, common.objects)
        finish_deleting(common.ledger, common.settings.results.path)
        return 0

    def tasks(self) -> Tasks:
        """Give what is to be called every second."""
        common, settings = self._common, self._common.settings
        tasks: dict[str, Callable[[], object]] = {
            "search": common.guard("search", self._search),
            "retention": self.janitor.look,
            **self.watch.tasks(),
        }
        for name in settings.destinations:
            tasks[f"deliver-{name}"] = common.guard(f"deliver-{name}", partial(self._deliver, name))
        for name in common.committing:
            tasks[f"commit-{name}"] = common.guard(f"commit-{name}", partial(self._commit, name))
        if settings.report.failures:
            tasks["failures"] = common.guard("failures", self._tell_failures)
        for name in settings.pulls:
            tasks[f"pull-{name}"] = partial(self._pull, name)
        return tasks

    def take_over(self) -> None:
        """Go on by other settings."""
        if self._web:
            self._web.take_over(self._common.settings)
        self.janitor.settings = self._common.settings.retention
        self._end_what_is_gone()

    def stop(self) -> None:
        """Close the pages."""
        if self._web:
            self._web.stop()

    def _end_what_is_gone(self) -> None:
        self._common.ledger.fail_unknown_destinations(list(self._common.settings.destinations))
        self._common.ledger.end_unasked_commitments(list(self._common.committing))

    def _search(self) -> bool:
        """Search the studies that went quiet; one that waits for a registrar is not. Give whether all were searched."""
        common, settings = self._common, self._common.settings
        whole = True
        behind = max(0.0, steady() - self._caught_up_to())
        if common.shared:
            behind = max(behind, common.ledger.receivers_behind())
            if not common.sure():
                return False
        if common.disks.away("spool"):  # an alarm says so
            return False
        waiting = common.put_offs.waiting(SEARCH)
        for study_id in common.ledger.quiet_studies(settings.study.quiet_seconds + behind, besides=waiting):
            if common.stopping.is_set():
                return False
            with common.turns.turn(turn_of(study_id)) as mine:
                if mine is None:
                    whole = False  # another searches it, or deletes its files
                    continue
                if not common.ledger.is_unsearched(study_id):
                    continue
                if not self._search_one(study_id):
                    whole = False
                    continue
            common.wake("work")
            common.dispatcher.announce()
        return whole and not waiting

    def _search_one(self, study_id: int) -> bool:
        """Search a study; False: the machine could not, and it is put off."""
        common, settings = self._common, self._common.settings
        search = partial(
            search_study,
            common.ledger,
            common.spool.root,
            settings.results.path,
            study_id,
            settings.recognition,
            common.model.sha256,
            settings.digest(),
            settings.study.urgent_calling_ae_titles,
        )
        try:
            search(without_missing=common.put_offs.is_gone(SEARCH, study_id))
        except SystemFaultError as fault:
            pause = common.put_offs.note(SEARCH, study_id, fault, not common.disks.away("spool"))
            log.error("study %d: its search waits %.0f s: %s (a fault of the system)", study_id, pause, fault.why)
            return False
        common.put_offs.over(SEARCH, study_id)
        return True

    def _tell_failures(self) -> bool:
        """Report the jobs that failed for good, all of them where there is room.

        One that can not even be reported waits for the next start.
        """
        common = self._common
        waiting = common.put_offs.waiting(REPORT)
        for job in common.ledger.untold_failures(besides=self._untellable | waiting):
            if common.stopping.is_set() or common.disks.work_waits():
                return False
            with common.turns.turn(f"failure-{job.id}") as mine:
                if mine and not self._tell_failure(job):
                    return False
        return not waiting

    def _tell_failure(self, job: FailedJob) -> bool:
        """Report a job; False: the machine can not do it now."""
        common, settings = self._common, self._common.settings
        try:
            files = write_failure(job, common.model, common.spool.root, settings.results.path, settings.kinds())
        except Exception as error:  # whatever broke the analysis may break this too
            fault = system_fault(error)
            if fault is not None and not common.put_offs.is_gone(REPORT, job.id):
                common.put_offs.note(REPORT, job.id, fault, not common.disks.away())
                return False  # later
            common.put_offs.over(REPORT, job.id)
            log.error("job %d: no report of its failure (%s)", job.id, type(error).__name__)
            self._untellable.add(job.id)
            return True
        common.put_offs.over(REPORT, job.id)
        common.ledger.tell_failure(job.id, files, common.objects)
        log.info("job %d: failed for good, reported", job.id)
        common.wake("deliver")
        return True

    def _deliver(self, name: str) -> bool:
        """Send a destination what it should get now; give whether that was looked for."""
        common, settings = self._common, self._common.settings
        if common.disks.ledger_full():  # what is sent could not be written down, and would be sent for ever
            return False
        if common.disks.away("results"):  # an alarm says so
            return False
        peer = common.destinations.get(name)
        if peer is None:  # config.ini no longer has it
            return True
        with common.turns.turn(f"deliver-{name}") as mine:
            if mine is None:
                return False
            stopping = WhileMine(mine, common.stopping)
            title, patience = settings.node.ae_title, settings.deliver
            sent = deliver_due(
                common.ledger,
                settings.results.path,
                peer,
                title,
                patience,
                stopping,
                common.audit,
                common.put_offs,
                partial(common.disks.away, "results"),
            )
        if sent and name in common.committing:
            common.wake(f"commit-{name}")
        return True

    def _commit(self, name: str) -> None:
        """Ask a destination to commit itself to keep what it was sent."""
        common, settings = self._common, self._common.settings
        peer = common.committing.get(name)
        if peer is None:
            return
        with common.turns.turn(f"commit-{name}") as mine:
            if mine:
                stopping = WhileMine(mine, common.stopping)
                take = common.take_commitment_report
                ask_commitments(common.ledger, peer, settings.node.ae_title, settings.deliver, take, stopping)

    def _pull(self, name: str) -> None:
        """Run a nightly rule when it is due."""
        common, settings = self._common, self._common.settings
        rule = settings.pull_rules().get(name)
        if rule is None or not nightly.due_now(rule, common.ledger):
            return
        with common.turns.turn(f"pull-{name}") as mine:
            if mine and nightly.due_now(rule, common.ledger):
                link = make_link(settings, common.ledger.arrived, rule.source)
                nightly.run_rule(rule, link, common.ledger, common.stopping)
