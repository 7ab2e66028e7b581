"""The short way for C-STORE: read, store and answered in one thread; everything else is pynetdicom's.

pynetdicom hands each message through two threads that look for work a thousand times a second, and decodes it into
objects: 5 ms of one core for an image, and four idle associations cost a tenth of one (docs/performance.md).
"""

from __future__ import annotations

import logging
import re
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

from pydicom.uid import UID
from pynetdicom.association import Association
from pynetdicom.service_class import StorageServiceClass
from pynetdicom.sop_class import uid_to_service_class

from scarnode.dicom.scp.limits import MAXIMUM_PDU_LENGTH
from scarnode.dicom.scp.rejection import Reason
from scarnode.dicom.scp.store_handler import StoreHandler, StoreOperation
from scarnode.dicom.spool.incoming import Incoming

log = logging.getLogger(__name__)

P_DATA_TF = 4
_C_STORE_RQ, _C_STORE_RSP = 0x0001, 0x8001
"""Command Field (PS3.7 E.1)."""
_NO_DATASET = 0x0101
"""Command Data Set Type (PS3.7 E.1)."""
_PROCESSING_FAILURE = 0xC211
"""What pynetdicom answers where a handler fails."""
_COMMAND, _LAST = 1, 2
"""Bits of a message control header (PS3.8 E.2)."""
_SHORTEST_PDU = 16
"""A peer that takes only shorter ones is pynetdicom's."""
_BEFORE_FRAGMENT = 6
"""Bytes before the fragment in a presentation data value: length, context ID, control header."""
_UID = re.compile(rb"[0-9.]{1,64}\0?")


class Wire(Protocol):
    """What a lane reads from and writes to."""

    def read_header(self) -> bytearray:
        """Return the next PDU's six bytes, less where there is none."""

    def read_body(self, length: int) -> bytearray:
        """Return as many bytes of its body, less where the connection has ended."""

    def answer(self, pdus: bytes) -> None:
        """Send the answer to the message that was read."""

    def cut(self, reason: Reason) -> object:
        """Abort the association."""


@dataclass(frozen=True)
class StoreRequest:
    """The command set of a C-STORE-RQ; the UIDs as their bytes stand there."""

    message_id: int
    sop_class_uid: bytes
    sop_instance_uid: bytes


