"""One HTTP request that ends in time, and never raises for what a peer does: DICOMweb and webhooks go by it."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from scarnode.dicom.sockets import NO_SOCKET, close_socket
from scarnode.dicom.tls import Identity, client_context, explain
from scarnode.dicom.uids import IMPLEMENTATION_VERSION_NAME
from scarnode.util.errors import SystemFaultError, causes_of, system_fault

MOST_ANSWER = 1024 * 1024
"""Bytes of an answer that are read; the longest of real ones are a few thousand."""

# They log addresses, which may hold a secret, and what peers wrote.
for _name in ("httpx2", "httpcore2"):
    logging.getLogger(_name).setLevel(logging.WARNING)


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, body, and the seconds for which the peer wants no request (None: it does not say)."""

    status: int
    body: bytes
    retry_after: float | None = None


@dataclass(frozen=True)
class Silence:
    """No answer.

    Attributes
    ----------
    why : str
        A phrase without anything that was sent, or that the peer wrote.
    connected : bool
        Whether there was a connection over which the request could go.
    fault : SystemFaultError or None
        This machine could not do it.
    """

    why: str
    connected: bool
    fault: SystemFaultError | None = None


def request(
    method: str,
    url: str,
    headers: Mapping[str, str],
    body: Iterable[bytes] = (),
    *,
    auth: tuple[str, str] | None = None,
    identity: Identity | None = None,
    ca_file: Path | None = None,
    timeout: float,
    sending: float | None = None,
    most: int = MOST_ANSWER,
) -> Answer | Silence:
    """Make one request on a connection of its own. No redirect is followed, and the environment says nothing.

    Parameters
    ----------
    method, url : str
    headers : mapping
        With Content-Length, where there is a body.
    body : iterable of bytes
    auth : tuple of str, optional
        User and password for HTTP Basic authentication.
    identity : Identity, optional
        Shown to a peer that asks for our certificate.
    ca_file : Path, optional
        PEM file of the authorities that may vouch for the peer; None: the public ones.
    timeout : float
        Seconds for which the peer may leave us without a byte: to connect, and of the answer.
    sending : float, optional
        Seconds that the request's bytes may take; None: `timeout`. The whole may take ``sending + 2 * timeout``.
    most : int
        Bytes of the answer's body that are read.

    Returns
    -------
    Answer or Silence
    """
    import httpx2  # not light, and not for those who only read config.ini

    sending = timeout if sending is None else sending
    try:
        context = _context(url, identity, ca_file)
    except (OSError, ValueError) as error:
        return Silence(f"a file for TLS can not be used ({type(error).__name__})", False, _no_socket([error]))
    line = _Line()
    longest = threading.Timer(sending + 2 * timeout, line.cut)  # also before and after the request's bytes
    longest.daemon = True
    longest.start()
    try:
        limits = httpx2.Timeout(connect=timeout, read=timeout, write=sending, pool=timeout)
        given = {"User-Agent": IMPLEMENTATION_VERSION_NAME, "Accept-Encoding": "gzip, deflate", **headers}
        with (
            httpx2.Client(verify=context, trust_env=False, timeout=limits, auth=auth) as client,
            client.stream(
                method, url, headers=given, content=body or None, extensions={"trace": line.trace}
            ) as response,
        ):
            content = _decoded(_read(response.iter_raw(), most), response.headers.get("Content-Encoding", ""), most)
            answer = Answer(response.status_code, content, _retry_after(response.headers.get("Retry-After", "")))
    except Exception as error:  # what httpx, httpcore, h11 and ssl raise for what a peer does
        return Silence(_why(error, line, timeout, sending), line.connected, _no_socket(causes_of(error)))
    finally:
        longest.cancel()
        line.close()
    if line.expired.is_set():  # an answer that was cut off reads like a whole one
        return Silence(_late(sending + 2 * timeout), line.connected)
    return answer


class _Line:
    """The connection of one request, so that it can be ended from outside.

    httpx bounds single reads and writes only: a peer that trickles bytes would hold the sending thread for ever.
    """

    def __init__(self) -> None:
        self.expired = threading.Event()
        self.connected = False
        self._twins: list[socket.socket] = []

    def trace(self, event: str, info: Mapping[str, Any]) -> None:
        """Take httpcore's word (its extension "trace") of what it does.

        A second handle on the connection is kept: TLS takes the first one away.
        """
        if event == "connection.connect_tcp.complete":
            self._twins.append(info["return_value"].get_extra_info("socket").dup())
            if self.expired.is_set():
                self.cut()
        elif event == "http11.send_request_headers.started":
            self.connected = True

    def cut(self) -> None:
        """End the connection under whoever waits for it."""
        self.expired.set()
        for twin in self._twins:
            close_socket(twin)

    def close(self) -> None:
        """Give the handles back."""
        for twin in self._twins:
            twin.close()


def _context(url: str, identity: Identity | None, ca_file: Path | None) -> ssl.SSLContext:
    if urlsplit(url).scheme == "https":
        return client_context(identity, ca_file)
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # unused: without one the client would load all authorities


def _read(pieces: Iterable[bytes], most: int) -> bytes:
    body = bytearray()
    if most:
        for piece in pieces:
            body += piece
            if len(body) >= most:
                break
    return bytes(body[:most])


def _decoded(body: bytes, coding: str, most: int) -> bytes:
    """Undo a Content-Encoding; httpx would do so without a bound."""
    if coding.strip().lower() not in ("gzip", "x-gzip", "deflate"):
        return body
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 32).decompress(body, most)
    except zlib.error:
        return b""


def _retry_after(value: str) -> float | None:
    """Read a Retry-After header (RFC 9110 10.2.3): seconds, or a date."""
    with suppress(ValueError, TypeError, OverflowError):
        if value.strip().isdecimal():
            return float(value)
        date = parsedate_to_datetime(value)
        return max(0.0, date.timestamp() - time.time())
    return None


def _why(error: Exception, line: _Line, timeout: float, sending: float) -> str:
    """Describe why no answer came; never in a library's words, which may quote what was sent."""
    import httpx2

    causes = causes_of(error)
    tls = [cause for cause in causes if isinstance(cause, ssl.SSLError)]
    refused = [cause for cause in tls if isinstance(cause, ssl.SSLCertVerificationError)]
    if refused:
        return explain(refused[0])
    if line.expired.is_set():
        return _late(sending + 2 * timeout)
    if fault := _no_socket(causes):
        return f"this machine has no connection to give: {fault.why}"
    text = "the connection was lost, or no HTTP was spoken on it, before an answer came"
    if isinstance(error, httpx2.ConnectTimeout):
        text = f"no connection: {_late(timeout)}"
    elif isinstance(error, httpx2.TimeoutException):
        text = _late(sending if isinstance(error, httpx2.WriteTimeout) else timeout)
    elif tls:
        text = f"TLS failed ({explain(tls[0])}): does it speak https, in a version that we speak too?"
    elif isinstance(error, httpx2.ConnectError):
        text = "no connection: refused, unknown host, or no way there"
    return text


def _late(seconds: float) -> str:
    return f"no answer within {seconds:.3g} s"


def _no_socket(causes: Iterable[BaseException]) -> SystemFaultError | None:
    """Return the fault of a machine that has no socket, or memory, left."""
    for cause in causes:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno in NO_SOCKET):
            return system_fault(cause)
    return None
