"""The node: listener, ledger, scheduler and workers put together."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from sqlalchemy.exc import OperationalError

from scarnode.audit import AssociationAudit, events
from scarnode.clock import steady
from scarnode.config import Settings
from scarnode.config.live import merge
from scarnode.deliver import Destination
from scarnode.disk import NO_ROOM
from scarnode.durable import check_writable
from scarnode.errors import LedgerError, SpoolError
from scarnode.jobs import nightly
from scarnode.jobs.changes import Glance
from scarnode.jobs.diskwatch import DiskWatch
from scarnode.jobs.failures import write_failure
from scarnode.jobs.janitor import Janitor
from scarnode.jobs.ledger import Ledger
from scarnode.jobs.line import Failure, NoRoom, Nothing
from scarnode.jobs.memory import share_of_memory
from scarnode.jobs.outbox import ask_commitments, deliver_due, resend_delay
from scarnode.jobs.registrar import Registrar
from scarnode.jobs.retention import finish_deleting
from scarnode.jobs.scheduler import Scheduler
from scarnode.jobs.search import search_study
from scarnode.jobs.worker import Worker, WorkerError, WorkerSettings
from scarnode.ourselves import make_link, own_callers
from scarnode.receive import Caller, CommitmentReport, Door, Listener, Reporters, Spool, listen, read_place
from scarnode.receive.refusals import Refusal
from scarnode.segment import read_identity
from scarnode.systemd import notify_systemd
from scarnode.tls import server_context
from scarnode.watch import Facts
from scarnode.watch.conditions import certificate_ends
from scarnode.watch.keeper import Watch
from scarnode.watch.metrics import Metrics
from scarnode.web import WebServer, serve_web

log = logging.getLogger(__name__)

AUDIT_ALARM = "audit_repository"
"""Stands while audit messages wait for their repository."""

LOADING_PAUSE = 5.0
"""Seconds until a worker that could not load the network is started again."""

LEASE_MARGIN = 60.0
"""Seconds by which a lease outlives the worker's time limit."""

NO_ROOM_PAUSE = 30.0
"""Seconds until a job is tried again that found no room for its results."""


