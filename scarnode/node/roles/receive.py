"""The role that receives: listeners, and the way of what they stored into the ledger."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections import Counter
from contextlib import suppress

from scarnode.audit import AssociationAudit
from scarnode.config import Settings
from scarnode.config.local_node import own_peers
from scarnode.dicom.scp import AccessPolicy, AllowedPeer, Listener, Reporters, listen, parse_source
from scarnode.dicom.scp.rejection import Rejection
from scarnode.dicom.tls import server_context
from scarnode.node.runtime import Runtime
from scarnode.node.scheduler import Task, Tasks
from scarnode.node.tasks.registrar import Registrar

log = logging.getLogger(__name__)

IN_HAND = 5.0
"""Seconds for which a stored image may be in the hands of a receiver that lives."""

AGAIN = 120.0
"""Seconds until the spool is looked through once more for what a dead receiver left: NFS shows new names late."""


class Receiver:
    """Listens from `open` until `stop`.

    Parameters
    ----------
    common : Common
    """

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._refused: Counter[str] = Counter()
        self.registrar = Registrar(runtime.ledger, runtime.spool, runtime.put_offs)
        self._reporters = Reporters(runtime.take_commitment_report)
        port = runtime.settings.node.port if runtime.shared else None
        self._associations = AssociationAudit(runtime.audit, runtime.settings.spool.path, _journals(runtime, port))
        self._set_reporters()
        self.access_policy = AccessPolicy(self._callers(), runtime.settings.node.limits(), self._turned_away)
        self.listeners: list[Listener] = []
        self._adopted: list[float] = []
        self._lost_at = 0.0

    @property
    def refused(self) -> dict[str, int]:
        """Associations that were refused or cut off, by reason."""
        return dict(self._refused)

    def open(self) -> None:
        """Open the node's ports: without TLS, with TLS, or both."""
        settings = self._runtime.settings
        node, tls = settings.node, settings.tls
        ports: list[tuple[int, ssl.SSLContext | None]] = [] if tls.only else [(node.port, None)]
        if tls.port and (context := server_context_of(settings)):
            ports.append((tls.port, context))
        for port, context in reversed(ports):  # who is answered on the plain port finds the one with TLS open
            self.listeners.insert(
                0,
                listen(
                    self._runtime.spool,
                    self.registrar.add,
                    node.ae_title,
                    node.host,
                    port,
                    self.access_policy,
                    context,
                    self._reporters,
                    self._associations,
                    node.direct_store,
                ),
            )

    def recover(self) -> int:
        """Register the files that the ledger does not know."""
        if not self._runtime.shared:
            return self.registrar.recover()
        self._lost_at = self._runtime.ledger.nodes.lost_receiver_at()
        return self.registrar.adopt(IN_HAND)  # what came later is a live receiver's, or told of when one is found dead

    def tasks(self) -> Tasks:
        """Return what is to be done again and again."""
        tasks: dict[str, Task] = {}
        if self._runtime.audit.on:
            tasks["associations"] = Task(self._associations.summarise)
        if self._runtime.shared:
            tasks["adopt"] = Task(self._adopt)
        return tasks

    def reload_settings(self) -> None:
        """Go on by other settings."""
        settings = self._runtime.settings
        context = server_context_of(settings)
        for listener in self.listeners:
            listener.ae.maximum_associations = settings.node.max_associations
            if listener.tls and context:
                listener.tls = context
        self._set_reporters()
        self.access_policy.change(self._callers(), settings.node.limits())

    def stop(self) -> None:
        """Take no more, and register what is in hand."""
        self.access_policy.close()
        for listener in self.listeners:
            listener.shutdown()
            for association in listener.active_associations:  # one that hangs would keep this process alive
                line = association.dul.socket
                if line is not None and line.socket is not None:
                    with suppress(OSError, AttributeError):
                        line.socket.shutdown(socket.SHUT_RDWR)
        self.registrar.stop()
        self._associations.summarise(end=True)

    def _adopt(self) -> None:
        """Register what a receiver that died had stored and not registered."""
        now, lost_at = time.monotonic(), self._runtime.ledger.nodes.lost_receiver_at()
        if lost_at > self._lost_at:
            self._lost_at = lost_at
            self._adopted += [now, now + AGAIN]
        if not self._adopted or now < min(self._adopted) or not self._runtime.sure():
            return
        with self._runtime.task_locks.turn("adopt") as mine:
            if mine:
                found = self.registrar.adopt(IN_HAND)
                self._adopted.remove(min(self._adopted))
                log.info("a receiver died: %d instances of its spool that the ledger did not know", found)

    def _set_reporters(self) -> None:
        titles = frozenset(peer.ae_title.strip() for peer in self._runtime.committing.values())
        listed = {caller.ae_title for caller in self._runtime.settings.node.calling_ae_titles}
        self._reporters.titles, self._reporters.only = titles, titles - listed if listed else frozenset()

    def _callers(self) -> tuple[AllowedPeer, ...]:
        """Return who may associate: also, from their own address, the destinations that report, and what runs here."""
        settings = self._runtime.settings
        peers = [peer for peer in self._runtime.committing.values() if peer.ae_title.strip() in self._reporters.only]
        listed = settings.node.calling_ae_titles
        return (
            *listed,
            *(own_peers(settings) if listed else ()),
            *(AllowedPeer(peer.ae_title.strip(), parse_source(peer.host)) for peer in peers),
        )

    def _turned_away(self, refusal: Rejection) -> None:
        self._refused[refusal.reason.name] += 1
        self._associations.rejected(refusal)


def _journals(runtime: Runtime, port: int | None) -> str:
    """Return the name of the folder of associations' journals: of each receiver that may run at the same time one."""
    return "associations" if port is None else f"associations-{runtime.host}-{port}"


def server_context_of(settings: Settings) -> ssl.SSLContext | None:
    """Return how callers are spoken to by TLS, where there is a certificate."""
    identity, tls = settings.tls.identity(), settings.tls
    return server_context(identity, tls.ca_file if tls.mutual else None) if identity else None
