"""The audit trail: a message is durable when `record` returns. Messages are sent to the repository in order."""

from __future__ import annotations

import logging
import random
import threading
import time
from pathlib import Path

from scarnode.audit import events
from scarnode.audit.folder import MessageFolder
from scarnode.audit.model import Message, Source
from scarnode.audit.syslog import Repository, envelope, transmit
from scarnode.util.backoff import next_delay
from scarnode.util.errors import AuditError

log = logging.getLogger(__name__)

MOST_WAITING = 100_000
"""Most messages that wait for a repository, some 200 MB. Further ones are lost."""

BATCH = 50
"""Most messages in one TLS connection."""

FIRST_DELAY, LONGEST_DELAY = 2.0, 60.0
"""Seconds until an unreachable repository is tried again."""


class AuditTrail:
    """Stores audit messages and sends them.

    Parameters
    ----------
    repository : Repository or None
        None: nothing is recorded.
    source : Source
    folder : Path
        Of the waiting messages.
    most_waiting : int
        Limit of that folder. At the limit, one more message records that recording stops (a Security Alert, 110133).
        When recording starts again, another holds how many were lost (110134). Waiting messages are never dropped for
        new ones: a flood must not delete the record of its beginning.

    Raises
    ------
    AuditError
        There is a repository, but the folder can not be used.
    """

    def __init__(
        self, repository: Repository | None, source: Source, folder: Path, most_waiting: int = MOST_WAITING
    ) -> None:
        self.source = source
        self.folder = folder
        self._repository = repository
        self._most = most_waiting
        self._lost = 0
        self._lock = threading.Lock()
        self._failures = 0
        self._not_before = 0.0
        self._trouble = ""
        if repository:
            try:
                self._messages = MessageFolder(folder)
                self._waiting = len(self._messages.waiting())
            except OSError as error:
                raise _unusable(folder, error) from None

    @property
    def on(self) -> bool:
        """Whether there is a repository."""
        return self._repository is not None

    def send_to(self, repository: Repository | None) -> None:
        """Send to this repository from now on, e.g. with another certificate. Without effect where there is none."""
        if self._repository is not None and repository is not None:
            self._repository = repository

    @property
    def trouble(self) -> str:
        """Why messages wait or are lost, without patient data; empty where they are sent."""
        if self._lost:
            return f"audit messages can not be kept; {self._lost} lost ({self.folder})"
        return f"{self._repository}: {self._trouble}" if self._trouble else ""

    def record(self, message: Message) -> None:
        """Store a message durably; do nothing without a repository.

        Raises
        ------
        AuditError
            It could not be stored: the disk is full, or too many messages wait.
        """
        if not self.on:
            return
        with self._lock:
            try:
                self._keep(message)
            except OSError as error:
                self._lost += 1
                raise _unusable(self.folder, error) from None

    def note(self, message: Message) -> None:
        """Store a message as `record` does, but log a failure instead of raising it."""
        try:
            self.record(message)
        except AuditError as error:
            if self._lost == 1 or self._lost % 1000 == 0:
                log.error("%s; %d lost since the last stored message", error, self._lost)

    def send_due(self, stopping: threading.Event | None = None) -> int:
        """Send the waiting messages, unless the repository was unreachable a moment ago. Return how many were sent.

        Parameters
        ----------
        stopping : threading.Event, optional
            When set, no further batch is sent.
        """
        if self._repository is None or time.monotonic() < self._not_before:
            return 0
        paths = self._messages.waiting()
        self._waiting = len(paths)
        sent = 0
        while paths and not (stopping and stopping.is_set()):
            batch, paths = paths[:BATCH], paths[BATCH:]
            done = transmit([path.read_bytes() for path in batch], self._repository)
            for path in batch[: done.sent]:
                path.unlink(missing_ok=True)
            sent += done.sent
            self._waiting -= done.sent
            if done.too_long:
                log.error("audit: %s; it was moved to %s", done.trouble, self.folder / "unsendable")
                self._messages.set_aside(batch[done.sent])
                paths = batch[done.sent + 1 :] + paths
            elif done.trouble:
                self._wait(done.trouble)
                return sent
        if sent:
            self._recovered()
        return sent

    def _keep(self, message: Message) -> None:
        if self._waiting >= self._most:
            self._lost += 1
            if self._waiting == self._most:  # one message more: recording stops
                self._waiting += 1
                why = f"{self._most} audit messages wait for the repository: no more are kept"
                self._messages.put(envelope(events.recording(self.source, False, why), self.source))
            raise AuditError(
                f"{self._waiting} messages wait for the audit repository, no more are kept",
                str(self.folder),
                "Make the repository of [audit] url reachable, or leave url empty",
            )
        if self._lost:
            why = f"{self._lost} audit messages could not be kept"
            self._messages.put(envelope(events.recording(self.source, True, why), self.source))
            self._waiting += 1
            log.warning("audit: %s; recording goes on", why)
            self._lost = 0
        self._messages.put(envelope(message, self.source))
        self._waiting += 1

    def _wait(self, trouble: str) -> None:
        self._failures += 1
        delay = next_delay(self._failures, FIRST_DELAY, LONGEST_DELAY, random.Random())
        self._not_before = time.monotonic() + delay
        if trouble != self._trouble:
            log.error("audit repository %s: %s; %d messages wait", self._repository, trouble, self._waiting)
        self._trouble = trouble

    def _recovered(self) -> None:
        if self._trouble:
            log.info("audit repository %s takes messages again", self._repository)
        self._failures, self._trouble = 0, ""


def _unusable(folder: Path, error: OSError) -> AuditError:
    return AuditError(
        f"no audit message can be kept there ({error.strerror})",
        str(folder),
        "Free disk space, or let this user write it",
    )
