"""Asking a destination to commit itself to keep what it was sent (PS3.4 Annex J, Storage Commitment Push Model)."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, evt
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when pynetdicom is imported
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)
from pynetdicom.status import GENERAL_STATUS

from scarnode.dicom.scu.association import ClientAssociation, association, refusal, silence
from scarnode.dicom.scu.destination import Outcome, unable
from scarnode.dicom.scu.remote import RemoteAE

REQUEST = 1
"""Action Type ID "request storage commitment" (PS3.4 Table J.3-1)."""

LINGER = 5.0
"""Seconds for which the association stays open for reports that come on it; most archives open one of their own."""

PERMANENT_ANSWERS = frozenset({0x0112, 0x0114, 0x0117, 0x0118, 0x0119, 0x0122, 0x0123, 0x0124, 0x0211, 0x0212})
"""Answers to an N-ACTION that the same request will meet again (PS3.7 10.1.4.1.10): the peer has no such service."""

_N_ACTION_RSP = 0x8130
"""Command Field of an N-ACTION response (PS3.7 E.1)."""

_POLL = 0.1
"""Seconds."""


@dataclass(frozen=True)
class CommitmentOrder:
    """A request to be made.

    Attributes
    ----------
    transaction_uid : str
        Never used before.
    instances : tuple of (str, str)
        SOP Class UID and SOP Instance UID of each object.
    """

    transaction_uid: str
    instances: tuple[tuple[str, str], ...]


def request_commitment(
    orders: Sequence[CommitmentOrder],
    destination: RemoteAE,
    calling_ae_title: str,
    answer: Callable[[Event], tuple[int, Dataset | None]],
    done: Callable[[], bool],
    linger: float = LINGER,
) -> tuple[Outcome, ...]:
    """Ask a destination over one association, and wait a short while for reports on it.

    Parameters
    ----------
    orders : sequence of CommitmentOrder
    destination : RemoteAE
    calling_ae_title : str
        Our own AE title: where the destination will report to, if it opens an association for that.
    answer : callable
        Handles an N-EVENT-REPORT. It may be called before this function knows that the request was taken.
    done : callable
        Says that no report need be waited for any more; asked ten times a second.
    linger : float
        Seconds of that wait.

    Returns
    -------
    tuple of Outcome
        One for each order, with path None: ok where the request was taken. It never raises for what a peer does.
    """
    contexts = [build_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])]
    longest = len(orders) * destination.timeout + linger
    with association(destination, calling_ae_title, contexts, longest, [(evt.EVT_N_EVENT_REPORT, answer)]) as line:
        outcomes = tuple(_ask(line, order, number) for number, order in enumerate(orders, 1))
        end = time.monotonic() + linger
        finished = not any(outcome.ok for outcome in outcomes)
        while not finished and line.link and line.link.is_established and time.monotonic() < end:
            finished = done()
            time.sleep(_POLL)  # also after the last report: its answer is still to go out
    return outcomes


def _ask(line: ClientAssociation, order: CommitmentOrder, message_id: int) -> Outcome:
    """Make one N-ACTION request and wait for its answer."""
    if line.trouble or line.link is None:
        return line.trouble or unable(None, "There is no association.")
    if line.link.rejected_contexts:
        return refusal(None, line.link.rejected_contexts, line.destination)
    limit, started = line.destination.timeout, time.monotonic()
    line.answered = None
    try:
        answer, _ = line.link.send_n_action(
            _action(order), REQUEST, StorageCommitmentPushModel, StorageCommitmentPushModelInstance, message_id
        )
    except (RuntimeError, ValueError):  # the association ended in this very moment
        answer = Dataset()
    if "Status" not in answer:
        line.end()
        return unable(None, silence(line, "the request for storage commitment", started, limit))
    if not line.answers(_N_ACTION_RSP, message_id, StorageCommitmentPushModelInstance):
        line.end()
        return unable(None, f"{line.destination} answered another request than the one for storage commitment.")
    status = int(answer.Status)
    meaning = GENERAL_STATUS.get(status, ("", ""))[1]
    text = f"{line.destination} answered the request for storage commitment with 0x{status:04X}"
    text += f" ({meaning})." if meaning else "."
    return Outcome(None, status == 0x0000, status in PERMANENT_ANSWERS, status, text)


def _action(order: CommitmentOrder) -> Dataset:
    """Return the action information (PS3.4 Table J.3-1)."""
    information = Dataset()
    information.TransactionUID = order.transaction_uid
    information.ReferencedSOPSequence = []
    for sop_class, instance in order.instances:
        item = Dataset()
        item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = sop_class, instance
        information.ReferencedSOPSequence.append(item)
    return information
