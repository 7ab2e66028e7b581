"""One HTTP request that ends in time and never raises: what STOW-RS and QIDO-RS go by."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any

import requests
from dicomweb_client import DICOMwebClient
from requests.adapters import HTTPAdapter
from requests.auth import HTTPBasicAuth
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import NewConnectionError

from scarnode.dicom.scu.destination import WebDestination, check_url
from scarnode.dicom.uids import IMPLEMENTATION_VERSION_NAME
from scarnode.util.errors import causes_of

MEDIA_TYPES = "application/dicom+json, application/dicom+xml;q=0.5"
"""Forms in which we read the answer to a request to store (PS3.18 10.5.3)."""

_MOST_ANSWER = 1024 * 1024
"""Bytes of an answer that are read; the longest of real ones are a few thousand."""


@dataclass(frozen=True)
class Answer:
    """An HTTP answer: status, body, and the seconds for which the peer wants no request (None: it does not say)."""

    status: int
    body: bytes
    retry_after: float | None = None


@dataclass(frozen=True)
class Silence:
    """No answer: why, in one sentence, and whether there was a connection over which the request could go."""

    why: str
    connected: bool


def ask(destination: WebDestination, limit: float, call: Callable[[DICOMwebClient], object]) -> Answer | Silence:
    """Make one request on a connection of its own.

    Parameters
    ----------
    destination : WebDestination
    limit : float
        Seconds that the request's bytes may take.
    call : callable
        Makes the request with the client it is given.

    Returns
    -------
    Answer or Silence

    Notes
    -----
    The library's own reading of the answer is passed by: it knows a media type only when no parameter follows it, and
    raises for statuses whose body says what became of the instance.
    """
    answers: list[Answer] = []

    def take(response: requests.Response, **_: object) -> None:
        body = response.raw.read(_MOST_ANSWER, decode_content=True)
        answers.append(Answer(response.status_code, body, _retry_after(response.headers.get("Retry-After", ""))))
        response.close()

    line = _Line(limit)
    longest = threading.Timer(limit + 2 * destination.timeout, line.cut)  # also before and after the object's bytes
    longest.daemon = True
    longest.start()
    try:
        with _session(destination, line) as session:
            client = DICOMwebClient(
                check_url(destination.url),
                session,
                callback=take,
                chunk_size=2**31,  # never "chunked": not every server behind a proxy takes it
                timeout=destination.timeout,
            )
            client.set_http_retry_params(retry=False)  # the ledger repeats, and knows when
            call(client)
    except Exception as error:  # what requests, urllib3, ssl, http.client and the library raise for what a peer does
        if not answers or line.expired.is_set():
            return _trouble(destination, error, line, limit)
    finally:
        longest.cancel()
        line.close()
    if line.expired.is_set():  # an answer that was cut off reads like a whole one
        return _trouble(destination, TimeoutError(), line, limit)
    return answers[-1]


def _session(destination: WebDestination, line: _Line) -> requests.Session:
    """Return an HTTP session that does what config.ini says, and nothing that the environment or the peer says."""
    session = requests.Session()
    session.trust_env = False  # no proxy, no .netrc
    session.max_redirects = 0  # a redirected POST becomes a GET, and credentials would go elsewhere
    session.verify = str(destination.ca_file) if destination.ca_file else True
    if destination.identity:
        session.cert = (str(destination.identity.certificate), str(destination.identity.private_key))
    session.headers.update({"Accept": MEDIA_TYPES, "User-Agent": IMPLEMENTATION_VERSION_NAME})
    if destination.user:
        session.auth = HTTPBasicAuth(destination.user.encode(), destination.password.encode())
    elif destination.token:
        session.headers["Authorization"] = f"Bearer {destination.token}"
    session.mount("http://", _Adapter(line))
    session.mount("https://", _Adapter(line))
    return session


class _Line:
    """The connections of one request, so that they can be ended from outside.

    requests bounds single reads only: a peer that trickles bytes would hold the sending thread for ever.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.expired = threading.Event()
        self.connected = False
        self._twins: list[socket.socket] = []

    def watch(self, link: socket.socket) -> socket.socket:
        """Keep a second handle on a connection: TLS takes the first one away."""
        self._twins.append(link.dup())
        if self.expired.is_set():
            self.cut()
        return link

    def cut(self) -> None:
        """End the connections under whoever waits for them."""
        self.expired.set()
        for twin in self._twins:
            with suppress(OSError):
                twin.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Return the handles back."""
        for twin in self._twins:
            twin.close()


class _Plain(HTTPConnection):
    """HTTP, on a connection that a `_Line` knows."""

    def __init__(self, line: _Line, **options: Any) -> None:
        super().__init__(**options)
        self._line = line

    def _new_conn(self) -> socket.socket:
        return self._line.watch(super()._new_conn())

    def connect(self) -> None:
        """Connect, then allow the request's bytes the time they need; the answer has a limit of its own."""
        super().connect()  # TLS included
        self._line.connected = True
        self.timeout = self._line.limit
        if self.sock is not None:
            self.sock.settimeout(self._line.limit)


class _Secure(_Plain, HTTPSConnection):
    """HTTP over TLS."""


class _Adapter(HTTPAdapter):
    """Gives requests the connections above."""

    def __init__(self, line: _Line) -> None:
        super().__init__(max_retries=0)
        self._line = line

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> Any:
        """Return the pool for a request."""
        pool = super().get_connection_with_tls_context(*args, **options)
        kind = partial(_Secure if pool.scheme == "https" else _Plain, self._line)
        pool.ConnectionCls = kind  # type: ignore[attr-defined]  # requests' hint names the base class
        return pool

    def send(self, request: requests.PreparedRequest, *args: Any, **options: Any) -> requests.Response:
        """Send a request, with the Host header that HTTP wants: dicomweb-client's lacks the port."""
        request.headers.pop("Host", None)
        return super().send(request, *args, **options)


def _retry_after(value: str) -> float | None:
    """Read a Retry-After header (RFC 9110 10.2.3): seconds, or a date."""
    with suppress(ValueError, TypeError, OverflowError):
        if value.strip().isdecimal():
            return float(value)
        date = parsedate_to_datetime(value)
        return max(0.0, date.timestamp() - time.time())
    return None


def _trouble(destination: WebDestination, error: Exception, line: _Line, limit: float) -> Silence:
    """Describe why no answer came; never in a library's words, which may quote what was sent."""
    causes = causes_of(error)

    def among(*kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in causes)

    refused = [cause.verify_message for cause in causes if isinstance(cause, ssl.SSLCertVerificationError)]
    if refused:
        return Silence(f"The certificate of {destination} is not accepted: {refused[0]}.", False)
    if line.expired.is_set():
        text = f"{destination} did not answer within {limit + 2 * destination.timeout:.3g} s."
    elif among(requests.ConnectTimeout):
        text = f"No connection to {destination}: no answer within {destination.timeout:g} s."
    elif among(TimeoutError, requests.Timeout):
        text = f"{destination} did not answer within {destination.timeout:g} s."
    elif among(ssl.SSLError):
        text = f"TLS with {destination} failed: does it speak https, in a version that we speak too?"
    elif among(NewConnectionError):
        text = f"No connection to {destination}: refused, unknown host, or no way there."
    else:
        text = f"The connection to {destination} was lost, or spoke no HTTP, before it answered."
    return Silence(text, line.connected)
