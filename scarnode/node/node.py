"""The node: the roles of this process, put together."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

from sqlalchemy.exc import OperationalError

from scarnode.audit import events
from scarnode.config import Settings
from scarnode.config.live import merge
from scarnode.monitoring import Facts
from scarnode.node.cluster.heartbeat import Heartbeat
from scarnode.node.roles import ROLES, Coordinator, Receiver, Role, Runtime, Workers
from scarnode.node.roles.receive import server_context_of
from scarnode.node.scheduler import Task, Tasks
from scarnode.node.systemd import notify_systemd
from scarnode.util.clock import monotonic_time
from scarnode.util.errors import LedgerError

log = logging.getLogger(__name__)

WATCHDOG_SECONDS = 10.0
"""Seconds between signs of life to systemd, which restarts the node after WatchdogSec=120 without one."""


class Node:
    """A running scarnode.

    Construction opens everything and serves; `stop` ends it. What was answered with Success before, is analysed
    and delivered after any kind of end.

    Parameters
    ----------
    settings : Settings
    roles : sequence of str
        What this process does, of `scarnode.node.roles.ROLES`; all of it where it is alone on its ledger.

    Raises
    ------
    ScarnodeError
        Weights missing or not the ones their card describes, spool or ledger not usable, port in use.
    """

    def __init__(self, settings: Settings, roles: Sequence[str] = ROLES) -> None:
        self.runtime = runtime = Runtime(settings, roles)
        self.ledger = runtime.ledger
        self.receiving = Receiver(runtime) if "receive" in runtime.roles else None
        caught_up_to = self.receiving.registrar.caught_up_to if self.receiving else None
        self.delivering = Coordinator(runtime, caught_up_to or monotonic_time) if "deliver" in runtime.roles else None
        analysed = self.delivering.watch.durations.add if self.delivering else lambda seconds: None
        self.working = Workers(runtime, analysed) if "work" in runtime.roles else None
        if self.delivering:
            self.delivering.open_web(self.facts, self._engines)
        if self.receiving:
            self.receiving.open()
        self._recover()
        if runtime.shared:
            pause = lambda: runtime.settings.deliver.max_delay_seconds  # noqa: E731
            runtime.heartbeat = Heartbeat(runtime.ledger, runtime.owner, runtime.roles, caught_up_to, pause)
        runtime.scheduler.change(self._tasks())
        runtime.audit.note(events.started(runtime.audit.source))
        runtime.scheduler.start()
        for listener in self.receiving.listeners if self.receiving else []:
            how = " (TLS)" if listener.tls else ""
            log.info("%s listens on %s:%d%s", settings.node.ae_title, settings.node.host, listener.port, how)
        if runtime.shared:
            log.info("%s: %s", runtime.owner, ", ".join(runtime.roles))

    def reload_settings(self, settings: Settings) -> tuple[str, ...]:
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
        server_context_of(settings)  # raises before anything is taken over
        self.runtime.use(settings)
        self.runtime.reload_settings()
        for role in self._roles():
            role.reload_settings()
        self.runtime.scheduler.change(self._tasks())
        return kept

    @property
    def settings(self) -> Settings:
        """What this process runs by."""
        return self.runtime.settings

    def facts(self) -> Facts:
        """Return what metrics tell of this process besides the ledger."""
        runtime, receiving, settings = self.runtime, self.receiving, self.runtime.settings
        return Facts(
            callers=tuple(caller.ae_title for caller in settings.node.calling_ae_titles),
            destinations=tuple(settings.destinations),
            ports={listener.port: listener.open for listener in receiving.listeners} if receiving else {},
            workers=tuple(worker.ready for worker in self.working.workers) if self.working else (),
            associations=receiving.access_policy.places.taken if receiving else 0,
            refused=receiving.refused if receiving else {},
            instances_refused=runtime.spool.refusals,
            disks=runtime.disks.rooms(),
            settings_taken_at=runtime.settings_taken_at,
            settings_good=runtime.settings_good,
            certificate_ends=runtime.certificate_ends,
            model=runtime.model.sha256,
            roles=runtime.roles,
            ledger_trouble=runtime.ledger_watch.trouble,
        )

    @property
    def port(self) -> int:
        """The port the AE listens on: the one without TLS, where there are two; 0 where another process listens."""
        return self.receiving.listeners[0].port if self.receiving else 0

    def stop(self) -> None:
        """End: no new association, running work goes back to the queue, what is in hand is written down.

        Waits for a destination that has not answered yet, and for a search; who has no time for that may end the
        process: it is the same as a crash, and `scarnode.node.service.serve` does so.
        """
        runtime = self.runtime
        runtime.stopping.set()
        for role in (self.working, self.delivering, self.receiving):
            if role:
                role.stop()
        runtime.audit.note(events.stopped(runtime.audit.source))
        runtime.scheduler.stop()
        runtime.audit.send_due()
        runtime.close()
        log.info("stopped")

    def _roles(self) -> list[Role]:
        return [role for role in (self.receiving, self.working, self.delivering) if role]

    def _recover(self) -> None:
        """Take up what the last run left: files the ledger does not know, jobs that were running."""
        try:
            done = {type(role): role.recover() for role in (self.delivering, self.working, self.receiving) if role}
        except OperationalError as error:
            where = self.ledger.store.engine.url.render_as_string()
            raise LedgerError(str(error.orig), where, "Check that it can be written and its disk is not full") from None
        jobs, instances = done.get(Workers, 0), done.get(Receiver, 0)
        if jobs or instances:
            log.info("taken up again: %d jobs, %d instances that the ledger did not know", jobs, instances)

    def _tasks(self) -> Tasks:
        tasks = dict(self.runtime.tasks())
        for role in self._roles():
            tasks.update(role.tasks())
        if "NOTIFY_SOCKET" in os.environ:
            tasks["watchdog"] = Task(self._tell_systemd, WATCHDOG_SECONDS)
        return tasks

    def _engines(self) -> list[str]:
        return [worker.engine for worker in self.working.workers if worker.engine] if self.working else []

    def _tell_systemd(self) -> None:
        """Feed the watchdog, which restarts a node whose ledger or scheduler hangs.

        A ledger on a server that is away comes back without a restart; and a receiver that could not start without it
        would take no images meanwhile. Nor does a restart help where the ledger was deleted: a person must act.
        """
        if not self.runtime.shared and not self.ledger.store.file_fault():
            self.ledger.studies.quiet_studies(0, limit=1)
        notify_systemd("WATCHDOG=1")