class FastStoreHandler:
    """Takes the C-STORE messages of one association before pynetdicom sees them.

    Whatever is not a plain C-STORE-RQ for an accepted presentation context goes to pynetdicom, byte for byte. That is
    known when the command set has come; a dataset goes to disk while it arrives.

    Parameters
    ----------
    association : pynetdicom.association.Association
        One that a peer asked for; not yet started.
    shelf : Shelf
        Where instances go.
    """

    def __init__(self, association: Association, store_handler: StoreHandler) -> None:
        self._association, self._store_handler = association, store_handler
        self._contexts: dict[int, tuple[str, str]] = {}
        self._gate = association._reactor_checkpoint = _Nap()
        self._gate.set()

    def open(self) -> bool:
        """Describe whether the next message may be taken here: all is established, and pynetdicom has nothing in
        hand.
        """
        link = self._association
        if not (link.is_established and link.dul.state_machine.current_state == "Sta6"):
            return False
        if not self._contexts:
            self._contexts = {
                context.context_id: (str(context.abstract_syntax), str(context.transfer_syntax[0]))
                for context in link.accepted_contexts
                if context.context_id is not None
                and uid_to_service_class(UID(context.abstract_syntax or "")) is StorageServiceClass
            } or {0: ("", "")}  # no context has the ID 0: all goes to pynetdicom
        longest = link.requestor.maximum_length or 0
        return (
            (longest == 0 or longest >= _SHORTEST_PDU)
            and link.dul.to_provider_queue.empty()
            and link.dul.to_user_queue.empty()
            and link.dul.event_queue.empty()
            and link.dimse.msg_queue.empty()
            and not link.dul._kill_thread
        )

    def rest(self) -> None:
        """Allow pynetdicom's reactor sleep: there is nothing for it."""
        self._gate.clear()

    def wake(self) -> None:
        """Allow pynetdicom's reactor run."""
        self._gate.set()

    def take(self, wire: Wire) -> bytes | None:
        """Deal with the message that comes next.

        Returns
        -------
        bytes or None
            What was read and is pynetdicom's (nothing, where the connection has ended); None: a C-STORE was answered.
        """
        message, raw = _Message(self._contexts, self._begin), bytearray()
        try:
            while message.progress is _Progress.MORE:
                header = wire.read_header()
                if message.operation is None:  # only a command set lies here: of a dataset nothing is kept
                    raw += header
                else:
                    raw = header
                if len(header) < 6 or header[0] != P_DATA_TF:
                    return bytes(raw)
                body = wire.read_body(int.from_bytes(header[2:6], "big"))
                raw += body
                if len(body) < int.from_bytes(header[2:6], "big"):
                    return bytes(raw)
                message.add(body)
            if message.progress is _Progress.OUT_OF_ORDER:
                wire.cut(Reason.OUT_OF_ORDER)
                return b""
            if message.operation is None or message.request is None or message.progress is not _Progress.WHOLE:
                return bytes(raw)
            wire.answer(self._complete(message.operation, message.request, message.context))
        finally:
            if message.operation is not None:
                message.operation.abandon()
        return None

    def _begin(self, request: StoreRequest, context: int) -> StoreOperation:
        link = self._association
        incoming = Incoming(
            sop_class_uid=_text(request.sop_class_uid),
            sop_instance_uid=_text(request.sop_instance_uid),
            transfer_syntax_uid=self._contexts[context][1],
            calling_ae=link.requestor.ae_title,
            called_ae=link.acceptor.ae_title,
        )
        return self._store_handler.begin(incoming, link)

    def _complete(self, operation: StoreOperation, request: StoreRequest, context: int) -> bytes:
        """Store an instance that has come whole, and give the PDUs that answer."""
        try:
            status, comment = operation.complete()
        except Exception as error:  # ours to mend; the sender keeps the image
            log.error("C-STORE: an unexpected %s; answered with 0x%04X", type(error).__name__, _PROCESSING_FAILURE)
            status, comment = _PROCESSING_FAILURE, ""
        longest = self._association.requestor.maximum_length or MAXIMUM_PDU_LENGTH
        return _answer(request, context, status, comment, longest)


class _Progress(Enum):
    MORE = auto()
    WHOLE = auto()
    NOT_OURS = auto()
    OUT_OF_ORDER = auto()


class _Message:
    """A C-STORE message that is being put together (PS3.8 Annex E), as long as it looks like one.

    From the last fragment of its command on, its dataset goes into `operation`, fragment by fragment.
    """

    def __init__(
        self, contexts: dict[int, tuple[str, str]], begin: Callable[[StoreRequest, int], StoreOperation]
    ) -> None:
        self._contexts, self._begin = contexts, begin
        self._command = bytearray()
        self.progress = _Progress.MORE
        self.context = 0
        self.request: StoreRequest | None = None
        self.operation: StoreOperation | None = None

    def add(self, body: bytearray) -> None:
        """Add a P-DATA-TF PDU."""
        if not _well_formed(body):
            self.progress = _Progress.NOT_OURS
            return
        for context, control, value in _fragments(body):
            # what follows the end in the same PDU has no place there: pynetdicom passes over it, too
            self.progress = self._take(context, control, value)
            if self.progress is not _Progress.MORE:
                return

    def _take(self, context: int, control: int, value: memoryview) -> _Progress:
        of_command, last = bool(control & _COMMAND), bool(control & _LAST)
        if self.operation is not None:
            if of_command:
                return _Progress.OUT_OF_ORDER
            self.operation.write(value)  # as pynetdicom, whatever context it names
            return _Progress.WHOLE if last else _Progress.MORE
        self.context = self.context or context
        if context != self.context or context not in self._contexts or not of_command:
            return _Progress.NOT_OURS
        self._command += value
        if last:
            self.request = _store_request(bytes(self._command))
            if self.request is None or _text(self.request.sop_class_uid) != self._contexts[context][0]:
                return _Progress.NOT_OURS
            self.operation = self._begin(self.request, context)
        return _Progress.MORE


