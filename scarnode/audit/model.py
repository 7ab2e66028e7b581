"""Types of the audit trail: an audit message by DICOM PS3.15 Annex A.5, and its source."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import IntEnum
from typing import Any

NOT_KNOWN = "<none>"
"""Value of an identifier that the schema requires and that is unknown."""


@dataclass(frozen=True)
class Code:
    """A coded concept: code value, coding scheme designator, code meaning."""

    value: str
    scheme: str
    meaning: str


class Outcome(IntEnum):
    """EventOutcomeIndicator."""

    SUCCESS = 0
    MINOR_FAILURE = 4
    """The action will be tried again."""
    SERIOUS_FAILURE = 8
    """The action was given up."""


@dataclass(frozen=True)
class Participant:
    """ActiveParticipant: a person or process that took part.

    Attributes
    ----------
    user_id : str
        Of a user ``login@host``; of this process its process ID, as in the system's log; of a peer its AE title or URL.
    requestor : bool
        It requested the event. At most one participant of a message did.
    ae_title : str
        Becomes AlternativeUserID, ``AETITLES=...`` (A.5.2.2).
    address : str
        IP address or machine name.
    media : Code or None
        The type of medium, where the participant is one.
    """

    user_id: str
    requestor: bool = False
    roles: tuple[Code, ...] = ()
    ae_title: str = ""
    user_name: str = ""
    address: str = ""
    media: Code | None = None


@dataclass(frozen=True)
class Subject:
    """A study and its patient; unknown values are empty."""

    study_instance_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""


def subjects(rows: Iterable[Any]) -> list[Subject]:
    """Return the studies and patients of rows of jobs, studies, series or files. A row may lack the patient's name."""
    return [
        Subject(row.study_instance_uid, row.patient_id, getattr(row, "patient_name", ""), row.accession_number)
        for row in rows
    ]


@dataclass(frozen=True)
class ParticipantObject:
    """ParticipantObjectIdentification.

    Attributes
    ----------
    type_code, role : str
        ParticipantObjectTypeCode and ParticipantObjectTypeCodeRole.
    details : tuple of (str, str)
        Type and value.
    sop_classes : tuple of (str, int)
        SOP Class UIDs and how many instances.
    """

    id: str
    id_type: Code
    type_code: str
    role: str
    name: str
    details: tuple[tuple[str, str], ...] = ()
    accession_number: str = ""
    sop_classes: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True)
class Message:
    """AuditMessage, less its source.

    Attributes
    ----------
    action : str
        EventActionCode: C, R, U, D or E.
    types : tuple of Code
        EventTypeCode.
    description : str
        EventOutcomeDescription.
    at : datetime
        When it happened, with time zone.
    """

    event: Code
    action: str
    participants: tuple[Participant, ...]
    objects: tuple[ParticipantObject, ...] = ()
    types: tuple[Code, ...] = ()
    outcome: Outcome = Outcome.SUCCESS
    description: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


@dataclass(frozen=True)
class Source:
    """AuditSourceIdentification: this node, as the audit repository knows it.

    Attributes
    ----------
    ae_title : str
    source_id : str
        AuditSourceID; empty: the AE title.
    enterprise_site_id : str
        AuditEnterpriseSiteID; empty: none.
    """

    ae_title: str
    source_id: str = ""
    enterprise_site_id: str = ""

    @property
    def host(self) -> str:
        """Return the name of this machine, the same in all its messages (A.5.2.4)."""
        return socket.gethostname()

    def process(self, requestor: bool = False) -> Participant:
        """Return this process as a participant."""
        return Participant(
            user_id=str(os.getpid()),
            requestor=requestor,
            ae_title=self.ae_title,
            user_name="scarnode",
            address=self.host,
        )
