"""Connections of the web pages: their number and their idle time are limited.

uvicorn alone waits for a request without a limit, and answers 503 to everybody once too many connections are open.
Here every wait has a deadline. At the limit of connections, the one that has been idle longest is closed.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import h11
from uvicorn import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from scarnode.dicom.sockets import close_socket
from scarnode.web.throttle import network_of

log = logging.getLogger(__name__)

MOST, MOST_OF_ADDRESS = 256, 48
"""Most open connections: in total, and from one address (IPv6: one /64). A browser keeps about six."""
HANDSHAKE_SECONDS = 10.0
"""For the TLS handshake."""
HEADER_SECONDS = 10.0
"""Until a request's header is complete, from the start of the connection or the end of its last response."""
BODY_SECONDS = 10.0
"""Until the body of a request is complete, from its header on. A body has at most 64 KiB."""
READING_SECONDS = 20.0
"""How long a peer may read nothing of a response."""
FULL_SECONDS = 0.2
"""Pause when the system has no file descriptor left for a connection."""


@dataclass(eq=False)
class ConnectionSlot:
    """An accepted connection, from before its TLS handshake until its end."""

    address: str
    socket: socket.socket
    began: float
    connection: Connection | None = None

    def idle_interval(self) -> tuple[float, float] | None:
        """Return since when the node waits for the peer, and the deadline; None: the peer waits for the node."""
        if self.connection is None:
            return self.began, self.began + HANDSHAKE_SECONDS
        return self.connection.idle_interval()

    def end(self) -> None:
        """End the connection at once."""
        if self.connection is None:
            close_socket(self.socket)
        else:
            self.connection.transport.abort()


class Connection(H11Protocol):
    """An HTTP connection that knows since when it is idle."""

    def __init__(
        self,
        slot: ConnectionSlot,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        release: Callable[[ConnectionSlot], None],
    ) -> None:
        super().__init__(config, state, app_state)
        self._slot, self._release = slot, release
        self._free = self._asked = self._taken = time.monotonic()
        self._left = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Note when the wait for the first request begins."""
        super().connection_made(transport)
        self._free = time.monotonic()
        self._slot.connection = self

    def connection_lost(self, exc: Exception | None) -> None:
        """Release the connection's slot."""
        super().connection_lost(exc)
        self._release(self._slot)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and note when a request's header is complete."""
        before = self.cycle
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # no HTTP while a response is being written: uvicorn does not handle this
            self.transport.abort()
        if self.cycle is not before:
            self._asked = time.monotonic()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may already be here."""
        before = self.cycle
        self._free = time.monotonic()
        super().on_response_complete()
        if self.cycle is not before:
            self._asked = time.monotonic()

    def idle_interval(self) -> tuple[float, float] | None:
        """Return since when the node waits for the peer, and the deadline; None: the peer waits for the node."""
        now, left = time.monotonic(), self.transport.get_write_buffer_size()
        if left == 0 or left < self._left:
            self._taken = now
        self._left = left
        if left:
            return self._taken, self._taken + READING_SECONDS
        answered = self.cycle is None or self.cycle.response_complete
        if self.cycle is not None and (self.cycle.more_body or (answered and self.conn.their_state is h11.SEND_BODY)):
            return self._asked, self._asked + BODY_SECONDS
        return (self._free, self._free + HEADER_SECONDS) if answered else None


class Acceptor:
    """Accepts connections at a socket, within limits; for uvicorn what `asyncio.Server` is.

    Parameters
    ----------
    listening : socket.socket
    context : ssl.SSLContext or None
    make : callable
        Builds a `Connection` from its slot and a callback for its end.
    proxy : str
        Address of a reverse proxy, to which only the total limit applies; empty: none.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        make: Callable[[ConnectionSlot, Callable[[ConnectionSlot], None]], Connection],
        proxy: str = "",
    ) -> None:
        self._socket, self._context, self._make = listening, context, make
        self._proxy = network_of(proxy) if proxy else ""
        self._slots: dict[ConnectionSlot, None] = {}
        """In the order in which they came."""
        self._openings: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start accepting. Call it in the event loop."""
        self._socket.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Stop accepting."""
        if self._accepting is not None:
            self._accepting.cancel()

    async def wait_closed(self) -> None:
        """Close the sockets whose handshake is not complete."""
        for slot in [slot for slot in self._slots if slot.connection is None]:
            slot.end()

    def sweep(self) -> None:
        """Close the connections that are past their deadline."""
        now = time.monotonic()
        for slot in list(self._slots):
            idle = slot.idle_interval()
            if idle is not None and now > idle[1]:
                slot.end()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._socket)
                self._admit(connection, network_of(peer[0]))
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    log.warning("web: no connection can be accepted (%s)", error.strerror)
                    self._end_longest_idle("")
                    await asyncio.sleep(FULL_SECONDS)
                # else the peer has gone already
            except Exception:
                log.exception("web: a connection could not be accepted")
                await asyncio.sleep(FULL_SECONDS)

    def _admit(self, connection: socket.socket, address: str) -> None:
        """Put an accepted connection into a slot, or close it at the limit."""
        if not self._has_slot(address):
            connection.close()
            return
        connection.setblocking(False)
        slot = ConnectionSlot(address, connection, time.monotonic())
        self._slots[slot] = None
        opening = asyncio.get_running_loop().create_task(self._open(slot))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    def _has_slot(self, address: str) -> bool:
        """Return whether an address may have one more connection. At the limit, an idle one is closed for it."""
        if address != self._proxy and sum(slot.address == address for slot in self._slots) >= MOST_OF_ADDRESS:
            return self._end_longest_idle(address)
        if len(self._slots) >= MOST:
            [(busiest, _)] = Counter(slot.address for slot in self._slots).most_common(1)
            return self._end_longest_idle(busiest) or self._end_longest_idle("")
        return True

    def _end_longest_idle(self, address: str) -> bool:
        """Close the connection of an address (empty: of any) that is idle longest; False: none is idle."""
        own = [(slot.idle_interval(), slot) for slot in self._slots if not address or slot.address == address]
        longest = min(((idle[0], slot) for idle, slot in own if idle), key=lambda one: one[0], default=None)
        if longest is None:
            return False
        longest[1].end()
        self._release(longest[1])
        return True

    async def _open(self, slot: ConnectionSlot) -> None:
        """Do the TLS handshake, then hand the connection to HTTP."""
        wait = HANDSHAKE_SECONDS if self._context else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make(slot, self._release),
                slot.socket,
                ssl=self._context,
                ssl_handshake_timeout=wait,
            )
        except (OSError, asyncio.TimeoutError):  # a failed handshake is the peer's fault
            self._release(slot)
            slot.socket.close()

    def _release(self, slot: ConnectionSlot) -> None:
        self._slots.pop(slot, None)