class _Nap(threading.Event):
    """Where pynetdicom's reactor waits while the lane is at work; it looks around now and then all the same."""

    def wait(self, timeout: float | None = None) -> bool:
        return super().wait(0.25 if timeout is None else timeout)


def _well_formed(body: bytearray) -> bool:
    """Describe whether a P-DATA-TF PDU (PS3.8 9.3.5) is made of presentation data values to its end."""
    start = 0
    while start < len(body):
        length = int.from_bytes(body[start : start + 4], "big")
        if length < 2 or start + 4 + length > len(body):
            return False
        start += 4 + length
    return bool(body)


def _fragments(body: bytearray) -> Iterator[tuple[int, int, memoryview]]:
    """Take the presentation data values out of such a PDU: context ID, control header, value."""
    view, start = memoryview(body), 0
    while start < len(view):
        (length,) = struct.unpack_from(">L", view, start)
        end = start + 4 + length
        yield view[start + 4], view[start + 5], view[start + 6 : end]
        start = end


def _store_request(command: bytes) -> StoreRequest | None:
    """Read a command set (implicit VR little endian, PS3.7 6.3.1); None where it is no C-STORE-RQ with a dataset."""
    values: dict[int, bytes] = {}
    start = 0
    while start < len(command):
        if len(command) - start < 8:
            return None
        group, element, length = struct.unpack_from("<HHL", command, start)
        value = command[start + 8 : start + 8 + length]
        if group != 0 or len(value) != length or element in values:
            return None
        values[element] = value
        start += 8 + length
    field, message_id, kind = (values.get(element, b"") for element in (0x0100, 0x0110, 0x0800))
    sop_class, instance = values.get(0x0002, b""), values.get(0x1000, b"")
    if not len(field) == len(message_id) == len(kind) == 2 or not (
        _UID.fullmatch(sop_class) and _UID.fullmatch(instance)
    ):
        return None
    if _number(field) != _C_STORE_RQ or _number(kind) == _NO_DATASET:
        return None
    return StoreRequest(_number(message_id), sop_class, instance)


def _answer(request: StoreRequest, context: int, status: int, comment: str, longest: int) -> bytes:
    """Return the P-DATA-TF PDUs of a C-STORE-RSP (PS3.7 9.3.1.2), each of `longest` bytes at the most."""
    elements = [
        (0x0002, _text(request.sop_class_uid).encode(), b"\0"),
        (0x0100, struct.pack("<H", _C_STORE_RSP), b""),
        (0x0120, struct.pack("<H", request.message_id), b""),
        (0x0800, struct.pack("<H", _NO_DATASET), b""),
        (0x0900, struct.pack("<H", status), b""),
        (0x0902, comment.encode("ascii", "replace"), b" "),
        (0x1000, _text(request.sop_instance_uid).encode(), b"\0"),
    ]
    command = b"".join(_element(number, value, padding) for number, value, padding in elements if value)
    command = _element(0x0000, struct.pack("<L", len(command)), b"") + command
    size, pdus = longest - _BEFORE_FRAGMENT, b""
    for start in range(0, len(command), size):
        fragment = command[start : start + size]
        control = _COMMAND | (_LAST if start + size >= len(command) else 0)
        value = struct.pack(">LBB", len(fragment) + 2, context, control) + fragment
        pdus += struct.pack(">BBL", P_DATA_TF, 0, len(value)) + value
    return pdus


def _element(number: int, value: bytes, padding: bytes) -> bytes:
    if len(value) % 2:
        value += padding
    return struct.pack("<HHL", 0, number, len(value)) + value


def _number(value: bytes) -> int:
    return int.from_bytes(value, "little")


def _text(uid: bytes) -> str:
    return uid.rstrip(b"\0").decode("ascii")
