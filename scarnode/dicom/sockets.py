"""What the kernel is asked for connections, whoever opened them."""

from __future__ import annotations

import socket
from contextlib import suppress
from errno import EMFILE, ENFILE, ENOBUFS, ENOMEM

NO_SOCKET = (EMFILE, ENFILE, ENOMEM, ENOBUFS)
"""Why this machine has no socket for a connection, wherever it leads."""


def close_socket(connection: socket.socket) -> None:
    """End a connection, with TLS or without, under whoever waits for it in another thread."""
    with suppress(OSError):
        # not SSLSocket's own: that one takes the TLS object away from under the reader
        socket.socket.shutdown(connection, socket.SHUT_RDWR)


def acknowledge_at_once(connection: socket.socket) -> None:
    """Make the kernel acknowledge what came and what comes next without waiting (Linux; asked for before every wait).

    A sender with Nagle's algorithm on, as most have, holds the last piece of an image back until the one before is
    acknowledged, and the kernel delays that by 40 ms: 240 images took ten seconds of waiting (benchmarks/ingest.py).
    One that answers in two pieces, as dcmtk and Orthanc do, makes us wait so for each answer.
    """
    if hasattr(socket, "TCP_QUICKACK"):
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
