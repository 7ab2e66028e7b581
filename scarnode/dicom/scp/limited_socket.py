"""An association's line: holds its peer to the sizes and the pace that the limits allow."""

from __future__ import annotations

import math
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from pynetdicom.transport import AssociationSocket

from scarnode.dicom.scp.fast_store import P_DATA_TF, FastStoreHandler
from scarnode.dicom.scp.limits import (
    LONGEST_MESSAGE,
    LONGEST_PDU,
    LONGEST_REQUEST,
    SLOWEST_SENDER,
    Limits,
    Memory,
    MessageSize,
)
from scarnode.dicom.scp.rejection import Reason
from scarnode.dicom.sockets import acknowledge_at_once, close_socket

MOMENT = 0.25
"""Seconds for which a thread waits for its peer before it looks whether there is anything else to do."""

PIECE = 1 << 17
"""Bytes that are asked of the kernel at once."""

FREE_MEMORY = 1 << 20
"""Bytes of a message that every association may hold: nobody can take the memory for a C-ECHO away from the others."""

_PDU_TYPES = range(1, 8)


class LimitedSocket(AssociationSocket):
    """Reads PDUs for pynetdicom, which by itself waits for ever and reads as much as a header promises.

    pynetdicom's reader asks `ready`, then reads a PDU's six header bytes, then as many bytes as they say. A peer that
    goes beyond a limit gets an A-ABORT; to pynetdicom the connection has then ended. One message is taken at a time:
    as long as an answer is owed nothing more is read, so that a peer that does not wait for answers fills its own
    memory and not ours.

    Parameters
    ----------
    plain : AssociationSocket
        What pynetdicom made for the connection; not used any more.
    limits : Limits
    refuse : callable
        Told the reason where the peer is cut off.
    lane : Lane, optional
        Deals with C-STORE messages before pynetdicom sees them.
    memory : Memory, optional
        What the messages of all associations may take that go through pynetdicom. None: it alone.
    """

    def __init__(
        self,
        plain: AssociationSocket,
        limits: Limits,
        refuse: Callable[[Reason], None],
        fast_store: FastStoreHandler | None = None,
        memory: Memory | None = None,
    ) -> None:
        # super().__init__() would announce the connection to the state machine a second time
        self.__dict__.update(vars(plain))
        if self.socket is not None:
            self.socket.settimeout(None)
        self._limits, self._refuse, self._fast_store = limits, refuse, fast_store
        self._ahead = b""
        self._over = self._told = False  # cut off; and pynetdicom has read so
        self._type: int | None = None  # of the PDU whose body comes next
        self._began: float | None = None  # when the message in hand began
        self._received = 0  # bytes of it
        self._last = time.monotonic()  # when something last happened
        self._owed = False
        self._size = MessageSize()
        self._memory, self._holding = memory or Memory(), threading.Lock()
        self._held, self._ended = 0, False

    @property
    def ready(self) -> bool:
        """Return whether something can be read."""
        if self._ahead:
            return True
        if self.socket is not None and not self._over and time.monotonic() > self._deadline:
            self.cut(Reason.IDLE if self._began is None else Reason.TOO_SLOW)
        if self._over:
            return not self._told
        if self._fast_store is None or self._owed or self._type is not None or not self._fast_store.open():
            return not self._owed and super().ready
        return self._served_by(self._fast_store)

    def _served_by(self, fast_store: FastStoreHandler) -> bool:
        """Allow the lane deal with what comes; whether something is left for pynetdicom."""
        left: bytes | None = None
        fast_store.rest()
        try:
            # pynetdicom has nothing to send now, so nobody waits for this thread but the peer
            while left is None and not self._over and fast_store.open() and self._readable():
                left = fast_store.take(self)
        finally:
            fast_store.wake()
        if left and not self._hold(len(left)):
            left = b""
            self.cut(Reason.OUT_OF_MEMORY)
        self._ahead = left or b""
        return left is not None or (self._over and not self._told)

    def _readable(self) -> bool:
        """Return whether something comes within a moment."""
        connection = self.socket
        if connection is None:
            return False
        try:
            if isinstance(connection, ssl.SSLSocket) and connection.pending():
                return True
            return _comes(connection, MOMENT)
        except (OSError, ValueError):  # closed meanwhile: pynetdicom notices too
            return False

    def read_header(self) -> bytearray:
        """Read a PDU's header, for the lane."""
        return self._header(6)

    def read_body(self, length: int) -> bytearray:
        """Read a PDU's body, for the lane."""
        self._type = None
        return self._fragments(length)

    def answer(self, pdus: bytes) -> None:
        """Send the lane's answer to the message that was read."""
        self.message_complete()
        self.send(pdus)

    def recv(self, nr_bytes: int) -> bytearray:
        """Read a header or a body; less than that where the connection has ended."""
        if self._ahead:
            taken, self._ahead = self._ahead[:nr_bytes], self._ahead[nr_bytes:]
            return bytearray(taken)
        if self._over:
            self._told = True
            return bytearray()
        if self._type is None:
            return self._header(nr_bytes)
        kind, self._type = self._type, None
        if kind == P_DATA_TF:
            body = self._fragments(nr_bytes)
            return body if self._hold(len(body)) else self.cut(Reason.OUT_OF_MEMORY)
        body = self._read(nr_bytes)
        self._began = None  # release, abort: no part of a message
        return body

    def send(self, bytestream: bytes) -> None:
        """Send a PDU; the peer must read."""
        if self._over or self.socket is None:
            self.event_queue.put("Evt17")
            return
        with suppress(OSError):
            self.socket.settimeout(self._limits.network_timeout)
        super().send(bytestream)
        with suppress(OSError, AttributeError):  # closed, where the peer does not read
            self.socket.settimeout(None)
        self._owed = False
        self._last = time.monotonic()
        self._let_go()

    def message_complete(self) -> None:
        """Note that pynetdicom has put a whole message together."""
        self._began = None
        self._owed = True
        self._last = time.monotonic()

    @property
    def _deadline(self) -> float:
        if self._began is None:
            return self._last + self._limits.idle_timeout
        patience = self._limits.network_timeout
        return min(self._last, self._began + self._received / SLOWEST_SENDER) + patience

    def _header(self, nr_bytes: int) -> bytearray:
        if self._began is None:
            self._began = self._last = time.monotonic()
            self._received, self._size = 0, MessageSize()
            self._let_go()
        header = self._read(nr_bytes)
        if len(header) == nr_bytes and header[0] in _PDU_TYPES:
            length = int.from_bytes(header[2:6], "big")
            if length > (LONGEST_PDU if header[0] == P_DATA_TF else LONGEST_REQUEST):
                return self.cut(Reason.PDU_TOO_LONG)
            if self._received + length > LONGEST_MESSAGE:
                return self.cut(Reason.MESSAGE_TOO_LONG)
            self._type = header[0]
        return header

    def _fragments(self, nr_bytes: int) -> bytearray:
        """Read the body of a P-DATA-TF PDU."""
        body = self._read(nr_bytes)
        too_many = self._size.add(body)
        return self.cut(too_many) if too_many else body

    def _hold(self, nr_bytes: int) -> bool:
        """Take memory for bytes that were read of a message that pynetdicom puts together; False: none is left."""
        counted = max(0, min(nr_bytes, self._received - FREE_MEMORY))
        with self._holding:
            if self._ended or not self._memory.take(counted):
                return False
            self._held += counted
            return True

    def _let_go(self) -> None:
        """Return the memory of the last message."""
        if self._held:
            with self._holding:
                self._memory.give_back(self._held)
                self._held = 0

    def end(self) -> None:
        """Read no more, and give back what is held: the association has ended."""
        with self._holding:
            self._ended = True
        self._let_go()

    def _read(self, nr_bytes: int) -> bytearray:
        data = bytearray()
        while len(data) < nr_bytes and not self._over and self.socket is not None:
            left = self._deadline - time.monotonic()
            if left <= 0:
                return self.cut(Reason.TOO_SLOW)
            try:
                piece = _receive(self.socket, nr_bytes - len(data), left)
            except TimeoutError:
                return self.cut(Reason.TOO_SLOW)
            except OSError:
                break
            if not piece:
                break
            data += piece
            self._received += len(piece)
            self._last = time.monotonic()
        return data

    def cut(self, reason: Reason) -> bytearray:
        """Abort the association: tell the peer and hang up; what pynetdicom reads from now on is the end."""
        self._over = True
        self._refuse(reason)
        if self.socket is not None:
            with suppress(OSError):
                self.socket.settimeout(1)
                self.socket.sendall(reason.pdu)
            close_socket(self.socket)
        return bytearray()


def _receive(connection: socket.socket, size: int, seconds: float) -> bytes:
    """Receive up to so many bytes as soon as there are any; TimeoutError where none come in time.

    A plain connection has no timeout of its own: Python would ask the kernel for data three times for each read.
    """
    if isinstance(connection, ssl.SSLSocket):
        connection.settimeout(seconds)
        acknowledge_at_once(connection)
        return connection.recv(min(size, PIECE))
    try:
        return connection.recv(min(size, PIECE), socket.MSG_DONTWAIT)
    except BlockingIOError:
        acknowledge_at_once(connection)
    if not _comes(connection, seconds):
        raise TimeoutError
    return connection.recv(min(size, PIECE), socket.MSG_DONTWAIT)


def _comes(connection: socket.socket, seconds: float) -> bool:
    """Wait until something can be read."""
    waiting = select.poll()
    waiting.register(connection, select.POLLIN)
    return bool(waiting.poll(math.ceil(seconds * 1000)))
