"""Checks of peers: destinations and archives."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import build_context

from scarnode.dicom.query import Archive, Wanted, find_studies
from scarnode.dicom.query.retrieve import GET, MOVE
from scarnode.dicom.scu import Destination, WebDestination, echo
from scarnode.dicom.scu.association import ClientAssociation, association
from scarnode.doctor.machine import certificate_finding
from scarnode.doctor.model import Finding, fail, ok
from scarnode.util.errors import ScarnodeError

if TYPE_CHECKING:
    from scarnode.config import Settings

CLASSES = {
    "seg": "1.2.840.10008.5.1.4.1.1.66.4",
    "sr": "1.2.840.10008.5.1.4.1.1.88.34",
    "sc": "1.2.840.10008.5.1.4.1.1.7",
    "pdf": "1.2.840.10008.5.1.4.1.1.104.1",
    "labelmap": "1.2.840.10008.5.1.4.1.1.66.7",
    "probability": "1.2.840.10008.5.1.4.1.1.66.4",
}
"""SOP class of each kind of result object."""

UNCOMPRESSED: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def check_destinations(settings: Settings) -> Iterator[Finding]:
    """Check that every destination answers, and accepts the kinds of object that it gets."""
    title = settings.node.ae_title
    for name, peer in settings.peers().items():
        what = f"destination {name}"
        answer = echo(peer, title)
        if not answer.ok:
            yield fail(what, answer.detail, _todo(peer, name, title))
        elif isinstance(peer, WebDestination):
            yield ok(what, answer.detail)
        else:
            yield from _check_contexts(what, peer, title)


def _check_contexts(what: str, peer: Destination, title: str) -> Iterator[Finding]:
    """Propose the presentation contexts of a delivery, and send nothing."""
    contexts = [build_context(CLASSES[kind], UNCOMPRESSED) for kind in dict.fromkeys(peer.objects)]
    with association(peer, title, contexts, peer.timeout) as line:
        accepted = {str(context.abstract_syntax) for context in line.link.accepted_contexts} if line.link else set()
        refused = [kind for kind in peer.objects if CLASSES[kind] not in accepted]
        if refused:
            todo = f"Allow these SOP classes there, or leave them out of [{what.replace(' ', ':')}] objects"
            names = ", ".join(f"{kind} ({UID(CLASSES[kind]).name})" for kind in refused)
            yield fail(what, f"{peer} answers C-ECHO, and does not take {names}", todo)
        else:
            yield ok(what, f"{peer} answers C-ECHO and takes {', '.join(peer.objects)}")
        yield from _certificate(what, line)


def _certificate(what: str, line: ClientAssociation) -> Iterator[Finding]:
    """Return the finding on the end of a peer's certificate."""
    held = line.link.dul.socket.socket if line.link and line.link.dul.socket else None
    if isinstance(held, ssl.SSLSocket) and (shown := held.getpeercert()):
        yield certificate_finding(f"{what}, its certificate", ssl.cert_time_to_seconds(str(shown["notAfter"])))


def check_archives(settings: Settings) -> Iterator[Finding]:
    """Check that every source answers, can be queried, and lets studies be retrieved."""
    title = settings.node.ae_title
    for name, archive in settings.archives().items():
        yield _check_archive(f"source {name}", archive, title)


def _check_archive(what: str, archive: Archive, title: str) -> Finding:
    answer = echo(archive.peer, title)
    if not answer.ok:
        return fail(what, answer.detail, _todo(archive.peer, archive.name, title))
    try:
        find_studies(archive, Wanted(study_uid=generate_uid(prefix=None)), title)  # a UID that no study has
    except ScarnodeError as error:
        return fail(what, error.what, error.todo)
    model = MOVE if archive.how == "move" else GET
    with association(archive.peer, title, [build_context(model, UNCOMPRESSED)], archive.peer.timeout) as line:
        taken = line.link is not None and bool(line.link.accepted_contexts)
    how = f"C-{archive.how.upper()}"
    if not taken:
        other = "get" if archive.how == "move" else "move"
        todo = f"Allow it there, or set [source:{archive.name}] how = {other}"
        return fail(what, f"{archive} answers C-ECHO and C-FIND, and does not do {how}", todo)
    return ok(what, f"{archive} answers C-ECHO and C-FIND, and does {how}")


def _todo(peer: Destination | WebDestination, name: str, title: str) -> str:
    if isinstance(peer, WebDestination):
        return "Check url, user, password or token, and ca_file; is its DICOMweb service on?"
    return f"Check host, port and ae_title of {name}, and that {peer.ae_title} knows the AE title {title}; is it on?"
