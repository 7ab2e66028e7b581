"""What is done with an instance that came: into the spool, noted, and answered with a status."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, cast

from pynetdicom.association import Association

from scarnode.dicom.spool.incoming import Incoming
from scarnode.dicom.spool.partial import BUFFER, PartialFile
from scarnode.dicom.spool.spool import Spool
from scarnode.util.disk import DISK_FULL

log = logging.getLogger(__name__)

SUCCESS = 0x0000
CANNOT_UNDERSTAND = 0xC000
FILE_META = b"\x02\x00"
"""Group 0002 has no place in a dataset (PS3.10 7.1): in the spool it would run on from the group written before it, and
could name another transfer syntax, instance and sender."""
OUT_OF_RESOURCES = 0xA700
"""PS3.4 B.2.3: refused, out of resources. The sender keeps the image and may try again."""


class StoreObserver(Protocol):
    """Take note of what becomes of each instance, for the audit trail; never raise, be quick."""

    def stored(self, association: Association, path: Path) -> None:
        """Take note of an instance that is durable."""

    def refused(self, association: Association, incoming: Incoming, status: int) -> None:
        """Take note of an instance that was not taken, and of the C-STORE status of the answer."""


@dataclass(frozen=True)
class StoreHandler:
    """Where instances go.

    Attributes
    ----------
    spool : Spool
    stored : callable
        Called with the path of every instance after it is durable, before Success is answered. Must be quick.
    observer : StoreObserver or None
    """

    spool: Spool
    stored: Callable[[Path], None]
    observer: StoreObserver | None = None

    def begin(self, request: Incoming, association: Association) -> StoreOperation:
        """Begin to take an instance; its dataset, which is still to come, counts for nothing in the request."""
        return StoreOperation(self, request, association)

    def put(self, incoming: Incoming, association: Association) -> tuple[int, str]:
        """Make an instance durable that is whole in memory, and answer as `StoreOperation.complete`."""
        operation = self.begin(incoming, association)
        try:
            operation.write(cast(bytes, incoming.dataset))
            return operation.complete()
        finally:
            operation.abandon()


class StoreOperation:
    """A C-STORE whose dataset arrives: in memory up to `BUFFER` bytes, then on disk.

    Where the spool does not take it, what still comes is read and dropped, and the refusal is the answer at the end:
    the association goes on.
    """

    def __init__(self, store_handler: StoreHandler, request: Incoming, association: Association) -> None:
        self._store_handler, self._request, self._association = store_handler, request, association
        self._beginning, self._size = bytearray(), 0
        self._partial: PartialFile | None = None
        self._error: Exception | None = None

    def write(self, piece: bytes | memoryview) -> None:
        """Take bytes of the dataset."""
        self._size += len(piece)
        if self._partial is None:
            left = BUFFER - len(self._beginning)
            self._beginning += piece[:left]
            piece = piece[left:]
        if not piece or self._error is not None:
            return
        try:
            if self._partial is None:
                self._partial = self._store_handler.spool.begin(self._request)
                self._partial.write(bytes(self._beginning))
            self._partial.write(piece)
        except Exception as error:  # what is not the system's is raised at the end
            self._error = error
            self.abandon()

    def abandon(self) -> None:
        """Remove what came, unless it was stored."""
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
        store_handler, beginning = self._store_handler, bytes(self._beginning)
        if store_handler.spool.closed_for:
            return self._refuse(store_handler.spool.closed_for)
        if beginning.startswith(FILE_META):
            return CANNOT_UNDERSTAND, "The dataset begins with file meta information"
        try:
            if self._error is not None:
                if isinstance(self._error, OSError):
                    store_handler.spool.note_refusal(self._error, self._size)
                raise self._error
            path = store_handler.spool.store(replace(self._request, dataset=self._partial or beginning))
        except OSError as error:
            # a refusal of one instance keeps the association: a rejected one discourages senders for good
            if error.errno in DISK_FULL:  # an alarm tells it once, not a line for every image
                return self._refuse("Disk space is short: send it again later")
            log.error("C-STORE refused: the spool can not be written (%s)", error.strerror)
            return self._refuse("The spool can not be written: send it again later")
        self._partial = None
        store_handler.stored(path)
        if store_handler.observer:
            store_handler.observer.stored(self._association, path)
        return SUCCESS, ""

    def _refuse(self, why: str) -> tuple[int, str]:
        """Refuse the instance for now, and tell the audit trail: the sender keeps it, the association goes on."""
        if self._store_handler.observer:
            request = replace(self._request, dataset=bytes(self._beginning))
            self._store_handler.observer.refused(self._association, request, OUT_OF_RESOURCES)
        return OUT_OF_RESOURCES, why
