"""Results go out by STOW-RS: one request and one outcome for every file, whatever the peer does."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from io import BytesIO
from itertools import chain
from pathlib import Path
from urllib.parse import urlencode, urlsplit
from uuid import uuid4

from pydicom import dcmread
from pydicom.errors import InvalidDicomError
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from scarnode.dicom.result_kinds import USUAL
from scarnode.dicom.scu.destination import (
    DUPLICATE_SOP_INSTANCE,
    PERMANENT_STATUSES,
    About,
    Check,
    Outcome,
    check_objects,
    patience,
    unable,
    unreadable,
)
from scarnode.dicom.scu.remote import check_timeout
from scarnode.dicom.tls import Identity
from scarnode.dicom.uids import derived_uid
from scarnode.dicom.web.http import Answer, Silence, request
from scarnode.dicom.web.store_response import MEDIA_TYPES, fate_of

DUPLICATES = frozenset({DUPLICATE_SOP_INSTANCE, 0xB00E})
"""FailureReasons that say "I have that instance already": the standard's, and that of Microsoft's DICOM service."""

PERMANENT_REASONS = PERMANENT_STATUSES | {0xC122}
"""FailureReasons that the same instance will meet again: C-STORE's, and "referenced transfer syntax not supported"."""

PERMANENT_HTTP = frozenset({301, 302, 303, 307, 308, 400, 401, 403, 405, 406, 407, 410, 411, 413, 415, 422, 431, 501})
"""HTTP statuses that last until a person changes the address, the rights, or a limit.

404 is not among them: an application server answers it while it starts.
"""

BUSY_HTTP = frozenset({429, 503})
"""HTTP statuses of a service that takes nothing from us now, whatever the object (RFC 6585 4, RFC 9110 15.6.4)."""

_PIECE = 256 * 1024
"""Bytes of an instance that are handed to the connection at once."""


@dataclass(frozen=True)
class WebDestination:
    """A peer that takes results by STOW-RS (`scarnode.dicom.scu.Destination`).

    Attributes
    ----------
    name : str
        What config.ini calls it.
    url : str
        Of its DICOMweb service, e.g. ``https://pacs/dicom-web``; instances are posted to ``studies`` below it.
    user, password : str
        For HTTP Basic authentication; empty: none.
    token : str
        Sent as bearer token; empty: none.
    ca_file : Path or None
        PEM file of the certificate authorities that may vouch for the peer; None: the public ones.
    objects : tuple of str
        Which of `scarnode.dicom.result_kinds.KINDS` it gets.
    timeout : float
        Seconds for which the peer may leave us without an answer: to the TCP connection, and to a request (here the
        time the transfer takes is added).
    identity : Identity or None
        What we show to a peer that asks for our certificate.

    Raises
    ------
    ValueError
        If an attribute can not be used.
    """

    name: str
    url: str
    user: str = ""
    password: str = field(default="", repr=False)
    token: str = field(default="", repr=False)
    ca_file: Path | None = None
    objects: tuple[str, ...] = USUAL
    timeout: float = 30.0
    identity: Identity | None = None

    def __post_init__(self) -> None:
        check_url(self.url)
        if bool(self.user) != bool(self.password):
            raise ValueError("user and password go together")
        if self.user and self.token:
            raise ValueError("a peer is given a token, or user and password, not both")
        if not (self.token.isascii() and self.token.isprintable()):
            raise ValueError("token is not printable ASCII")
        check_objects(self.objects)
        check_timeout(self.timeout)

    def __str__(self) -> str:
        return self.url

    @property
    def host(self) -> str:
        """Return the name or address of its machine."""
        return urlsplit(self.url).hostname or ""

    @property
    def ae(self) -> None:
        """Return None: it is not called by DIMSE."""
        return None

    @property
    def commitment(self) -> bool:
        """Return False: storage commitment is asked for by DIMSE."""
        return False

    def send(self, paths: Sequence[Path], calling_ae_title: str = "") -> tuple[Outcome, ...]:
        """Store files, one request each: a bad object or a limit of size fails alone.

        Parameters
        ----------
        paths : sequence of Path
            DICOM files with file meta information.
        calling_ae_title : str
            Not used: DICOMweb has no AE titles.

        Returns
        -------
        tuple of Outcome
            One for each path, in their order. Ok is only what the answer's ReferencedSOPSequence names, with or without
            a WarningReason, and what is there already. Where no answer comes, or the service takes nothing now, the
            files after it are not tried.
        """
        outcomes: list[Outcome] = []
        ended: Outcome | None = None
        for path in paths:
            found = _read(path)
            if isinstance(found, Outcome):
                outcomes.append(found)
            elif ended:
                outcomes.append(replace(ended, path=path))
            else:
                answer = self._post(found)
                if isinstance(answer, Silence):
                    outcomes.append(self._unanswered(path, answer))
                else:
                    outcomes.append(_stored(path, found.uid, answer, self))
                ended = _end(answer, outcomes[-1], self)
        return tuple(outcomes)

    def echo(self, calling_ae_title: str = "") -> Outcome:
        """Ask by QIDO-RS for a study that nobody has: is it there, and does it take our credentials?"""
        nowhere = urlencode({"StudyInstanceUID": derived_uid("scarnode", "echo"), "limit": 1})
        answer = self._request("GET", f"studies?{nowhere}", {"Accept": "application/dicom+json"})
        if isinstance(answer, Silence):
            return self._unanswered(None, answer)
        text = f"{self} answered a search for studies with {_named(answer.status)}"
        permanent = answer.status in PERMANENT_HTTP
        if answer.status == HTTPStatus.OK and not answer.body.lstrip().startswith(b"["):
            return Outcome(None, False, permanent, answer.status, f"{text}, but not in DICOM JSON.")
        return Outcome(None, answer.status in (200, 204), permanent, answer.status, f"{text}.")

    def check(self, calling_ae_title: str = "") -> Check:
        """Ask as `echo` does: a service does not say beforehand which objects it takes."""
        answer = self.echo()
        todo = "" if answer.ok else "Check url, user, password or token, and ca_file; is its DICOMweb service on?"
        return Check(answer.ok, answer.detail, todo)

    def _post(self, item: _Item) -> Answer | Silence:
        """Store one instance (PS3.18 10.5.1); its length is told before: not every server takes "chunked"."""
        boundary = uuid4().hex
        head = f"--{boundary}\r\nContent-Type: application/dicom\r\n\r\n".encode()
        tail = f"\r\n--{boundary}--".encode()
        headers = {
            "Accept": MEDIA_TYPES,
            "Content-Type": f'multipart/related; type="application/dicom"; boundary={boundary}',
            "Content-Length": str(len(head) + len(item.data) + len(tail)),
        }
        pieces = (item.data[start : start + _PIECE] for start in range(0, len(item.data), _PIECE))
        sending = patience(len(item.data), self.timeout)
        return self._request("POST", "studies", headers, chain([head], pieces, [tail]), sending)

    def _request(
        self, method: str, path: str, headers: dict[str, str], body: Iterable[bytes] = (), sending: float | None = None
    ) -> Answer | Silence:
        if self.token:
            headers = {**headers, "Authorization": f"Bearer {self.token}"}
        return request(
            method,
            f"{check_url(self.url)}/{path}",
            headers,
            body,
            auth=(self.user, self.password) if self.user else None,
            identity=self.identity,
            ca_file=self.ca_file,
            timeout=self.timeout,
            sending=sending,
        )

    def _unanswered(self, path: Path | None, silence: Silence) -> Outcome:
        about = About.OBJECT if silence.connected or path is None else About.DESTINATION
        detail = f"{silence.why[0].upper()}{silence.why[1:]} ({self})."
        return replace(unable(path, detail, about=about), fault=silence.fault)


