"""Reports on storage commitments: what a destination says of the objects it was asked to keep (PS3.4 J.3.3).

A report comes on the association of the request, or on a new one to our listener, on which the peer must be the SCP:
it proposes that by role selection. Anyone who proposes the SOP class as its user is refused it: this node is no
archive, and promises nobody to keep an image.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian
from pynetdicom import build_context, evt
from pynetdicom.dimse_primitives import N_EVENT_REPORT
from pynetdicom.events import Event
from pynetdicom.sop_class import (  # type: ignore[attr-defined]  # made when pynetdicom is imported
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
    Verification,
)

log = logging.getLogger(__name__)

SUCCESS = 0x0000
PROCESSING_FAILURE = 0x0110
NO_SUCH_INSTANCE = 0x0112
NO_SUCH_EVENT_TYPE = 0x0113
INVALID_ARGUMENT = 0x0115
NO_SUCH_CLASS = 0x0118
"""Answers to an N-EVENT-REPORT (PS3.7 10.1.1.1.8)."""

ALL_COMMITTED, SOME_FAILED = 1, 2
"""Event Type IDs (PS3.4 Table J.3-2)."""

LONGEST_REPORT = 1 << 20
"""Bytes of a report, which is decoded in memory: those of 5000 instances."""

UNKNOWN_REASON = 0x0110
"""Stands for a FailureReason that is missing: processing failure."""


@dataclass(frozen=True)
class CommitmentReport:
    """What a peer says of the instances of one request.

    Attributes
    ----------
    transaction_uid : str
        Of the request.
    committed : frozenset of str
        SOP Instance UIDs that the peer will keep.
    failed : mapping of str to int
        FailureReason of each SOP Instance UID that it will not.
    """

    transaction_uid: str
    committed: frozenset[str]
    failed: Mapping[str, int] = field(default_factory=dict)


TakeReport = Callable[[CommitmentReport, str], bool]
"""Takes a report and the AE title of who made it; False where that AE was never asked under the Transaction UID."""


@dataclass
class Reporters:
    """Who may report on storage commitments to our listener; may be changed while it listens.

    Attributes
    ----------
    take : callable
        A `TakeReport`.
    titles : frozenset of str
        AE titles of the destinations that are asked for commitment; anyone else is refused the SOP class.
    only : frozenset of str
        Those of `titles` that may do nothing else: they are let in as destinations, not as senders.
    """

    take: TakeReport
    titles: frozenset[str] = frozenset()
    only: frozenset[str] = frozenset()


def commitment_handlers(reporters: Reporters | None) -> list[tuple[Any, ...]]:
    """Return the listener's event handlers for reports that come on an association of their own."""
    who = reporters or Reporters(lambda report, peer: False)
    return [(evt.EVT_REQUESTED, _offer, [who]), (evt.EVT_N_EVENT_REPORT, answer_report, [who.take])]


def answer_report(event: Event, take: TakeReport) -> tuple[int, Dataset | None]:
    """Handle an N-EVENT-REPORT: Success is answered for what is written down.

    An exception of `take` is answered as a processing failure by pynetdicom: the peer may report again.
    """
    request = cast(N_EVENT_REPORT, event.request)
    if refused := _not_taken(request):
        return refused, None
    link = event.assoc
    peer = (link.requestor if link.is_acceptor else link.acceptor).ae_title.strip()
    try:
        report = _read(event.event_information)
    except Exception as error:  # pydicom fails on bad bytes in many ways
        log.warning("storage commitment: the report of %s can not be read (%s)", peer, type(error).__name__)
        return INVALID_ARGUMENT, None
    if not take(report, peer):
        log.warning("storage commitment: %s reports on a request that it was never sent: refused", peer)
        return INVALID_ARGUMENT, None
    return SUCCESS, None


def _not_taken(request: N_EVENT_REPORT) -> int | None:
    """Return the status of a request that is no report on a storage commitment, or too long to be decoded."""
    if request.AffectedSOPClassUID != StorageCommitmentPushModel:
        return NO_SUCH_CLASS
    if request.AffectedSOPInstanceUID != StorageCommitmentPushModelInstance:
        return NO_SUCH_INSTANCE
    if request.EventTypeID not in (ALL_COMMITTED, SOME_FAILED):
        return NO_SUCH_EVENT_TYPE
    if request.EventInformation and request.EventInformation.getbuffer().nbytes > LONGEST_REPORT:
        log.warning("storage commitment: a report is longer than %d bytes: refused", LONGEST_REPORT)
        return INVALID_ARGUMENT
    return None


def _read(information: Dataset) -> CommitmentReport:
    """Read the event information (PS3.4 Table J.3-2); raises where it lacks the Transaction UID."""
    failed = {
        str(item.ReferencedSOPInstanceUID): int(item.get("FailureReason") or UNKNOWN_REASON)
        for item in information.get("FailedSOPSequence") or ()
    }
    named = {str(item.ReferencedSOPInstanceUID) for item in information.get("ReferencedSOPSequence") or ()}
    return CommitmentReport(str(information.TransactionUID), frozenset(named - failed.keys()), failed)


def _offer(event: Event, reporters: Reporters) -> None:
    """Support the SOP class on this one association where a destination proposes itself as its SCP."""
    peer, us = event.assoc.requestor, event.assoc.acceptor
    title = ((peer.primitive and peer.primitive.calling_ae_title) or "").strip()
    if title in reporters.only:
        us.supported_contexts = [
            context for context in us.supported_contexts if context.abstract_syntax == Verification
        ]
    if StorageCommitmentPushModel not in {context.abstract_syntax for context in peer.requested_contexts}:
        return
    role = peer.role_selection.get(StorageCommitmentPushModel)
    if role is None or not role.scp_role or title not in reporters.titles:
        log.warning("storage commitment refused to %s: this node is no archive and keeps nothing for others", title)
        return
    context = build_context(StorageCommitmentPushModel, [ExplicitVRLittleEndian, ImplicitVRLittleEndian])
    context.scu_role, context.scp_role = False, True
    us.supported_contexts = [*us.supported_contexts, context]
