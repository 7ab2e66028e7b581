"""How many peers there may be at once, how large what they send may be, and how long they may take."""

from __future__ import annotations

import socket
import struct
import threading
from collections import Counter
from dataclasses import dataclass

from scarnode.dicom.scp.rejection import Reason
from scarnode.dicom.sockets import close_socket

MAXIMUM_PDU_LENGTH = 131072
"""What we tell our peers (PS3.8 D.1): the most that dcmtk's senders use."""

LONGEST_PDU = 1 << 20
"""Bytes of a PDU that are taken all the same: some senders count wrongly, and losing their images helps nobody."""

LONGEST_REQUEST = 256 << 10
"""Bytes of a PDU that holds no data. 128 presentation contexts of 30 transfer syntaxes each need 100 kB."""

MOST_ITEMS = 8192
"""Items and sub-items of an association request: each becomes an object of 1 kB. 128 contexts of 30 have 4100."""

LONGEST_MESSAGE = 2 << 30
"""Bytes of one message (command and dataset). The dataset of a C-STORE goes to disk while it arrives."""

LONGEST_COMMAND = 64 << 10
"""Bytes of a command set, which lie in memory; that of a C-STORE has some 200."""

FREE_FRAGMENTS, BYTES_PER_FRAGMENT = 10_000, 16
"""A message may have so many fragments (PDVs), and one more for so many bytes: empty ones are work without an end."""

MEMORY_FOR_MESSAGES = 256 << 20
"""Bytes of all messages together that lie in memory: of those that go through pynetdicom, which holds them whole."""

SLOWEST_SENDER = 16 * 1024
"""Bytes per second below which a message counts as hung."""


@dataclass(frozen=True)
class Limits:
    """What a peer may take of the node.

    Attributes
    ----------
    max_associations : int
        In all.
    max_associations_per_address : int
        From one address, so that one sender can not take every place.
    max_waiting : int
        Connections that have not yet asked for an association. A newcomer is always heard: it takes the place of the
        one that waited longest, among those of the address that has most of them.
    request_timeout : float
        Seconds from the connection (TLS handshake included) to the whole association request: the ARTIM timer.
    network_timeout : float
        Seconds of silence in the middle of a message. A whole message may take so long and, besides, the time that its
        bytes take at `SLOWEST_SENDER`.
    idle_timeout : float
        Seconds between two messages.
    """

    max_associations: int = 25
    max_associations_per_address: int = 10
    max_waiting: int = 64
    request_timeout: float = 30.0
    network_timeout: float = 60.0
    idle_timeout: float = 300.0


class Memory:
    """What all associations' messages may take of the memory, together.

    Parameters
    ----------
    size : int
        Bytes.
    """

    def __init__(self, size: int = MEMORY_FOR_MESSAGES) -> None:
        self._left = size
        self._lock = threading.Lock()

    def take(self, size: int) -> bool:
        """Take so many bytes; False: there are not so many left."""
        with self._lock:
            if size > self._left:
                return False
            self._left -= size
            return True

    def give_back(self, size: int) -> None:
        """Allow other messages have them."""
        with self._lock:
            self._left += size


class MessageSize:
    """Counts the fragments of a message, PDU by PDU, and tells when they are more than a message may have."""

    def __init__(self) -> None:
        self._fragments = self._bytes = self._command = 0

    def add(self, body: bytes | bytearray) -> Reason | None:
        """Count the presentation data values of a P-DATA-TF PDU (PS3.8 9.3.5); give why they are too many.

        What can not be taken apart is not counted: whoever decodes it ends the association.
        """
        start, end = 0, len(body)
        while end - start >= 6:
            length, control = _ITEM_HEAD.unpack_from(body, start)
            if length < 2 or length > end - start - 4:
                break
            start += 4 + length
            self._fragments += 1
            self._bytes += length - 2
            if control & 1:
                self._command += length - 2
                if self._command > LONGEST_COMMAND:
                    return Reason.COMMAND_TOO_LONG
            if self._fragments > FREE_FRAGMENTS + self._bytes // BYTES_PER_FRAGMENT:
                return Reason.TOO_MANY_FRAGMENTS
        return None


_ITEM_HEAD = struct.Struct(">LxB")
"""Length, context ID (not read) and message control header of a presentation data value."""


class AssociationSlots:
    """The associations there are, by address."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._taken: Counter[str] = Counter()

    @property
    def taken(self) -> int:
        """How many there are."""
        return self._taken.total()

    def take(self, address: str) -> Reason | None:
        """Take a place; give why there is none."""
        with self._lock:
            if self._taken.total() >= self.limits.max_associations:
                return Reason.TOO_MANY
            if self._taken[address] >= self.limits.max_associations_per_address:
                return Reason.TOO_MANY_FROM_ADDRESS
            self._taken[address] += 1
            return None

    def give_back(self, address: str) -> None:
        """Allow another have the place."""
        with self._lock:
            self._taken[address] -= 1
            if not self._taken[address]:
                del self._taken[address]


class PendingConnections:
    """Connections that have not yet been let in, oldest first."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._inside: dict[socket.socket, str] = {}

    def __contains__(self, connection: socket.socket) -> bool:
        return connection in self._inside

    def enter(self, connection: socket.socket, address: str) -> None:
        """Allow a connection wait; where there are too many, another is cut off, and finds out when it reads."""
        with self._lock:
            if len(self._inside) >= self.limits.max_waiting:
                most = Counter(self._inside.values()).most_common(1)[0][0]
                oldest = next(other for other, source in self._inside.items() if source == most)
                del self._inside[oldest]
                close_socket(oldest)
            self._inside[connection] = address

    def exchange(self, plain: socket.socket, wrapped: socket.socket) -> None:
        """Allow the TLS socket wait that took over a plain one's connection."""
        with self._lock:
            if plain in self._inside:
                self._inside[wrapped] = self._inside.pop(plain)
            else:
                close_socket(wrapped)

    def leave(self, connection: socket.socket) -> None:
        """Allow a connection go, to its association or away."""
        with self._lock:
            self._inside.pop(connection, None)

    def clear(self) -> None:
        """Cut off everyone."""
        with self._lock:
            for connection in self._inside:
                close_socket(connection)
