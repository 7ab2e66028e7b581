"""What a destination is, whatever it is called by: what becomes of the files it is sent, and what codes mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from scarnode.dicom.result_kinds import KINDS
from scarnode.dicom.scu.remote import RemoteAE
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


@dataclass(frozen=True)
class Check:
    """Whether a destination is there, and takes what it is to get.

    Attributes
    ----------
    ok : bool
    detail : str
        One sentence.
    todo : str
        What a person can do, where it is not ok.
    certificate_ends : float or None
        When the certificate ends that it showed, in seconds since 1970.
    """

    ok: bool
    detail: str
    todo: str = ""
    certificate_ends: float | None = None


class Destination(Protocol):
    """A peer that takes results. Its text (``str()``) is its address, for logs and pages.

    Attributes
    ----------
    name : str
        What config.ini calls it.
    objects : tuple of str
        Which of `scarnode.dicom.result_kinds.KINDS` it gets.
    host : str
        Name or address of its machine, for the audit trail.
    ae : RemoteAE or None
        The application entity that it is; None: it is not called by DIMSE.
    commitment : bool
        `ae` is asked for storage commitment of what it was sent.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def objects(self) -> tuple[str, ...]: ...  # noqa: D102

    @property
    def host(self) -> str: ...  # noqa: D102

    @property
    def ae(self) -> RemoteAE | None: ...  # noqa: D102

    @property
    def commitment(self) -> bool: ...  # noqa: D102

    def send(self, paths: Sequence[Path], calling_ae_title: str) -> tuple[Outcome, ...]:
        """Send files; never raise for what a peer does.

        Parameters
        ----------
        paths : sequence of Path
            DICOM files with file meta information.
        calling_ae_title : str
            Our own AE title.

        Returns
        -------
        tuple of Outcome
            One for each path, in their order. What the peer acknowledged before the connection broke is ok, the others
            can be retried. An object stored with a warning is ok, and so is one that the peer has already.
        """
        ...

    def echo(self, calling_ae_title: str) -> Outcome:
        """Ask whether it is there and takes our calls; the outcome has no path."""
        ...

    def check(self, calling_ae_title: str) -> Check:
        """Ask whether it is there and takes each of `objects`; send nothing."""
        ...


def check_objects(objects: tuple[str, ...]) -> None:
    """Raise ValueError for kinds of object that no destination can get."""
    if not objects or not set(objects) <= set(KINDS):
        raise ValueError(f"objects {objects!r} are not one or more of {', '.join(KINDS)}")


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
