"""Audit messages on the wire: syslog (RFC 5424) over TLS (RFC 5425) or UDP (RFC 5426), by DICOM PS3.15 A.6 and A.7."""

from __future__ import annotations

import errno
import fcntl
import os
import select
import socket
import ssl
import struct
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timezone
from pathlib import Path
from urllib.parse import urlsplit

from scarnode.audit.encode import to_xml
from scarnode.audit.model import Message, Outcome, Source
from scarnode.dicom.tls import Identity, client_context, explain

SECURITY_FACILITY = 10
NOTICE, WARNING = 5, 4
MSGID = "DICOM+RFC3881"
PORTS = {"syslog-tls": 6514, "syslog-udp": 514}
UDP_PATIENCE = 0.05
"""Seconds to wait for an ICMP error of a machine without a listener. UDP has no other answer."""


@dataclass(frozen=True)
class Repository:
    """An audit record repository.

    Attributes
    ----------
    scheme : str
        syslog-tls or syslog-udp.
    identity : Identity or None
        Certificate and key for a repository that requires them.
    ca_file : Path or None
        PEM file of the certificate authorities that are trusted for it; None: the public ones.
    timeout : float
        Seconds to connect, for every write, and for the peer's close.
    """

    scheme: str
    host: str
    port: int
    identity: Identity | None = None
    ca_file: Path | None = None
    timeout: float = 10.0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


@dataclass(frozen=True)
class Transmission:
    """The outcome of sending messages.

    Attributes
    ----------
    sent : int
        How many of them, from the first on, the repository has (TLS), or were sent without an error (UDP).
    trouble : str
        Why not all were sent, in one sentence without patient data.
    too_long : bool
        The next one will never fit into a datagram.
    """

    sent: int
    trouble: str = ""
    too_long: bool = False


def parse_url(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a repository's address.

    Raises
    ------
    ValueError
        It is no such address.
    """
    wanted = "an address like syslog-tls://audit.example.org:6514 or syslog-udp://audit.example.org:514"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(wanted) from None
    usable = parts.scheme in PORTS and port != 0 and url.isascii() and url.isprintable()
    if (
        not usable
        or not parts.hostname
        or parts.username is not None
        or parts.path.strip("/")
        or parts.query
        or parts.fragment
    ):
        raise ValueError(wanted)
    return parts.scheme, parts.hostname, port or PORTS[parts.scheme]


def envelope(message: Message, source: Source) -> bytes:
    """Return the SYSLOG-MSG (RFC 5424) that carries an audit message.

    Facility 10 (security/authorization); severity 5 (notice), of what failed 4 (warning): PS3.15 A.6.
    """
    severity = NOTICE if message.outcome is Outcome.SUCCESS else WARNING
    at = message.at.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    host = "".join(c for c in source.host if "!" <= c <= "~")[:255] or "-"
    header = f"<{SECURITY_FACILITY * 8 + severity}>1 {at} {host} scarnode {os.getpid()} {MSGID} - "
    return header.encode("ascii") + b"\xef\xbb\xbf" + to_xml(message, source)


def transmit(messages: Sequence[bytes], repository: Repository) -> Transmission:
    """Send SYSLOG-MSGs in their order.

    Parameters
    ----------
    messages : sequence of bytes
    repository : Repository

    Returns
    -------
    Transmission
        Never raises for what the repository or the network does.

    Notes
    -----
    Syslog has no acknowledgement. Over TLS, messages count as sent once both sides have closed the connection (RFC 5425
    4.4) and the repository has read everything. The repository's close_notify is not required: rsyslogd with GnuTLS
    sends none. Nor is it enough: rsyslogd with OpenSSL sends one to a client whose certificate it refuses, and drops
    the messages. If the connection ends in another way, none of the messages counts, and some may arrive twice.
    """
    try:
        if repository.scheme == "syslog-udp":
            return _over_udp(messages, repository)
        return _over_tls(messages, repository)
    except (OSError, ValueError) as error:
        return Transmission(0, _describe(error, repository.timeout))


def _describe(error: OSError | ValueError, timeout: float) -> str:
    """Return why nothing was sent, without text from the peer."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return explain(error)
    if isinstance(error, ssl.SSLError):
        return f"TLS failed ({error.reason or type(error).__name__})"
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, OSError):
        return f"no connection ({error.strerror or type(error).__name__})"
    return "a certificate can not be used; see: scarnode config check"


def _over_tls(messages: Sequence[bytes], repository: Repository) -> Transmission:
    context = client_context(repository.identity, repository.ca_file)
    address = (repository.host, repository.port)
    with (
        socket.create_connection(address, repository.timeout) as line,
        line.dup() as raw,  # the TLS socket takes over the first descriptor
        context.wrap_socket(line, server_hostname=repository.host) as link,
    ):
        link.settimeout(repository.timeout)
        for message in messages:
            link.sendall(b"%d %s" % (len(message), message))  # octet counting: RFC 5425 4.3
        try:
            link.unwrap()  # sends close_notify and waits for the peer's
            answered = True
        except ssl.SSLEOFError:
            answered = False
        if not _was_read(raw, answered, repository.timeout):
            return Transmission(0, "it closed the connection before it had read all messages")
    return Transmission(len(messages))


def _was_read(raw: socket.socket, answered: bool, timeout: float) -> bool:
    """Return whether a peer that closes a TCP connection had read everything.

    A close with unread bytes is a reset, and so is the answer to bytes after the close. So an orderly end, with all
    sent bytes acknowledged, means that the peer read everything.

    Parameters
    ----------
    answered : bool
        The peer sent a close_notify, so it may delay the end of the connection.
    """
    raw.settimeout(timeout)
    try:
        raw.shutdown(socket.SHUT_WR)
        while raw.recv(4096):
            pass
    except TimeoutError:
        return answered
    except OSError:
        return False
    deadline = time.monotonic() + timeout
    while time.monotonic() < deadline:
        unacknowledged = struct.unpack("i", fcntl.ioctl(raw, termios.TIOCOUTQ, b"\0" * 4))[0]
        if raw.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return False
        if not unacknowledged:
            return True
        time.sleep(0.01)
    return False


def _over_udp(messages: Sequence[bytes], repository: Repository) -> Transmission:
    family, kind, protocol, _, address = socket.getaddrinfo(repository.host, repository.port, type=socket.SOCK_DGRAM)[0]
    with socket.socket(family, kind, protocol) as link:
        link.connect(address)
        for number, message in enumerate(messages):
            try:
                link.send(message)
                if select.select([link], [], [], UDP_PATIENCE)[0]:
                    with suppress(BlockingIOError):
                        link.recv(1, socket.MSG_DONTWAIT)  # raises the error of the network
            except OSError as error:
                if error.errno == errno.EMSGSIZE:
                    return Transmission(number, f"{len(message)} octets do not fit into a datagram", too_long=True)
                return Transmission(number, f"the datagram was refused ({error.strerror})")
    return Transmission(len(messages))
