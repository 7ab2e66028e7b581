"""Results go out by STOW-RS: one request and one outcome for every file, whatever the peer does."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from dicomweb_client import DICOMwebClient
from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.errors import InvalidDicomError
from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS

from scarnode.dicom.scu.destination import (
    DUPLICATE_SOP_INSTANCE,
    PERMANENT_STATUSES,
    About,
    Outcome,
    WebDestination,
    patience,
    unable,
    unreadable,
)
from scarnode.dicom.uids import derived_uid
from scarnode.dicom.web.http import Answer, Silence, ask

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


@dataclass(frozen=True)
class _Item:
    """A file that can be sent: dataset, SOP Instance UID, size in bytes."""

    dataset: FileDataset
    uid: str
    size: int


def send(paths: Sequence[Path], destination: WebDestination) -> tuple[Outcome, ...]:
    """Store files at a destination by STOW-RS, one request each: a bad object or a limit of size fails alone.

    Parameters
    ----------
    paths : sequence of Path
        DICOM files with file meta information.
    destination : WebDestination

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
            limit = patience(found.size, destination.timeout)
            answer = ask(destination, limit, partial(_store, found.dataset))
            if isinstance(answer, Silence):
                about = About.OBJECT if answer.connected else About.DESTINATION
                outcomes.append(unable(path, answer.why, about=about))
            else:
                outcomes.append(_stored(path, found.uid, answer, destination))
            ended = _end(answer, outcomes[-1], destination)
    return tuple(outcomes)


def _store(dataset: Dataset, client: DICOMwebClient) -> None:
    client.store_instances([dataset])


def _end(answer: Answer | Silence, outcome: Outcome, destination: WebDestination) -> Outcome | None:
    """Return the outcome of the objects that are not tried any more, None where the next one may be."""
    if outcome.about is About.DESTINATION:
        return outcome
    if isinstance(answer, Silence):
        text = f"{destination} did not answer for the object before this one."
        return unable(None, text, about=About.NOT_TRIED)
    return None


def echo(destination: WebDestination) -> Outcome:
    """Ask a destination by QIDO-RS for a study that nobody has: is it there, and does it take our credentials?

    Parameters
    ----------
    destination : WebDestination

    Returns
    -------
    Outcome
        With path None.
    """
    nowhere = {"StudyInstanceUID": derived_uid("scarnode", "echo")}
    answer = ask(
        destination,
        destination.timeout,
        lambda client: client.search_for_studies(limit=1, search_filters=nowhere),
    )
    if isinstance(answer, Silence):
        return unable(None, answer.why)
    text = f"{destination} answered a search for studies with {_named(answer.status)}"
    permanent = answer.status in PERMANENT_HTTP
    if answer.status == HTTPStatus.OK and not answer.body.lstrip().startswith(b"["):
        return Outcome(None, False, permanent, answer.status, f"{text}, but not in DICOM JSON.")
    return Outcome(None, answer.status in (200, 204), permanent, answer.status, f"{text}.")


def _read(path: Path) -> _Item | Outcome:
    """Return the file as the library takes it, or why it can not be sent."""
    try:
        dataset = dcmread(path)
        encoded = BytesIO()
        dcmwrite(encoded, dataset)  # as the library will do it, where a fault would look like the peer's
        item = _Item(dataset, str(dataset.SOPInstanceUID), encoded.tell())
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


def _stored(path: Path, uid: str, answer: Answer, destination: WebDestination) -> Outcome:
    """Read what the answer says of the one instance that was sent."""
    failure, warning = _fate(answer.body, uid)
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


def _fate(body: bytes, uid: str) -> tuple[int | None, int | None]:
    """Return (FailureReason, None), or (None, WarningReason or 0) where the instance is named as stored, or two None.

    PS3.18 10.5.3.1: Store Instances Response Module.
    """
    said = _model(body)
    # OtherFailuresSequence (0008,119A): of what could not even be identified. We sent one instance: it is meant.
    for item in (*_items(said, "00081198"), *_items(said, "0008119A")):
        if _value(item, "00081155") in (uid, None):
            reason = _value(item, "00081197")
            return (reason if isinstance(reason, int) else 0x0110), None
    for item in _items(said, "00081199"):
        if _value(item, "00081155") == uid:
            warning = _value(item, "00081196")
            return None, (warning if isinstance(warning, int) else 0)
    return None, None


def _model(body: bytes) -> dict[str, Any]:
    """Return an answer in the DICOM JSON Model, whichever form it has; empty where it is none of them."""
    try:
        if body.lstrip()[:1] == b"<":
            return _from_xml(ElementTree.fromstring(body))
        model = json.loads(body)
    except (ValueError, ElementTree.ParseError, RecursionError):
        return {}
    if isinstance(model, list) and model:
        model = model[0]
    return model if isinstance(model, dict) else {}


def _from_xml(element: ElementTree.Element) -> dict[str, Any]:
    """Bring the Native DICOM Model (PS3.19 A.1) into the DICOM JSON Model, as far as a store response needs it."""
    model: dict[str, Any] = {}
    for attribute in element:
        vr = attribute.get("vr", "")
        if vr == "SQ":
            values: list[Any] = [_from_xml(item) for item in attribute if item.tag.endswith("Item")]
        else:
            texts = [(value.text or "").strip() for value in attribute]
            values = [int(text) if vr == "US" and text.isdecimal() else text for text in texts]
        model[attribute.get("tag", "")] = {"vr": vr, "Value": values}
    return model


def _items(model: dict[str, Any], tag: str) -> list[dict[str, Any]]:
    """Return the items of a sequence; whatever is not one is left out."""
    element = model.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return [value for value in values if isinstance(value, dict)] if isinstance(values, list) else []


def _value(model: dict[str, Any], tag: str) -> Any:
    """Return the first value of an attribute, None where there is none."""
    element = model.get(tag)
    values = element.get("Value") if isinstance(element, dict) else None
    return values[0] if isinstance(values, list) and values else None


def _reason(code: int) -> str:
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(code, ("", ""))[1]
    return f"0x{code:04X}" + (f" ({meaning})" if meaning else "")


def _named(status: int) -> str:
    """Return an HTTP status with its name: ours, for the peer's may say anything."""
    with suppress(ValueError):
        return f"HTTP {status} ({HTTPStatus(status).phrase})"
    return f"HTTP {status}"