def check_url(url: str) -> str:
    """Return the URL of a DICOMweb service without a slash at its end.

    Raises
    ------
    ValueError
        It is no such URL.
    """
    wanted = "an address like https://pacs.example.org/dicom-web"
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise ValueError(f"url is not {wanted}") from None
    if not usable or not (url.isascii() and url.isprintable()) or " " in url:
        raise ValueError(f"url is not {wanted}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("url holds a user name or password; these are keys of their own: user, password")
    if parts.query or parts.fragment:
        raise ValueError(f"url is not {wanted}, without ? and #")
    return url.rstrip("/")


@dataclass(frozen=True)
class _Item:
    """A file that can be sent: its bytes, and the SOP Instance UID in them."""

    data: bytes = field(repr=False)
    uid: str


def _read(path: Path) -> _Item | Outcome:
    """Return the file's bytes, or why it can not be sent."""
    try:
        data = path.read_bytes()
        dataset = dcmread(BytesIO(data))  # all of it: a fault of the file must not look like the peer's
        item = _Item(data, str(dataset.SOPInstanceUID))
        str(dataset.file_meta.TransferSyntaxUID)
    except InvalidDicomError:
        return unable(path, "The file is not a DICOM file.", permanent=True)
    except Exception as error:  # pydicom fails on a broken file in many ways; their text may quote values
        if outcome := unreadable(path, error):
            return outcome
        if isinstance(error, OSError):
            if error.strerror is None:  # pydicom's own, of a file that is cut short
                return unable(path, "The file is cut short.", permanent=True)
            return unable(path, f"The file can not be read: {error.strerror}.")
        return unable(path, f"The file can not be used ({type(error).__name__}).", permanent=True)
    return item


def _end(answer: Answer | Silence, outcome: Outcome, destination: WebDestination) -> Outcome | None:
    """Return the outcome of the objects that are not tried any more, None where the next one may be."""
    if outcome.about is About.DESTINATION:
        return outcome
    if isinstance(answer, Silence):
        text = f"{destination} did not answer for the object before this one."
        return unable(None, text, about=About.NOT_TRIED)
    return None


def _stored(path: Path, uid: str, answer: Answer, destination: WebDestination) -> Outcome:
    """Read what the answer says of the one instance that was sent."""
    failure, warning = fate_of(answer.body, uid)
    if failure is not None:
        text = f"{destination} answered {_reason(failure)}"
        if failure in DUPLICATES:
            return Outcome(path, True, False, failure, f"{text}: it has the instance already.")
        return Outcome(path, False, failure in PERMANENT_REASONS, failure, f"{text}: not stored.")
    text = f"{destination} answered {_named(answer.status)}"
    if warning is not None and answer.status in range(200, 300):
        text += f" with the warning {_reason(warning)}" if warning else ""
        return Outcome(path, True, False, warning, f"{text}: stored.")
    if answer.status in range(200, 300):
        return Outcome(path, False, False, answer.status, f"{text} without naming the object: not known to be stored.")
    permanent, about = answer.status in PERMANENT_HTTP, About.OBJECT
    if answer.status in BUSY_HTTP or answer.status == HTTPStatus.UNAUTHORIZED:
        about = About.DESTINATION
    return Outcome(path, False, permanent, answer.status, f"{text}: not stored.", about, answer.retry_after)


def _reason(code: int) -> str:
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(code, ("", ""))[1]
    return f"0x{code:04X}" + (f" ({meaning})" if meaning else "")


def _named(status: int) -> str:
    """Return an HTTP status with its name: ours, for the peer's may say anything."""
    with suppress(ValueError):
        return f"HTTP {status} ({HTTPStatus(status).phrase})"
    return f"HTTP {status}"
