"""The node: listener, ledger, scheduler and workers put together."""

from __future__ import annotations

import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from uuid import uuid4

from sqlalchemy.exc import OperationalError

from scarnode.audit import AssociationAudit, events
from scarnode.clock import steady
from scarnode.config import Settings
from scarnode.deliver import Destination
from scarnode.disk import NO_ROOM, Floor
from scarnode.errors import LedgerError, SpoolError
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
from scarnode.logs import log_to_stderr
from scarnode.ourselves import own_callers
from scarnode.receive import Caller, CommitmentReport, Door, Listener, Reporters, Spool, listen, read_place
from scarnode.segment import read_identity
from scarnode.tls import server_context
from scarnode.watch.keeper import Watch
from scarnode.web import serve_web

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
"""How long a stop waits for peers that hang, a search or a locked ledger; systemd kills after 60 (TimeoutStopSec)."""

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
        self.settings = settings
        self._host = socket.gethostname()
        self._stopping = threading.Event()
        self._load_again: dict[int, float] = {}
        self._untellable: set[int] = set()
        self._model = read_identity(settings.segment.weights)
        self._objects = settings.objects()
        self._destinations = settings.peers()
        self._committing = {
            name: peer for name, peer in self._destinations.items() if isinstance(peer, Destination) and peer.commitment
        }
        self.ledger = Ledger(settings.ledger.url, actor=f"node {self._host}")
        self._floor = Floor(settings.spool.min_free_percent, settings.spool.min_free_gigabytes)
        self._spool = Spool(settings.spool.path, self._floor)
        _make_results_folder(settings.results.path)
        self._disks = DiskWatch(self.ledger, self._spool, settings.folders())
        self._audit = settings.audit_trail()
        self._associations = AssociationAudit(self._audit, settings.spool.path)
        self._watch = Watch(self.ledger, lambda: self.settings)
        self._registrar = Registrar(self.ledger, self._spool)
        self._workers = [self._new_worker() for _ in range(settings.segment.workers)]
        searching = threading.Lock()
        self._searching = searching
        self._janitor = Janitor(
            self.ledger, self._spool, settings.results.path, self._disks, settings.retention, searching, self._audit
        )
        self._web = serve_web(settings)
        reporters = self._reporters()
        self._door = Door(self._callers(reporters), settings.node.limits(), self._associations.turned_away)
        self._listeners = self._listen(reporters)
        self._recover()
        self._scheduler = Scheduler(self._tasks())
        self._audit.note(events.started(self._audit.source))
        self._scheduler.start()
        for listener in self._listeners:
            how = " (TLS)" if listener.tls else ""
            log.info("%s listens on %s:%d%s", settings.node.ae_title, settings.node.host, listener.port, how)

    @property
    def port(self) -> int:
        """The port the AE listens on: the one without TLS, where there are two."""
        return self._listeners[0].port

    def stop(self) -> None:
        """End: no new association, running work goes back to the queue, what is in hand is written down.

        Waits for a destination that has not answered yet, and for a search; who has no time for that may end the
        process: it is the same as a crash, and `serve` does so after `STOP_SECONDS`.
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

    def _listen(self, reporters: Reporters) -> list[Listener]:
        """Open the node's ports: without TLS, with TLS, or both."""
        node, tls = self.settings.node, self.settings.tls
        ports: list[tuple[int, ssl.SSLContext | None]] = [] if tls.only else [(node.port, None)]
        if tls.port and (identity := tls.identity()):
            ports.append((tls.port, server_context(identity, tls.ca_file if tls.mutual else None)))
        return [
            listen(
                self._spool,
                self._registrar.add,
                node.ae_title,
                node.host,
                port,
                self._door,
                context,
                reporters,
                self._associations,
                node.direct_store,
            )
            for port, context in ports
        ]

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
            "search": partial(self._search),
            "leases": partial(self._end_lost_leases),
            "disks": partial(self._disks.look),
            "retention": partial(self._janitor.look),
            **self._watch.tasks(),
        }
        for slot, worker in enumerate(self._workers):
            tasks[f"work-{slot}"] = partial(self._work, slot, worker)
        for name in self.settings.destinations:
            tasks[f"deliver-{name}"] = partial(self._deliver, name)
        for name in self._committing:
            tasks[f"commit-{name}"] = partial(self._commit, name)
        if self.settings.report.failures:
            tasks["failures"] = partial(self._tell_failures)
        if self._audit.on:
            tasks["audit"] = self._tell_repository
        if "NOTIFY_SOCKET" in os.environ:
            tasks["watchdog"] = partial(self._tell_systemd)
        return tasks

    def _new_worker(self) -> Worker:
        segment = self.settings.segment
        threads = segment.threads or max(1, (os.cpu_count() or 1) // segment.workers)
        bound = segment.memory_limit_gigabytes
        settings = WorkerSettings(
            weights=segment.weights,
            device=segment.device,
            threads=threads,
            spool=self.settings.spool.path,
            results=self.settings.results.path,
            kinds=self.settings.kinds(),
            sha256=self._model.sha256,
            memory=share_of_memory(segment.workers) if bound is None else bound,
            floor=self._floor,
        )
        return Worker(settings, segment.time_limit_seconds)

    def _search(self) -> None:
        """Search the studies that went quiet; one that waits for the registrar is not."""
        digest = self.settings.digest()
        behind = max(0.0, steady() - self._registrar.caught_up_to())
        for study_id in self.ledger.quiet_studies(self.settings.study.quiet_seconds + behind):
            if self._stopping.is_set():
                return
            rules = self.settings.recognition
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
            log.info("job %d: analysed in %.1f s", claimed.id, outcome.seconds)
            self._wake_deliveries()

    def _tell_failures(self) -> None:
        """Report the jobs that failed for good; one that can not even be reported waits for the next start."""
        for job in self.ledger.untold_failures(besides=self._untellable):
            if self._stopping.is_set() or self._disks.work_waits():
                return
            try:
                files = write_failure(
                    job, self._model, self._spool.root, self.settings.results.path, self.settings.kinds()
                )
            except Exception as error:  # whatever broke the analysis may break this too
                if isinstance(error, OSError) and error.errno in NO_ROOM:
                    return  # later
                log.error("job %d: no report of its failure (%s)", job.id, type(error).__name__)
                self._untellable.add(job.id)
                continue
            self.ledger.tell_failure(job.id, files, self._objects)
            log.info("job %d: failed for good, reported", job.id)
            self._wake_deliveries()

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

    def _deliver(self, name: str) -> None:
        """Send a destination what it should get now."""
        if self._disks.ledger_full():  # what is sent could not be written down, and would be sent for ever
            return
        results, title = self.settings.results.path, self.settings.node.ae_title
        peer, stopping = self._destinations[name], self._stopping
        sent = deliver_due(self.ledger, results, peer, title, self.settings.deliver, stopping, self._audit)
        if sent and name in self._committing:
            self._scheduler.wake(f"commit-{name}")

    def _commit(self, name: str) -> None:
        """Ask a destination to commit itself to keep what it was sent."""
        peer, title, take = self._committing[name], self.settings.node.ae_title, self._take_commitment_report
        ask_commitments(self.ledger, peer, title, self.settings.deliver, take, self._stopping)

    def _take_commitment_report(self, report: CommitmentReport, ae_title: str) -> bool:
        """Take what a destination reports on a storage commitment, wherever it came."""
        names = [name for name, peer in self._committing.items() if peer.ae_title.strip() == ae_title]
        return self.ledger.take_commitment_report(report, names, partial(resend_delay, self.settings.deliver))

    def _reporters(self) -> Reporters:
        """Give who may report on storage commitments; who is not listed as a caller may do that only."""
        titles = frozenset(peer.ae_title.strip() for peer in self._committing.values())
        listed = {caller.ae_title for caller in self.settings.node.calling_ae_titles}
        return Reporters(titles, self._take_commitment_report, titles - listed if listed else frozenset())

    def _callers(self, reporters: Reporters) -> tuple[Caller, ...]:
        """Give who may associate: also, from their own address, the destinations that report, and what runs here."""
        peers = [peer for peer in self._committing.values() if peer.ae_title.strip() in reporters.only]
        listed = self.settings.node.calling_ae_titles
        return (
            *listed,
            *(own_callers(self.settings) if listed else ()),
            *(Caller(peer.ae_title.strip(), read_place(peer.host)) for peer in peers),
        )

    def _tell_repository(self) -> None:
        """Make the audit messages of associations that ended, and send what waits."""
        self._associations.summarise()
        self._audit.send_due(self._stopping)
        self.ledger.set_alarm(AUDIT_ALARM, self._audit.trouble)

    def _end_lost_leases(self) -> None:
        self.ledger.fail_expired(self.settings.segment.max_attempts)

    def _tell_systemd(self) -> None:
        """Feed the watchdog, which restarts a node whose ledger or scheduler hangs."""
        self.ledger.quiet_studies(0, limit=1)
        notify_systemd("WATCHDOG=1")


def _make_results_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        probe = path / f".probe-{uuid4().hex}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise SpoolError(
            f"can not be written ({error.strerror})", str(path), "Set [results] path to a folder this user can write"
        ) from None


def notify_systemd(state: str) -> None:
    """Send systemd a state (sd_notify(3)); does nothing where systemd did not start us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)


def _leave() -> None:
    """End at once, whatever still hangs: the next start takes up what is left, as after a crash."""
    log.warning("stopped after %g s: what did not end by then is taken up at the next start", STOP_SECONDS)
    os._exit(0)


def serve(settings: Settings) -> None:
    """Run a node until SIGTERM or SIGINT; after that it ends within `STOP_SECONDS`, with exit code 0."""
    log_to_stderr(settings.log.level)
    os.umask(0o077)
    ended = threading.Event()

    def end(_signal: int, _frame: FrameType | None) -> None:
        if not ended.is_set():
            ended.set()
            deadline = threading.Timer(STOP_SECONDS, _leave)
            deadline.daemon = True
            deadline.start()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, end)
    node = Node(settings)
    notify_systemd("READY=1")
    ended.wait()
    notify_systemd("STOPPING=1")
    node.stop()
