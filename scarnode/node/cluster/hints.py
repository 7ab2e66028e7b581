"""Tells other machines at once that there is a job, over Redis or RabbitMQ, by Celery's messaging library Kombu.

A message is a hint and nothing more. The ledger is the queue: whoever hears of a job claims it there like everybody
else, and looks there now and then without any hint. So a message that is lost, late or doubled harms nothing. Of Celery
its workers and its task queue would be left unused, and its worker does not run in a thread of another program.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING
from uuid import uuid4

from scarnode.util.errors import ConfigError

if TYPE_CHECKING:
    from kombu import Connection

log = logging.getLogger(__name__)

LOOK = 10.0
"""Seconds between looks for work without a hint, where there is a broker; without one it is looked for every second."""

TIMEOUT = 2.0
"""Seconds that the broker may take for anything."""

PAUSE = 5.0
"""Seconds until a broker that was away is spoken to again; what was to be said meanwhile is said once."""

EXCHANGE = "scarnode-jobs"
"""Everyone who listens hears every message."""


class Dispatcher:
    """Announces new jobs, and hears of those of others.

    Parameters
    ----------
    broker : str
        ``redis://...``, ``rediss://...``, ``amqp://...`` or ``amqps://...``; empty: none, and nothing is done.
    tell : callable
        Told what is wrong with the broker, without secrets; empty: nothing is.

    Raises
    ------
    ConfigError
        There is a broker, but what speaks to it is not installed.
    """

    def __init__(self, broker: str, tell: Callable[[str], None]) -> None:
        self._broker, self._tell = broker, tell
        self._stopping = threading.Event()
        self._news: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._wake: Callable[[], None] = lambda: None
        self._trouble: dict[str, str] = {}
        self._threads: list[threading.Thread] = []
        if broker:
            _check_installed(broker)
            self._start("announcer", self._announce_all)

    def announce(self) -> None:
        """Announce a new job; returns at once, whatever the broker does."""
        if self._broker and self._news.empty():
            self._news.put(True)

    def listen(self, wake: Callable[[], None]) -> None:
        """Call a function whenever somebody announces a job."""
        self._wake = wake
        if self._broker:
            self._start("listener", self._hear_all)

    @property
    def on(self) -> bool:
        """Return whether there is a broker."""
        return bool(self._broker)

    def close(self) -> None:
        """Hear and say no more."""
        self._stopping.set()
        self._news.put(False)
        for thread in self._threads:
            thread.join(2 * TIMEOUT)

    def _start(self, name: str, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _announce_all(self) -> None:
        trouble = ""
        while not self._stopping.is_set():
            if trouble:
                self._stopping.wait(PAUSE)  # then it is said again, also that the broker is back
            else:
                self._news.get()
            if not self._stopping.is_set():
                trouble = self._announce()
                self._note("announced", trouble)

    def _announce(self) -> str:
        """Announce it; return what went wrong."""
        from kombu import Exchange, Producer

        try:
            with _connection(self._broker) as line:
                line.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT)
                everyone = Exchange(EXCHANGE, type="fanout", durable=False)
                Producer(line, exchange=everyone).publish({}, declare=[everyone], retry=False, expiration=LOOK)
        except Exception as error:  # each transport has its own
            return type(error).__name__
        return ""

    def _hear_all(self) -> None:
        """Listen; where the broker is away, try again after a while."""
        from kombu import Consumer, Exchange, Queue

        def heard(_body: object, _message: object) -> None:
            self._wake()

        own = Queue(
            f"{EXCHANGE}-{uuid4().hex}",
            Exchange(EXCHANGE, type="fanout", durable=False),
            durable=False,
            exclusive=True,
            auto_delete=True,
        )
        while not self._stopping.is_set():
            try:
                with _connection(self._broker) as line:
                    line.ensure_connection(max_retries=1, interval_start=0, timeout=TIMEOUT)
                    with Consumer(line, [own], callbacks=[heard], accept=["json"], no_ack=True):
                        self._note("heard", "")
                        self._wake()  # what was announced meanwhile was not heard
                        self._drain(line)
            except Exception as error:  # each transport has its own
                if not self._stopping.is_set():
                    self._note("heard", type(error).__name__)
            self._stopping.wait(PAUSE)

    def _drain(self, line: Connection) -> None:
        while not self._stopping.is_set():
            with suppress(TimeoutError):  # nothing came
                line.drain_events(timeout=1.0)

    def _note(self, what: str, trouble: str) -> None:
        """Log a broker that went away, or came back."""
        former, self._trouble[what] = self._trouble.get(what, ""), trouble
        if bool(trouble) != bool(former):
            log.warning("jobs %s %s over the broker %s", "can not be" if trouble else "are", what, trouble)
        names = sorted({name for name in self._trouble.values() if name})
        why = f"can not be reached ({', '.join(names)}): jobs begin up to {LOOK:g} s later" if names else ""
        if former or trouble:  # a trouble that lasts is told again: the ledger may have been away too
            with suppress(Exception):
                self._tell(why)


def _connection(broker: str) -> Connection:
    from kombu import Connection

    logging.getLogger("kombu").setLevel(logging.CRITICAL)
    options = {"socket_timeout": TIMEOUT, "socket_connect_timeout": TIMEOUT, "max_retries": 1, "interval_start": 0}
    return Connection(
        broker, connect_timeout=TIMEOUT, transport_options=options if broker.startswith("redis") else {"max_retries": 1}
    )


def _check_installed(broker: str) -> None:
    """Describe what is missing before anything is announced."""
    try:
        import kombu  # noqa: F401

        if broker.startswith("redis"):
            import redis  # noqa: F401
    except ImportError as error:
        todo = "Install it: pip install scarnode[cluster]"
        raise ConfigError(f"a broker needs more than scarnode alone ({error})", "[cluster] broker", todo) from None
