"""Results go out by C-STORE: one association, one outcome for every file, whatever the peer does."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import _config, build_context
from pynetdicom.association import Association
from pynetdicom.presentation import PresentationContext
from pynetdicom.sop_class import Verification  # type: ignore[attr-defined]  # made when pynetdicom is imported
from pynetdicom.status import STATUS_SUCCESS, STATUS_WARNING, STORAGE_SERVICE_CLASS_STATUS, code_to_category

from scarnode.dicom.scu.association import ClientAssociation, association, refusal, silence
from scarnode.dicom.scu.destination import (
    DUPLICATE_SOP_INSTANCE,
    PERMANENT_STATUSES,
    About,
    Outcome,
    patience,
    unable,
    unreadable,
)
from scarnode.dicom.scu.remote import RemoteAE

# A file that is named by its path goes out in its own bytes instead of being decoded and encoded again.
_config.STORE_SEND_CHUNKED_DATASET = True

MOST_CONTEXTS = 128
"""Presentation context IDs are odd and below 256 (PS3.8 9.3.2.2)."""

_C_STORE_RSP = 0x8001
"""Command Field of a C-STORE response (PS3.7 E.1)."""

_CONVERTIBLE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian})
"""Transfer syntaxes that differ in the coding of headers only: pynetdicom turns one into the other."""


@dataclass(frozen=True)
class Item:
    """A file that can be sent: what its meta information says, and its size in bytes.

    `file` is where its bytes lie, if not at `path`: one that lacked file meta information was given some there.
    """

    path: Path
    sop_class_uid: UID
    sop_instance_uid: UID
    transfer_syntax_uid: UID
    size: int
    file: Path | None = None


def send(paths: Sequence[Path], destination: RemoteAE, calling_ae_title: str) -> tuple[Outcome, ...]:
    """C-STORE files to a destination over one association.

    A file goes out in its own encoded bytes when the peer takes its transfer syntax; an uncompressed one is encoded
    anew when the peer takes only another uncompressed syntax.

    Parameters
    ----------
    paths : sequence of Path
        DICOM files with file meta information.
    destination : RemoteAE
    calling_ae_title : str
        Our own AE title.

    Returns
    -------
    tuple of Outcome
        One for each path, in their order. Files acknowledged before an association broke are ok, the others can be
        retried. Warnings (0xBxxx) mean "stored": ok. A duplicate (0x0111) is ok too: the peer has that instance.
    """
    outcomes: dict[int, Outcome] = {}
    items: dict[int, Item] = {}
    for index, path in enumerate(paths):
        found = read_item(path)
        if isinstance(found, Item):
            items[index] = found
        else:
            outcomes[index] = found
    if items:
        longest = sum(patience(item.size, destination.timeout) for item in items.values())
        with association(destination, calling_ae_title, _contexts(items.values()), longest) as line:
            for number, (index, item) in enumerate(items.items()):
                outcomes[index] = _store(line, item, number % 0xFFFF + 1)
    return tuple(outcomes[index] for index in range(len(paths)))


def echo(destination: RemoteAE, calling_ae_title: str) -> Outcome:
    """Ask a destination by C-ECHO whether it is there and takes our calls.

    Parameters
    ----------
    destination : RemoteAE
    calling_ae_title : str
        Our own AE title.

    Returns
    -------
    Outcome
        With path None.
    """
    contexts = [build_context(Verification, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
    with association(destination, calling_ae_title, contexts, destination.timeout) as line:
        if line.trouble or line.link is None:
            return line.trouble or unable(None, "There is no association.")
        if line.link.rejected_contexts:
            return refusal(None, line.link.rejected_contexts, destination)
        started = time.monotonic()
        try:
            answer = line.link.send_c_echo()
        except (RuntimeError, ValueError):  # the association ended in this very moment
            answer = Dataset()
        if "Status" not in answer:
            return unable(None, silence(line, "the C-ECHO", started, destination.timeout))
        status = int(answer.Status)
        text = f"{destination} answered the C-ECHO with status 0x{status:04X}."
        return Outcome(None, status == 0x0000, status in PERMANENT_STATUSES, status, text)


def read_item(path: Path) -> Item | Outcome:
    """Return what negotiation needs to know of a file, or why it can not be sent."""
    try:
        size = path.stat().st_size
        meta = read_file_meta_info(path)
        sop_class, instance = UID(meta.MediaStorageSOPClassUID), UID(meta.MediaStorageSOPInstanceUID)
        item = Item(path, sop_class, instance, UID(meta.TransferSyntaxUID), size)
        build_context(item.sop_class_uid, item.transfer_syntax_uid)
    except InvalidDicomError:
        return unable(path, "The file is not a DICOM file.", permanent=True)
    except Exception as error:  # pydicom fails on a broken header in many ways; their text may quote values
        if outcome := unreadable(path, error):
            return outcome
        if isinstance(error, OSError) and error.strerror:
            return unable(path, f"The file can not be read: {error.strerror}.")
        return unable(path, f"The file's meta information can not be used ({type(error).__name__}).", permanent=True)
    return item


def _contexts(items: Iterable[Item]) -> list[PresentationContext]:
    """Propose every SOP class with the file's own transfer syntax and with those it can be brought into.

    One context per syntax, so that a peer that takes several can not choose one that makes us encode anew.
    """
    wanted: dict[tuple[UID, UID], None] = {}
    for item in items:
        own = item.transfer_syntax_uid
        others = (ExplicitVRLittleEndian, ImplicitVRLittleEndian) if own in _CONVERTIBLE else ()
        wanted.update(dict.fromkeys((item.sop_class_uid, syntax) for syntax in (own, *others)))
    return [build_context(sop_class, syntax) for sop_class, syntax in list(wanted)[:MOST_CONTEXTS]]


def _store(line: ClientAssociation, item: Item, message_id: int) -> Outcome:
    """C-STORE one file over an association, if there is one that takes it."""
    own, sop_class = item.transfer_syntax_uid, item.sop_class_uid
    if line.trouble or line.link is None:
        return dataclasses.replace(line.trouble or unable(None, "There is no association."), path=item.path)
    contexts = [context for context in line.link.accepted_contexts if context.abstract_syntax == sop_class]
    accepted = {context.transfer_syntax[0] for context in contexts}
    if own in accepted:
        return exchange(line, line.link, item.path, item, message_id)
    if own in _CONVERTIBLE and accepted & _CONVERTIBLE:
        try:
            dataset = dcmread(item.path)
        except Exception as error:  # pydicom fails on a bad file in many ways; their text may quote values
            outcome = unreadable(item.path, error)
            return outcome or unable(item.path, f"The file can not be read ({type(error).__name__}).")
        return exchange(line, line.link, dataset, item, message_id)
    refused = [context for context in line.link.rejected_contexts if context.abstract_syntax == sop_class]
    return untaken(item, refused, sorted(accepted), line.destination)


def untaken(
    item: Item, refused: Sequence[PresentationContext], accepted: Sequence[UID], destination: RemoteAE
) -> Outcome:
    """Describe why there is no presentation context for a file."""
    name = item.sop_class_uid.name
    if accepted:  # a peer that "accepts" what nobody proposed
        syntaxes = ", ".join(UID(syntax).name for syntax in accepted)
        return unable(item.path, f"{destination} accepted {name} in {syntaxes}, which was not proposed.")
    if refused:
        return refusal(item.path, refused, destination)
    text = f"{name} did not fit into one association; it goes with the next one."
    return unable(item.path, text, about=About.NOT_TRIED)


def exchange(line: ClientAssociation, link: Association, thing: Path | Dataset, item: Item, message_id: int) -> Outcome:
    """Make one C-STORE request and wait for its answer."""
    link.dimse_timeout = wait = patience(item.size, line.destination.timeout)
    started = time.monotonic()
    line.answered = None
    try:
        answer = link.send_c_store(thing, message_id)
    except RuntimeError:  # the association ended in this very moment
        answer = Dataset()
    except OSError as error:  # the command may be out already, its data never will be
        line.end()
        return unreadable(item.path, error) or unable(item.path, f"The file can not be read: {error.strerror}.")
    except Exception as error:  # what pynetdicom can not encode
        if outcome := unreadable(item.path, error):
            line.end()
            return outcome
        return unable(item.path, f"The file can not be encoded ({type(error).__name__}).", permanent=True)
    if "Status" not in answer:
        line.end()
        return unable(item.path, silence(line, "the C-STORE", started, wait))
    if not line.answers(_C_STORE_RSP, message_id, item.sop_instance_uid):
        line.end()
        return unable(
            item.path, f"{line.destination} answered another request than the C-STORE: not known to be stored."
        )
    return _answered(item.path, int(answer.Status), line.destination)


def _answered(path: Path, status: int, destination: RemoteAE) -> Outcome:
    """Read a C-STORE status."""
    category = code_to_category(status)
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, ("", ""))[1] or category
    text = f"{destination} answered 0x{status:04X}" + (f" ({meaning})" if meaning else "")
    if category in (STATUS_SUCCESS, STATUS_WARNING):
        return Outcome(path, True, False, status, f"{text}: stored.")
    if status == DUPLICATE_SOP_INSTANCE:
        return Outcome(path, True, False, status, f"{text}: it has the instance already.")
    return Outcome(path, False, status in PERMANENT_STATUSES, status, f"{text}: not stored.")
