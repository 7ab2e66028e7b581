"""What is done with an instance that came: into the spool, noted, and answered with a status."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pynetdicom.association import Association

from scarnode.disk import NO_ROOM
from scarnode.receive.incoming import Incoming
from scarnode.receive.partial import PartialFile
from scarnode.receive.spool import Spool

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
BEGINNING = 256 << 10
"""Bytes that are kept of a dataset that is refused: the audit trail is told whose it is."""


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

    def begin(self, request: Incoming, association: Association) -> StoreOperation:
        """Begin to take an instance; its dataset, which is still to come, counts for nothing in the request."""
        return StoreOperation(self, request, association)

    def put(self, incoming: Incoming, association: Association) -> tuple[int, str]:
        """Make an instance durable that is whole in memory, and answer as `StoreOperation.complete`."""
        operation = self.begin(incoming, association)
        operation.write(cast(bytes, incoming.dataset))
        return operation.complete()


class StoreOperation:
    """A C-STORE whose dataset arrives.

    Where the spool does not take it, what still comes is read and dropped, and the refusal is the answer at the end:
    the association goes on.
    """

    def __init__(self, shelf: Shelf, request: Incoming, association: Association) -> None:
        self._shelf, self._request, self._association = shelf, request, association
        self._partial: PartialFile | None = None
        self._error: Exception | None = None
        self._beginning, self._size = b"", 0
        try:
            self._partial = shelf.spool.begin(request)
        except Exception as error:  # what is not the system's is raised at the end
            self._error = error

    def write(self, piece: bytes | memoryview) -> None:
        """Take bytes of the dataset."""
        self._size += len(piece)
        if self._partial is None:
            self._beginning += piece[: BEGINNING - len(self._beginning)]
            return
        try:
            self._partial.write(piece)
        except Exception as error:
            self._error = error
            self._beginning = self._partial.beginning(BEGINNING)
            self.abandon()

    def abandon(self) -> None:
        """Drop what came, unless it was stored."""
        if self._partial is not None:
            self._partial.discard()
            self._partial = None

    def complete(self) -> tuple[int, str]:
        """Make the instance durable.

        Returns
        -------
        int, str
            Status of the C-STORE response, and ErrorComment (LO: up to 64 characters).
        """
        shelf, partial = self._shelf, self._partial
        beginning = self._beginning if partial is None else partial.beginning(BEGINNING)
        if shelf.spool.closed_for:
            self.abandon()
            return self._refuse(beginning, shelf.spool.closed_for)
        if beginning.startswith(FILE_META):
            self.abandon()
            return CANNOT_UNDERSTAND, "The dataset begins with file meta information"
        try:
            if partial is None:
                if isinstance(self._error, OSError):
                    shelf.spool.note_refusal(self._error, self._size)
                raise self._error or RuntimeError("nothing was begun")
            path = shelf.spool.store(replace(self._request, dataset=partial))
        except OSError as error:
            self.abandon()
            # a refusal of one instance keeps the association: a rejected one discourages senders for good
            if error.errno in NO_ROOM:  # an alarm tells it once, not a line for every image
                return self._refuse(beginning, "Disk space is short: send it again later")
            log.error("C-STORE refused: the spool can not be written (%s)", error.strerror)
            return self._refuse(beginning, "The spool can not be written: send it again later")
        self._partial = None
        shelf.stored(path)
        if shelf.audit:
            shelf.audit.stored(self._association, path)
        return SUCCESS, ""

    def _refuse(self, beginning: bytes, why: str) -> tuple[int, str]:
        """Refuse the instance for now, and tell the audit trail: the sender keeps it, the association goes on."""
        if self._shelf.audit:
            request = replace(self._request, dataset=beginning)
            self._shelf.audit.refused(self._association, request, OUT_OF_RESOURCES)
        return OUT_OF_RESOURCES, why
