"""Tells people of alarms: each at least once by each channel, throttled, and never in anyone's way."""

from __future__ import annotations

import logging
import random
import socket
import time
from collections.abc import Callable

from scarnode.config import Settings
from scarnode.ledger.ledger import Ledger
from scarnode.monitoring.mail import MailChannel
from scarnode.monitoring.model import Channel, Message
from scarnode.monitoring.webhook import WebhookChannel
from scarnode.util.backoff import next_delay

log = logging.getLogger(__name__)

PAUSE = 3600.0
"""Seconds between two messages of a channel on one alarm; what happens meanwhile is one line of the next."""

FIRST_DELAY, LONGEST_DELAY = 5.0, 600.0
"""Seconds until a server that is away is tried again."""

PATIENCE = 3
"""Failures in a row after which an alarm says that people are not reached."""


class Notifier:
    """One channel's messages. It has a thread of its own: a server that hangs holds up nobody else.

    Parameters
    ----------
    ledger : Ledger
        Knows what was told: a message is sent again where the node ended before that was noted.
    name : str
        ``mail`` or ``webhook``.
    settings : callable
        Gives the node's settings of this moment.
    """

    def __init__(self, ledger: Ledger, name: str, settings: Callable[[], Settings]) -> None:
        self.sent = self.failed = 0
        self._ledger, self._name, self._settings = ledger, name, settings
        self._failures = 0
        self._next = 0.0
        self._last: Channel | None = None

    def look(self) -> None:
        """Send what is due; called every few seconds."""
        settings = self._settings()
        channel = channel_of(settings, self._name)
        if channel != self._last:  # other settings: what failed by the former ones says nothing
            self._last, self._failures, self._next = channel, 0, 0.0
            if channel is None:
                self._ledger.alarms.set_alarm(self._alarm, "")
            else:
                self._ledger.notifications.open_channel(self._name)
        if channel is None or time.monotonic() < self._next:
            return
        notices = self._ledger.notifications.due_notices(self._name, PAUSE, besides=[self._alarm])
        if not notices:
            return
        message = Message(settings.node.ae_title, socket.gethostname(), tuple(notices), settings.notify.link)
        sending = channel.send(message)
        if not sending.ok:
            self._put_off(sending.trouble)
            return
        self._ledger.notifications.mark_notified(self._name, notices)
        self.sent += 1
        self._failures = 0
        self._ledger.alarms.set_alarm(self._alarm, sending.trouble)
        log.info("%s: told of %s", self._name, ", ".join(notice.alarm for notice in notices))

    @property
    def _alarm(self) -> str:
        return f"notify_{self._name}"

    def _put_off(self, trouble: str) -> None:
        self.failed += 1
        self._failures += 1
        self._next = time.monotonic() + next_delay(self._failures, FIRST_DELAY, LONGEST_DELAY, random.Random())
        if self._failures == PATIENCE:
            log.error("alarms can not be told: %s", trouble)
            self._ledger.alarms.set_alarm(self._alarm, trouble)


def channel_of(settings: Settings, name: str) -> Channel | None:
    """Return the channel of a name, or None where config.ini has none."""
    if name == "mail":
        server = settings.notify.mail()
        return MailChannel(server) if server else None
    hook = settings.notify.webhook()
    return WebhookChannel(hook) if hook else None


CHANNELS = ("mail", "webhook")