class Node:
    """A running scarnode.

    Construction opens everything and serves; `stop` ends it. What was answered with Success before, is analysed
    and delivered after any kind of end.

    Parameters
    ----------
    settings : Settings

    Raises
    ------
    ScarnodeError
        Weights missing or not the ones their card describes, spool or ledger not usable, port in use.
    """

    def __init__(self, settings: Settings) -> None:
        self._host = socket.gethostname()
        self._stopping = threading.Event()
        self._load_again: dict[int, float] = {}
        self._untellable: set[int] = set()
        self._refused: Counter[str] = Counter()
        self._model = read_identity(settings.segment.weights)
        self._reporters = Reporters(self._take_commitment_report)
        self._use(settings)
        self.ledger = Ledger(settings.ledger.url, actor=f"node {self._host}")
        self._spool = Spool(settings.spool.path, settings.spool.floor())
        _make_results_folder(settings.results.path)
        self._disks = DiskWatch(self.ledger, self._spool, settings.folders())
        self._audit = settings.audit_trail()
        self._associations = AssociationAudit(self._audit, settings.spool.path)
        self._watch = Watch(self.ledger, lambda: self.settings)
        self._registrar = Registrar(self.ledger, self._spool)
        limit = settings.segment.time_limit_seconds
        self._workers = [Worker(self._worker_settings(), limit) for _ in range(settings.segment.workers)]
        searching = threading.Lock()
        self._searching = searching
        self._janitor = Janitor(
            self.ledger, self._spool, settings.results.path, self._disks, settings.retention, searching, self._audit
        )
        self._door = Door(self._callers(), settings.node.limits(), self._turned_away)
        self._listeners: list[Listener] = []
        self._web = self._open_web()
        self._listeners = self._listen()
        self._recover()
        self._scheduler = Scheduler({})
        self._glance = Glance(self.ledger, lambda: self.settings.study.quiet_seconds, self._scheduler.wake)
        self._scheduler.change(self._tasks())
        self._audit.note(events.started(self._audit.source))
        self._scheduler.start()
        for listener in self._listeners:
            how = " (TLS)" if listener.tls else ""
            log.info("%s listens on %s:%d%s", settings.node.ae_title, settings.node.host, listener.port, how)

    def take_over(self, settings: Settings) -> tuple[str, ...]:
        """Go on by other settings; what is in hand ends by the former ones.

        Parameters
        ----------
        settings : Settings
            As config.ini has them now.

        Returns
        -------
        tuple of str
            Each key that needs a restart (`scarnode.config.live`) and was not taken over.

        Raises
        ------
        OSError, ValueError
            The certificate can not be used; then nothing was taken over.
        """
        settings, kept = merge(self.settings, settings)
        context = _server_context(settings)
        self._use(settings)
        for listener in self._listeners:
            listener.ae.maximum_associations = settings.node.max_associations
            if listener.tls and context:
                listener.tls = context
        if self._web:
            self._web.take_over(settings)
        self._door.change(self._callers(), settings.node.limits())
        self._spool.floor = settings.spool.floor()
        self._audit.send_to(settings.audit.repository(settings.tls))
        self._janitor.settings = settings.retention
        for worker in self._workers:
            worker.renew(self._worker_settings(), settings.segment.time_limit_seconds)
        self._scheduler.change(self._tasks())
        self.ledger.fail_unknown_destinations(list(settings.destinations))
        self.ledger.end_unasked_commitments(list(self._committing))
        return kept

    def _use(self, settings: Settings) -> None:
        """Have these settings count: the only place where they, and what is made of them, are set."""
        self.settings, self.settings_taken_at, self.settings_good = settings, time.time(), True
        self._objects = settings.objects()
        self._destinations = settings.peers()
        self._committing = {
            name: peer for name, peer in self._destinations.items() if isinstance(peer, Destination) and peer.commitment
        }
        titles = frozenset(peer.ae_title.strip() for peer in self._committing.values())
        listed = {caller.ae_title for caller in settings.node.calling_ae_titles}
        self._reporters.titles, self._reporters.only = titles, titles - listed if listed else frozenset()
        self._certificate_ends = certificate_ends(settings)

    def facts(self) -> Facts:
        """Give what metrics tell of this node besides its ledger."""
        return Facts(
            callers=tuple(caller.ae_title for caller in self.settings.node.calling_ae_titles),
            destinations=tuple(self.settings.destinations),
            ports={listener.port: listener.open for listener in self._listeners},
            workers=tuple(worker.ready for worker in self._workers),
            associations=self._door.places.taken,
            refused=dict(self._refused),
            instances_refused=self._spool.refusals,
            disks={name: self._spool.floor.room(folder) for name, folder in self.settings.folders().items()},
            settings_taken_at=self.settings_taken_at,
            settings_good=self.settings_good,
            certificate_ends=self._certificate_ends,
            model=self._model.sha256,
        )

    @property
    def port(self) -> int:
        """The port the AE listens on: the one without TLS, where there are two."""
        return self._listeners[0].port

    def stop(self) -> None:
        """End: no new association, running work goes back to the queue, what is in hand is written down.

        Waits for a destination that has not answered yet, and for a search; who has no time for that may end the
        process: it is the same as a crash, and `scarnode.service.serve` does so.
        """
        self._stopping.set()
        for worker in self._workers:
            worker.stop()
        if self._web:
            self._web.stop()
        self._door.close()
        for listener in self._listeners:
            listener.shutdown()
            for association in listener.active_associations:  # one that hangs would keep this process alive
                line = association.dul.socket
                if line is not None and line.socket is not None:
                    with suppress(OSError, AttributeError):
                        line.socket.shutdown(socket.SHUT_RDWR)
        self._registrar.stop()
        self._associations.summarise(end=True)
        self._audit.note(events.stopped(self._audit.source))
        self._scheduler.stop()
        self._audit.send_due()
        self.ledger.close()
        self._spool.close()
        log.info("stopped")

    def _listen(self) -> list[Listener]:
        """Open the node's ports: without TLS, with TLS, or both."""
        node, tls = self.settings.node, self.settings.tls
        ports: list[tuple[int, ssl.SSLContext | None]] = [] if tls.only else [(node.port, None)]
        if tls.port and (context := _server_context(self.settings)):
            ports.append((tls.port, context))
        return [
            listen(
                self._spool,
                self._registrar.add,
                node.ae_title,
                node.host,
                port,
                self._door,
                context,
                self._reporters,
                self._associations,
                node.direct_store,
            )
            for port, context in ports
        ]

    def _open_web(self) -> WebServer | None:
        if not self.settings.web.port:  # then FastAPI need not be loaded
            return None
        from scarnode.web.monitoring import monitoring_router

        metrics = Metrics(self._watch, self.facts)
        router = monitoring_router(metrics.text, lambda: self._watch.why_not_ready(self.facts()))
        return serve_web(self.settings, [router], lambda: [worker.engine for worker in self._workers if worker.engine])

    def _recover(self) -> None:
        """Take up what the last run left: files the ledger does not know, jobs that were running."""
        try:
            self.ledger.trust_no_clock(self.settings.deliver.max_delay_seconds)
            requeued = self.ledger.requeue_interrupted(self._host)
            self.ledger.fail_unknown_destinations(list(self.settings.destinations))
            self.ledger.end_unasked_commitments(list(self._committing))
            found = self._registrar.recover()
            finish_deleting(self.ledger, self.settings.results.path)
        except OperationalError as error:
            where = self.ledger.engine.url.render_as_string()
            raise LedgerError(str(error.orig), where, "Check that it can be written and its disk is not full") from None
        if requeued or found:
            log.info("taken up again: %d jobs, %d instances that the ledger did not know", requeued, found)

    def _tasks(self) -> dict[str, Callable[[], None]]:
        tasks: dict[str, Callable[[], None]] = {
            "search": self._glance.guard("search", self._search),
            "leases": self._glance.guard("leases", self._end_lost_leases),
            "disks": partial(self._disks.look),
            "retention": partial(self._janitor.look),
            **self._watch.tasks(),
        }
        for slot, worker in enumerate(self._workers):
            tasks[f"work-{slot}"] = partial(self._work, slot, worker)
        for name in self.settings.destinations:
            tasks[f"deliver-{name}"] = self._glance.guard(f"deliver-{name}", partial(self._deliver, name))
        for name in self._committing:
            tasks[f"commit-{name}"] = self._glance.guard(f"commit-{name}", partial(self._commit, name))
        if self.settings.report.failures:
            tasks["failures"] = self._glance.guard("failures", self._tell_failures)
        for name in self.settings.pulls:
            tasks[f"pull-{name}"] = partial(self._pull, name)
        if self._audit.on:
            tasks["audit"] = self._tell_repository
        if "NOTIFY_SOCKET" in os.environ:
            tasks["watchdog"] = partial(self._tell_systemd)
        return tasks

    def _worker_settings(self) -> WorkerSettings:
        segment = self.settings.segment
        bound = segment.memory_limit_gigabytes
        return WorkerSettings(
            weights=segment.weights,
            device=segment.device,
            threads=segment.threads or max(1, (os.cpu_count() or 1) // segment.workers),
            spool=self.settings.spool.path,
            results=self.settings.results.path,
            kinds=self.settings.kinds(),
            sha256=self._model.sha256,
            memory=share_of_memory(segment.workers) if bound is None else bound,
            floor=self.settings.spool.floor(),
        )

    def _search(self) -> None:
        """Search the studies that went quiet; one that waits for the registrar is not."""
        behind = max(0.0, steady() - self._registrar.caught_up_to())
        for study_id in self.ledger.quiet_studies(self.settings.study.quiet_seconds + behind):
            if self._stopping.is_set():
                return
            rules, digest = self.settings.recognition, self.settings.digest()
            results = self.settings.results.path
            urgent = self.settings.study.urgent_calling_ae_titles
            with self._searching:
                search_study(
                    self.ledger, self._spool.root, results, study_id, rules, self._model.sha256, digest, urgent
                )
            for slot in range(len(self._workers)):
                self._scheduler.wake(f"work-{slot}")

    def _work(self, slot: int, worker: Worker) -> None:
        """Run queued jobs in this slot's worker until there is none."""
        segment = self.settings.segment
        while not self._stopping.is_set() and not self._disks.work_waits() and self._ready(slot, worker):
            claimed = self.ledger.claim(f"{self._host}:{slot}", segment.time_limit_seconds + LEASE_MARGIN)
            if claimed is None:
                return
            try:
                outcome = worker.run(claimed)
            except WorkerError as death:
                if self._stopping.is_set():
                    self.ledger.interrupt(claimed)
                    return
                log.error("job %d: %s", claimed.id, death)
                outcome = Failure(str(death), permanent=False)
            if isinstance(outcome, NoRoom):
                self.ledger.postpone(claimed, outcome.why, NO_ROOM_PAUSE)
                continue
            if isinstance(outcome, Nothing):
                self.ledger.drop(claimed, outcome.why)
                log.info("job %d: %s", claimed.id, outcome.why)
                continue
            if isinstance(outcome, Failure):
                self.ledger.fail(claimed, outcome.why, segment.max_attempts, outcome.permanent)
                continue
            self.ledger.finish(claimed, outcome, self._objects, self.settings.study.hold_flags)
            self._watch.durations.add(outcome.seconds)
            log.info("job %d: analysed in %.1f s", claimed.id, outcome.seconds)
            self._wake_deliveries()

    def _tell_failures(self) -> bool:
        """Report the jobs that failed for good, all of them where there is room.

        One that can not even be reported waits for the next start.
        """
        for job in self.ledger.untold_failures(besides=self._untellable):
            if self._stopping.is_set() or self._disks.work_waits():
                return False
            try:
                files = write_failure(
                    job, self._model, self._spool.root, self.settings.results.path, self.settings.kinds()
                )
            except Exception as error:  # whatever broke the analysis may break this too
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    return False  # later
                log.error("job %d: no report of its failure (%s)", job.id, type(error).__name__)
                self._untellable.add(job.id)
                continue
            self.ledger.tell_failure(job.id, files, self._objects)
            log.info("job %d: failed for good, reported", job.id)
            self._wake_deliveries()
        return True

    def _ready(self, slot: int, worker: Worker) -> bool:
        """Have the slot's worker hold the network; where it can not, the jobs wait, and an alarm says why."""
        if time.monotonic() < self._load_again.get(slot, 0.0):
            return False
        try:
            worker.start()
        except WorkerError as death:
            if not self._stopping.is_set():
                self._load_again[slot] = time.monotonic() + LOADING_PAUSE
                self.ledger.set_alarm(f"worker_{slot}", str(death))
                log.error("worker %d: %s", slot, death)
            return False
        self.ledger.set_alarm(f"worker_{slot}", "")
        return True

    def _wake_deliveries(self) -> None:
        for name in self._destinations:
            self._scheduler.wake(f"deliver-{name}")

    def _deliver(self, name: str) -> bool:
        """Send a destination what it should get now; give whether that was looked for."""
        if self._disks.ledger_full():  # what is sent could not be written down, and would be sent for ever
            return False
        results, title = self.settings.results.path, self.settings.node.ae_title
        peer, stopping = self._destinations.get(name), self._stopping
        if peer is None:  # config.ini no longer has it
            return True
        sent = deliver_due(self.ledger, results, peer, title, self.settings.deliver, stopping, self._audit)
        if sent and name in self._committing:
            self._scheduler.wake(f"commit-{name}")
        return True

    def _commit(self, name: str) -> None:
        """Ask a destination to commit itself to keep what it was sent."""
        peer, title, take = self._committing.get(name), self.settings.node.ae_title, self._take_commitment_report
        if peer is None:
            return
        ask_commitments(self.ledger, peer, title, self.settings.deliver, take, self._stopping)

    def _take_commitment_report(self, report: CommitmentReport, ae_title: str) -> bool:
        """Take what a destination reports on a storage commitment, wherever it came."""
        names = [name for name, peer in self._committing.items() if peer.ae_title.strip() == ae_title]
        return self.ledger.take_commitment_report(report, names, partial(resend_delay, self.settings.deliver))

    def _callers(self) -> tuple[Caller, ...]:
        """Give who may associate: also, from their own address, the destinations that report, and what runs here."""
        peers = [peer for peer in self._committing.values() if peer.ae_title.strip() in self._reporters.only]
        listed = self.settings.node.calling_ae_titles
        return (
            *listed,
            *(own_callers(self.settings) if listed else ()),
            *(Caller(peer.ae_title.strip(), read_place(peer.host)) for peer in peers),
        )

    def _turned_away(self, refusal: Refusal) -> None:
        self._refused[refusal.reason.name] += 1
        self._associations.turned_away(refusal)

    def _tell_repository(self) -> None:
        """Make the audit messages of associations that ended, and send what waits."""
        self._associations.summarise()
        self._audit.send_due(self._stopping)
        self.ledger.set_alarm(AUDIT_ALARM, self._audit.trouble)

    def _pull(self, name: str) -> None:
        """Run a nightly rule when it is due."""
        rule = self.settings.pull_rules().get(name)
        if rule and nightly.due_now(rule, self.ledger):
            nightly.run_rule(rule, make_link(self.settings, self.ledger, rule.source), self.ledger, self._stopping)

    def _end_lost_leases(self) -> None:
        self.ledger.fail_expired(self.settings.segment.max_attempts)

    def _tell_systemd(self) -> None:
        """Feed the watchdog, which restarts a node whose ledger or scheduler hangs."""
        self.ledger.quiet_studies(0, limit=1)
        notify_systemd("WATCHDOG=1")


def _make_results_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_writable(path)
    except OSError as error:
        raise SpoolError(
            f"can not be written ({error.strerror})", str(path), "Set [results] path to a folder this user can write"
        ) from None


def _server_context(settings: Settings) -> ssl.SSLContext | None:
    """Give how callers are spoken to by TLS, where there is a certificate."""
    identity, tls = settings.tls.identity(), settings.tls
    return server_context(identity, tls.ca_file if tls.mutual else None) if identity else None
