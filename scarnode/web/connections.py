"""Connections of the web pages: none that keeps us waiting takes the room of one that asks.

uvicorn itself waits for a request for ever, and answers 503 to all when a number of connections is open. Here every
wait has a deadline, and where there is no room the connection that has kept us waiting longest makes room.
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
"""Connections open at a time, of all and of one address (of IPv6: one /64); browsers keep about six each."""
HANDSHAKE_SECONDS = 10.0
"""For TLS."""
HEADER_SECONDS = 10.0
"""From a connection's beginning, or the end of its last answer, until the next request's header is complete."""
BODY_SECONDS = 10.0
"""From there until the rest of the request came: 64 KiB at most are taken."""
READING_SECONDS = 20.0
"""How long nothing of an answer may be taken."""
FULL_SECONDS = 0.2
"""Pause where the system has no file left for a connection."""


@dataclass(eq=False)
class Place:
    """The room that a connection takes, from its acceptance on, before TLS, until its end."""

    address: str
    socket: socket.socket
    began: float
    connection: Connection | None = None

    def waits(self) -> tuple[float, float] | None:
        """Return since when the peer keeps us waiting, and until when it may; None: it waits for us."""
        if self.connection is None:
            return self.began, self.began + HANDSHAKE_SECONDS
        return self.connection.waits()

    def end(self) -> None:
        """End the connection at once."""
        if self.connection is None:
            close_socket(self.socket)
        else:
            self.connection.transport.abort()


class Connection(H11Protocol):
    """A connection over which HTTP is spoken, and what it is waiting for."""

    def __init__(
        self,
        place: Place,
        config: Config,
        state: ServerState,
        app_state: dict[str, Any],
        ended: Callable[[Place], None],
    ) -> None:
        super().__init__(config, state, app_state)
        self._place, self._ended = place, ended
        self._free = self._asked = self._taken = time.monotonic()
        self._left = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for a request."""
        super().connection_made(transport)
        self._free = time.monotonic()
        self._place.connection = self

    def connection_lost(self, exc: Exception | None) -> None:
        """Return the place back."""
        super().connection_lost(exc)
        self._ended(self._place)

    def data_received(self, data: bytes) -> None:
        """Take in what came."""
        before = self.cycle
        try:
            super().data_received(data)
        except h11.LocalProtocolError:  # what is no HTTP, while an answer is being written: uvicorn knows no answer
            self.transport.abort()
        if self.cycle is not before:
            self._asked = time.monotonic()

    def on_response_complete(self) -> None:
        """Wait for the next request, which may have come already."""
        before = self.cycle
        self._free = time.monotonic()
        super().on_response_complete()
        if self.cycle is not before:
            self._asked = time.monotonic()

    def waits(self) -> tuple[float, float] | None:
        """Return since when the peer keeps us waiting, and until when it may; None: it waits for us."""
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
        Builds a `Connection` from its place and what is called at its end.
    busy : str
        Address of a reverse proxy, of whom there may be as many as of all; empty: none.
    """

    def __init__(
        self,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        make: Callable[[Place, Callable[[Place], None]], Connection],
        busy: str = "",
    ) -> None:
        self._socket, self._context, self._make = listening, context, make
        self._busy = network_of(busy) if busy else ""
        self._places: dict[Place, None] = {}
        """In the order in which they came."""
        self._openings: set[asyncio.Task[None]] = set()
        self._accepting: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Accept from now on; called in the event loop."""
        self._socket.setblocking(False)
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        """Accept no more."""
        if self._accepting is not None:
            self._accepting.cancel()

    async def wait_closed(self) -> None:
        """End what has not become a connection yet."""
        for place in [place for place in self._places if place.connection is None]:
            place.end()

    def sweep(self) -> None:
        """End what has kept us waiting for too long."""
        now = time.monotonic()
        for place in list(self._places):
            waits = place.waits()
            if waits is not None and now > waits[1]:
                place.end()

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, peer = await loop.sock_accept(self._socket)
                self._take(connection, network_of(peer[0]))
            except OSError as error:
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    log.warning("web: no connection can be accepted (%s)", error.strerror)
                    self._make_room("")
                    await asyncio.sleep(FULL_SECONDS)
                # else the peer has gone already
            except Exception:
                log.exception("web: a connection could not be accepted")
                await asyncio.sleep(FULL_SECONDS)

    def _take(self, connection: socket.socket, address: str) -> None:
        """Return an accepted connection its place, or close it."""
        if not self._has_room(address):
            connection.close()
            return
        connection.setblocking(False)
        place = Place(address, connection, time.monotonic())
        self._places[place] = None
        opening = asyncio.get_running_loop().create_task(self._open(place))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    def _has_room(self, address: str) -> bool:
        """Make room for one more of an address where there is none; False: all of them are being answered."""
        if address != self._busy and sum(place.address == address for place in self._places) >= MOST_OF_ADDRESS:
            return self._make_room(address)
        if len(self._places) >= MOST:
            [(busiest, _)] = Counter(place.address for place in self._places).most_common(1)
            return self._make_room(busiest) or self._make_room("")
        return True

    def _make_room(self, address: str) -> bool:
        """End the connection of an address (empty: of any) that has kept us waiting longest."""
        waiting = [(place.waits(), place) for place in self._places if not address or place.address == address]
        longest = min(((waits[0], place) for waits, place in waiting if waits), key=lambda one: one[0], default=None)
        if longest is None:
            return False
        longest[1].end()
        self._ended(longest[1])
        return True

    async def _open(self, place: Place) -> None:
        """Shake hands, and hand the connection to HTTP."""
        wait = HANDSHAKE_SECONDS if self._context else None
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: self._make(place, self._ended),
                place.socket,
                ssl=self._context,
                ssl_handshake_timeout=wait,
            )
        except (OSError, asyncio.TimeoutError):  # what goes wrong in a handshake is the peer's doing
            self._ended(place)
            place.socket.close()

    def _ended(self, place: Place) -> None:
        self._places.pop(place, None)
