"""The types that enter and leave the audit room: an audit message by DICOM PS3.15 Annex A.5, and who tells it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from enum import IntEnum
from typing import Any

NOT_KNOWN = "<none>"
"""Stands where the schema wants an identifier and there is none."""


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
    """The action was ended."""


@dataclass(frozen=True)
class Participant:
    """ActiveParticipant: a person or process that took part.

    Attributes
    ----------
    user_id : str
        Of a person ``login@host``; of our own process its process id, which the system's log shows too; of a peer
        its AE title or URL.
    requestor : bool
        It asked for what happened. At most one participant of a message did.
    ae_title : str
        Becomes AlternativeUserID, ``AETITLES=...`` (A.5.2.2).
    address : str
        IP address or machine name.
    media : Code or None
        What it is written to, where the participant is a medium.
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
    """Whose data it is: a study and its patient; what is not known is empty."""

    study_instance_uid: str = ""
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""


def subjects(rows: Iterable[Any]) -> list[Subject]:
    """Return whose data rows of jobs, studies, series or files are; a row need not know the patient's name."""
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
        """The one name of this machine that all its messages bear (A.5.2.4)."""
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
