"""A destination that takes results by C-STORE."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context

from scarnode.dicom.result_kinds import SOP_CLASSES, USUAL
from scarnode.dicom.scu import store
from scarnode.dicom.scu.association import ClientAssociation, association
from scarnode.dicom.scu.destination import Check, Outcome, check_objects
from scarnode.dicom.scu.remote import RemoteAE


@dataclass(frozen=True)
class DimseDestination:
    """A peer that takes results by C-STORE (`scarnode.dicom.scu.Destination`).

    Attributes
    ----------
    name : str
        What config.ini calls it.
    ae : RemoteAE
    objects : tuple of str
        Which of `scarnode.dicom.result_kinds.KINDS` it gets.
    commitment : bool
        It is asked for storage commitment of what it was sent.

    Raises
    ------
    ValueError
        If an attribute can not be used.
    """

    name: str
    ae: RemoteAE
    objects: tuple[str, ...] = USUAL
    commitment: bool = False

    def __post_init__(self) -> None:
        check_objects(self.objects)

    def __str__(self) -> str:
        return str(self.ae)

    @property
    def host(self) -> str:
        """Return the name or address of its machine."""
        return self.ae.host

    def send(self, paths: Sequence[Path], calling_ae_title: str) -> tuple[Outcome, ...]:
        """C-STORE files over one association (`scarnode.dicom.scu.send`)."""
        return store.send(paths, self.ae, calling_ae_title)

    def echo(self, calling_ae_title: str) -> Outcome:
        """Ask by C-ECHO whether it is there and takes our calls."""
        return store.echo(self.ae, calling_ae_title)

    def check(self, calling_ae_title: str) -> Check:
        """Ask by C-ECHO whether it is there, and propose the SOP classes of `objects`."""
        answer = self.echo(calling_ae_title)
        if not answer.ok:
            return Check(False, answer.detail, self.ae.advice(self.name, calling_ae_title))
        syntaxes: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]
        contexts = [build_context(SOP_CLASSES[kind], syntaxes) for kind in dict.fromkeys(self.objects)]
        with association(self.ae, calling_ae_title, contexts, self.ae.timeout) as line:
            accepted = {str(context.abstract_syntax) for context in line.link.accepted_contexts} if line.link else set()
            ends = _certificate_end(line)
        refused = [kind for kind in self.objects if SOP_CLASSES[kind] not in accepted]
        if not refused:
            return Check(True, f"{self} answers C-ECHO and takes {', '.join(self.objects)}", "", ends)
        names = ", ".join(f"{kind} ({UID(SOP_CLASSES[kind]).name})" for kind in refused)
        todo = f"Allow these SOP classes there, or leave them out of [destination:{self.name}] objects"
        return Check(False, f"{self} answers C-ECHO, and does not take {names}", todo, ends)


def _certificate_end(line: ClientAssociation) -> float | None:
    """Return when the certificate that the peer showed us ends, in seconds since 1970."""
    held = line.link.dul.socket.socket if line.link and line.link.dul.socket else None
    if isinstance(held, ssl.SSLSocket) and (shown := held.getpeercert()):
        return float(ssl.cert_time_to_seconds(str(shown["notAfter"])))
    return None
