"""The types that enter and leave the deliver room, and what its status codes mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from urllib.parse import urlsplit

from scarnode.dicom.result_kinds import KINDS, USUAL
from scarnode.dicom.tls import Identity, Protection
from scarnode.util.errors import SystemFaultError, system_fault

DUPLICATE_SOP_INSTANCE = 0x0111
PERMANENT_STATUSES = (
    frozenset(range(0xA900, 0xAA00))  # data set does not match SOP class
    | {0x0117, 0x0122, 0x0124}  # invalid object instance, SOP class not supported, not authorised
)
"""Failures that the same object will meet again (PS3.4 Table B.2-1, PS3.7 Annex C; PS3.18 Annex I takes them over).

0xCxxx ("cannot understand") is not among them: PACS and toolkits answer it for a full disk or an exception of
their own as well (pynetdicom itself: 0xC211).
"""

SLOWEST_LINK = 64 * 1024
"""Bytes per second below which a transfer counts as hung."""


@dataclass(frozen=True)
class Destination:
    """A peer that takes results by C-STORE.

    Attributes
    ----------
    name : str
        What config.ini calls it.
    host : str
        Name or address.
    port : int
    ae_title : str
        The AE title we call.
    objects : tuple of str
        Which of `scarnode.dicom.result_kinds.KINDS` it gets.
    timeout : float
        Seconds for which the peer may leave us without an answer: to the TCP connection, the association request, a
        C-STORE (here the time the transfer takes is added) and the release.
    commitment : bool
        It is asked for storage commitment of what it was sent.
    tls : Protection or None
        How it is spoken to by TLS; None: without.

    Raises
    ------
    ValueError
        If an attribute can not be used.
    """

    name: str
    host: str
    port: int
    ae_title: str
    objects: tuple[str, ...] = USUAL
    timeout: float = 30.0
    commitment: bool = False
    tls: Protection | None = None

    def __post_init__(self) -> None:
        if not self.host.strip():
            raise ValueError("host is empty")
        if not 1 <= self.port <= 65535:
            raise ValueError(f"port {self.port} is not within 1 to 65535")
        title = self.ae_title.strip()
        if not 1 <= len(title) <= 16 or not title.isascii() or not title.isprintable() or "\\" in title:
            raise ValueError(f"AE title {title!r} is not 1 to 16 printable ASCII characters without a backslash")
        _check(self.objects, self.timeout)

    def __str__(self) -> str:
        return f"{self.ae_title} at {self.host}:{self.port}" + (" (TLS)" if self.tls else "")


@dataclass(frozen=True)
class WebDestination:
    """A peer that takes results by STOW-RS.

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
        _check(self.objects, self.timeout)

    def __str__(self) -> str:
        return self.url


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


def _check(objects: tuple[str, ...], timeout: float) -> None:
    """Refuse what no destination can have."""
    if not objects or not set(objects) <= set(KINDS):
        raise ValueError(f"objects {objects!r} are not one or more of {', '.join(KINDS)}")
    if not 0 < timeout < float("inf"):
        raise ValueError(f"timeout {timeout} is not a number of seconds above 0")


class About(Enum):
    """What an outcome is about: who is to blame decides what else must wait."""

    OBJECT = "object"
    """This object, or this echo."""
    DESTINATION = "destination"
    """There is no association, or the service takes nothing now: every object would meet the same."""
    NOT_TRIED = "not tried"
    """Nothing was asked: the association ended at an object before this one."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file, or of an echo.

    Attributes
    ----------
    path : Path or None
        The file; None for an echo.
    ok : bool
        The peer acknowledged it.
    permanent : bool
        Not ok, and trying again without a change by a person is pointless.
    status : int or None
        What the peer answered, None where no answer came. Of C-STORE the status; of STOW-RS the instance's
        FailureReason or WarningReason where there is one, 0 where it was stored, else the HTTP status.
    detail : str
        One sentence without patient data.
    about : About
    retry_after : float or None
        Seconds for which the peer asked us to wait.
    fault : SystemFaultError or None
        This machine could not do it; `permanent` where a file is missing, which may be its disk's fault.
    """

    path: Path | None
    ok: bool
    permanent: bool
    status: int | None
    detail: str
    about: About = About.OBJECT
    retry_after: float | None = None
    fault: SystemFaultError | None = None


def unable(path: Path | None, detail: str, permanent: bool = False, about: About = About.OBJECT) -> Outcome:
    """Return the outcome of something that got no answer."""
    return Outcome(path, False, permanent, None, detail, about)


def unreadable(path: Path, error: Exception) -> Outcome | None:
    """Return the outcome of a file that the machine could not read; None where the file itself is to blame."""
    fault = system_fault(error)
    if fault is None:
        return None
    detail = "The file is missing." if fault.missing else f"The file can not be read: {fault.why}."
    return Outcome(path, False, fault.missing, None, detail, fault=fault)


def patience(size: int, timeout: float) -> float:
    """Return the seconds that an object of so many bytes may take from its first byte to its answer."""
    return timeout + size / SLOWEST_LINK
