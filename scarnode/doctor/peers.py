"""Checks of peers: destinations and archives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid
from pynetdicom import build_context

from scarnode.dicom.query import Archive, Wanted, find_studies
from scarnode.dicom.query.retrieve import GET, MOVE
from scarnode.dicom.scu import echo
from scarnode.dicom.scu.association import association
from scarnode.doctor.machine import certificate_finding
from scarnode.doctor.model import Finding, fail, ok
from scarnode.util.errors import ScarnodeError

if TYPE_CHECKING:
    from scarnode.config import Settings

UNCOMPRESSED: list[str | UID] = [ExplicitVRLittleEndian, ImplicitVRLittleEndian]


def check_destinations(settings: Settings) -> Iterator[Finding]:
    """Check that every destination answers, and accepts the kinds of object that it gets."""
    for name, destination in settings.peers().items():
        what = f"destination {name}"
        found = destination.check(settings.node.ae_title)
        yield ok(what, found.detail) if found.ok else fail(what, found.detail, found.todo)
        if found.certificate_ends is not None:
            yield certificate_finding(f"{what}, its certificate", found.certificate_ends)


def check_archives(settings: Settings) -> Iterator[Finding]:
    """Check that every source answers, can be queried, and lets studies be retrieved."""
    title = settings.node.ae_title
    for name, archive in settings.archives().items():
        yield _check_archive(f"source {name}", archive, title)


def _check_archive(what: str, archive: Archive, title: str) -> Finding:
    answer = echo(archive.peer, title)
    if not answer.ok:
        return fail(what, answer.detail, archive.peer.advice(archive.name, title))
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
