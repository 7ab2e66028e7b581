"""What is done with an instance that came: into the spool, noted, and answered with a status."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pynetdicom.association import Association

from scarnode.disk import NO_ROOM
from scarnode.receive.spool import Incoming, Spool

if TYPE_CHECKING:  # the audit room knows this one's types
    from scarnode.audit import AssociationAudit

log = logging.getLogger(__name__)

SUCCESS = 0x0000
CANNOT_UNDERSTAND = 0xC000
FILE_META = b"\x02\x00"
"""Group 0002 has no place in a dataset (PS3.10 7.1): in the spool it would run on from the group written before it, and
could name another transfer syntax, instance and sender."""
OUT_OF_RESOURCES = 0xA700
"""PS3.4 B.2.3: refused, out of resources. The sender keeps the image and may try again."""


@dataclass(frozen=True)
class Shelf:
    """Where instances go.

    Attributes
    ----------
    spool : Spool
    stored : callable
        Called with the path of every instance after it is durable, before Success is answered. Must be quick.
    audit : AssociationAudit or None
        Is told what came from whom.
    """

    spool: Spool
    stored: Callable[[Path], None]
    audit: AssociationAudit | None = None

    def put(self, incoming: Incoming, association: Association) -> tuple[int, str]:
        """Make one instance durable.

        Returns
        -------
        int, str
            Status of the C-STORE response, and ErrorComment (LO: up to 64 characters).
        """
        if self.spool.closed_for:
            return self._refuse(incoming, association, self.spool.closed_for)
        if incoming.dataset.startswith(FILE_META):
            return CANNOT_UNDERSTAND, "The dataset begins with file meta information"
        try:
            path = self.spool.store(incoming)
        except OSError as error:
            if self.audit:
                self.audit.refused(association, incoming, OUT_OF_RESOURCES)
            # a refusal of one instance keeps the association: a rejected one discourages senders for good
            if error.errno in NO_ROOM:  # an alarm tells it once, not a line for every image
                return OUT_OF_RESOURCES, "Disk space is short: send it again later"
            log.error("C-STORE refused: the spool can not be written (%s)", error.strerror)
            return OUT_OF_RESOURCES, "The spool can not be written: send it again later"
        self.stored(path)
        if self.audit:
            self.audit.stored(association, path)
        return SUCCESS, ""

    def _refuse(self, incoming: Incoming, association: Association, why: str) -> tuple[int, str]:
        """Refuse an instance for now: the sender keeps it."""
        if self.audit:
            self.audit.refused(association, incoming, OUT_OF_RESOURCES)
        return OUT_OF_RESOURCES, why
