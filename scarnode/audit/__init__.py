"""audit: audit messages by DICOM PS3.15 Annex A.5 on who did what with whose images, sent to an audit repository.

`AuditTrail` stores and sends messages. `AssociationAudit` makes those of the listener, `record_sending` and
`record_sent` those of a delivery, `record_deleted` those of a deletion; `events` holds all others. Without a
repository in config.ini they do nothing. The messages hold patient data: they go only to the repository and to a folder
that the node's user alone can read.
"""

from scarnode.audit import events
from scarnode.audit.associations import AssociationAudit
from scarnode.audit.model import Participant, Source, Subject, subjects
from scarnode.audit.results import record_deleted, record_sending, record_sent
from scarnode.audit.syslog import Repository
from scarnode.audit.trail import AuditTrail

__all__ = [
    "AssociationAudit",
    "AuditTrail",
    "Participant",
    "Repository",
    "Source",
    "Subject",
    "events",
    "record_deleted",
    "record_sending",
    "record_sent",
    "subjects",
]
