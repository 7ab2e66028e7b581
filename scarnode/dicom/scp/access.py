"""The door: who is let in, decided before DICOM's machinery is started for a connection."""

from __future__ import annotations

import logging
import socket
import ssl
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

from pynetdicom import evt
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE
from pynetdicom.presentation import PresentationContext
from pynetdicom.transport import AssociationSocket, RequestHandler, ThreadedAssociationServer

from scarnode.dicom.scp.fast_store import FastStoreHandler
from scarnode.dicom.scp.limited_socket import LimitedSocket
from scarnode.dicom.scp.limits import LONGEST_REQUEST, MOST_ITEMS, AssociationSlots, Limits, Memory, PendingConnections
from scarnode.dicom.scp.peers import AllowedPeer, check_peer, plain_address
from scarnode.dicom.scp.rejection import Reason, Rejection, printable, write_down
from scarnode.dicom.scp.store_handler import StoreHandler
from scarnode.dicom.sockets import close_socket
from scarnode.dicom.tls import explain

log = logging.getLogger(__name__)

_A_ASSOCIATE_RQ = 1
_FIRST_ITEM = 74
"""Where the items of an A-ASSOCIATE-RQ begin (PS3.8 Table 9-11)."""
_PRESENTATION_CONTEXT, _USER_INFORMATION = 0x20, 0x50
_WITH_SUB_ITEMS = (_PRESENTATION_CONTEXT, _USER_INFORMATION)
_CONTEXT_HEAD = 4
"""Bytes between the length of a presentation context item and its first sub-item."""
_A_ASSOCIATE_RQ_CAME = "Evt6"
"""To pynetdicom's state machine (PS3.8 Table 9-9)."""
_TLS_HANDSHAKE = 22
_FAREWELL = 1.0
"""Seconds for which a peer that was turned away may read why before the connection is closed."""


class AccessPolicy:
    """What the listeners of a node share: who may come in, how many there are, and who is told of refusals.

    Parameters
    ----------
    callers : sequence of Caller
        Who may associate; empty: anyone.
    limits : Limits
    refused : callable
        Told every `Rejection`, from the connection's thread; the log is told in any case.
    """

    def __init__(
        self,
        callers: Sequence[AllowedPeer] = (),
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        refused: Callable[[Rejection], None] | None = None,
    ) -> None:
        self.callers, self.limits = tuple(callers), limits
        self.places, self.waiting, self.memory = AssociationSlots(limits), PendingConnections(limits), Memory()
        self._refused = refused
        self._closed = threading.Event()

    def change(self, callers: Sequence[AllowedPeer], limits: Limits) -> None:
        """Apply other limits to new associations; open ones keep the former limits."""
        self.callers, self.limits = tuple(callers), limits
        self.places.limits = self.waiting.limits = limits

    def close(self) -> None:
        """Allow nobody in any more: who asks is told to come back later."""
        self._closed.set()

    def check_peer(self, request: Request, ae_title: str, address: str) -> Reason | None:
        """Describe why a peer may not come in, or None where it may, if there is a place."""
        if self._closed.is_set():
            return Reason.STOPPING
        if request.version != 1:
            return Reason.PROTOCOL_VERSION
        if request.called_ae_title != ae_title:
            return Reason.CALLED_AE_TITLE
        if not (request.calling_ae_title.isascii() and request.calling_ae_title.isprintable()):
            return Reason.CALLING_AE_TITLE
        return check_peer(self.callers, request.calling_ae_title, address)

    def refuse(self, refusal: Rejection) -> None:
        """Write a refusal down, and tell whoever wants to know."""
        write_down(refusal)
        if self._refused is not None:
            try:
                self._refused(refusal)
            except Exception as error:  # an audit in trouble must not keep the connection open
                log.error("a refusal could not be told (%s)", type(error).__name__)


@dataclass(frozen=True)
class Request:
    """The A-ASSOCIATE-RQ PDU of a peer (PS3.8 9.3.2), as it came."""

    pdu: bytes

    @property
    def version(self) -> int:
        """The protocol version."""
        return int.from_bytes(self.pdu[6:8], "big")

    @property
    def called_ae_title(self) -> str:
        """Any characters; the spaces around it mean nothing."""
        return self.pdu[10:26].decode("latin-1").strip(" ")

    @property
    def calling_ae_title(self) -> str:
        """Any characters; the spaces around it mean nothing."""
        return self.pdu[26:42].decode("latin-1").strip(" ")

    @property
    def has_too_many_items(self) -> bool:
        """Return whether decoding it would make more objects than any peer needs."""
        found, start = 0, _FIRST_ITEM
        while start + 4 <= len(self.pdu):
            kind, length = self.pdu[start], int.from_bytes(self.pdu[start + 2 : start + 4], "big")
            if kind not in _WITH_SUB_ITEMS:
                start += length
            elif kind == _PRESENTATION_CONTEXT:
                start += _CONTEXT_HEAD
            start += 4
            found += 1
            if found > MOST_ITEMS:
                return True
        return False


class _AssociationRejectedError(Exception):
    """The peer is not let in; reason None: it went by itself, without a word."""

    def __init__(self, reason: Reason | None, request: Request | None = None, detail: str = "") -> None:
        super().__init__()
        self.reason, self.request, self.detail = reason, request, detail


class Listener(ThreadedAssociationServer):
    """A port behind a `AccessPolicy`.

    pynetdicom shakes hands (TLS) in the loop that accepts connections, starts two threads for every connection, and
    counts it as an association before it has asked for one: one silent peer on a TLS port would block all others, a
    few silent ones would take every place. Here a connection gets one thread, which shakes hands, reads the whole
    association request against a deadline and asks the door; what is turned away never reaches pynetdicom.

    Parameters
    ----------
    door : Door
    tls : ssl.SSLContext, optional
        To shake hands with.
    shelf : Shelf, optional
        Where C-STOREs go by the short way (`FastStoreHandler`); None: every message goes through pynetdicom.
    *args, **kwargs
        Of `ThreadedAssociationServer`.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(
        self,
        *args: Any,
        access_policy: AccessPolicy,
        tls: ssl.SSLContext | None = None,
        store_handler: StoreHandler | None = None,
        **kwargs: Any,
    ) -> None:
        self.access_policy, self.tls, self.store_handler = access_policy, tls, store_handler
        kwargs["request_handler"] = _Association
        super().__init__(*args, **kwargs)
        self.contexts = _Shared(self.contexts)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self.server_address[1])

    def start(self) -> None:
        """Serve in the background until `shutdown`."""
        self.ae._servers.append(self)
        self._thread = threading.Thread(target=self.serve_forever, name=f"Listener {self.port}", daemon=True)
        self._thread.start()

    @property
    def open(self) -> bool:
        """Return whether connections are accepted."""
        return self._thread.is_alive() and self.socket is not None and self.socket.fileno() >= 0

    def shutdown(self) -> None:
        """Close the port and let those go who wait; associations go on."""
        super().shutdown()
        self.access_policy.waiting.clear()

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Allow a new connection wait (called in the loop that accepts: must not block)."""
        self.access_policy.waiting.enter(request, str(plain_address(client_address[0])))
        return True

    def finish_request(self, request: Any, client_address: Any) -> None:
        """Hear what a new connection wants (in a thread of its own), and serve it to its end."""
        access_policy, connection = self.access_policy, request
        address = str(plain_address(client_address[0]))
        deadline = time.monotonic() + access_policy.limits.request_timeout
        try:
            if self.tls is not None:
                connection = _wrapped(request, self.tls)
                access_policy.waiting.exchange(request, connection)
                _shake_hands(connection, deadline)
            asked = _read_request(connection, deadline)
            # pynetdicom, which decodes, writes what it does not like into the log: titles are looked at before
            if refused := access_policy.check_peer(asked, self.ae_title, address):
                raise _AssociationRejectedError(refused, asked)
            decoded = _decode(asked)
            if refused := access_policy.places.take(address):
                raise _AssociationRejectedError(refused, asked)
        except _AssociationRejectedError as end:
            reason = end.reason if connection in access_policy.waiting else Reason.CROWDED_OUT
            if reason is not None:
                access_policy.refuse(_refusal(reason, client_address, end.request, end.detail))
                _say(connection, reason.pdu)
            access_policy.waiting.leave(connection)
            self.close_request(connection)
            return
        access_policy.waiting.leave(connection)

        def cut_off(why: Reason) -> None:
            access_policy.refuse(_refusal(why, client_address, asked))

        try:
            self.RequestHandlerClass((decoded, connection, cut_off), client_address, cast(Any, self))
        finally:
            access_policy.places.give_back(address)
            close_socket(connection)
            self.close_request(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log what went wrong with a connection, not the peer's doing."""
        self.access_policy.waiting.leave(request)
        log.exception("A connection from %s could not be served", client_address[0])


class _Shared(list[PresentationContext]):
    """Supported contexts, which no association changes: pynetdicom copies them for each, 26 ms for all of storage."""

    def __deepcopy__(self, _memo: object) -> _Shared:
        return self


class _Association(RequestHandler):
    """Runs pynetdicom's association for a peer that was let in, until it ends."""

    server: Listener

    def setup(self) -> None:
        """Take apart what `Listener.finish_request` gives."""
        self._asked, self.request, self._cut_off = self.request

    def handle(self) -> None:
        """Return the association its line, and wait for its end."""
        association = self._create_association()
        fast_store = FastStoreHandler(association, self.server.store_handler) if self.server.store_handler else None
        plain = cast("AssociationSocket", association.dul.socket)
        line = LimitedSocket(
            plain, self.server.access_policy.limits, self._cut_off, fast_store, self.server.access_policy.memory
        )
        association.dul.socket = line
        association.dul._recv_pdu.put(self._asked)
        association.dul.event_queue.put(_A_ASSOCIATE_RQ_CAME)
        association.bind(evt.EVT_DIMSE_RECV, _message_complete, [line])
        evt.trigger(association, evt.EVT_CONN_OPEN, {"address": self.client_address})
        association.start()
        association.join()
        association.dul.kill_dul()  # where the association's thread died of an error its partner would live on
        line.end()


def _message_complete(_event: evt.Event, line: LimitedSocket) -> None:
    line.message_complete()


def _wrapped(plain: socket.socket, tls: ssl.SSLContext) -> ssl.SSLSocket:
    try:
        return tls.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
    except (OSError, ValueError):  # it has gone already
        raise _AssociationRejectedError(None) from None


def _shake_hands(connection: ssl.SSLSocket, deadline: float) -> None:
    connection.settimeout(max(0.01, deadline - time.monotonic()))
    try:
        connection.do_handshake()
    except TimeoutError:
        raise _AssociationRejectedError(Reason.NO_REQUEST, detail="in the TLS handshake") from None
    except ssl.SSLError as error:
        raise _AssociationRejectedError(Reason.NO_TLS, detail=explain(error)) from None
    except (OSError, ValueError):
        raise _AssociationRejectedError(None) from None


def _read_request(connection: socket.socket, deadline: float) -> Request:
    """Read an A-ASSOCIATE-RQ, and nothing behind it."""
    header = _read_exactly(connection, 6, deadline)
    length = int.from_bytes(header[2:], "big")
    if header[0] != _A_ASSOCIATE_RQ:
        what = "it speaks TLS, on the port without" if header[0] == _TLS_HANDSHAKE else "it does not speak DICOM"
        raise _AssociationRejectedError(Reason.NO_VALID_REQUEST, detail=what)
    if length > LONGEST_REQUEST:
        raise _AssociationRejectedError(Reason.NO_VALID_REQUEST, detail=f"it says to be {length} bytes long")
    if length < 68:
        raise _AssociationRejectedError(Reason.NO_VALID_REQUEST, detail="too short")
    return Request(header + _read_exactly(connection, length, deadline))


class _Decoded(A_ASSOCIATE_RQ):
    """An association request that is taken apart once: it may propose 128 contexts, which takes 8 ms of a core."""

    def __init__(self, pdu: bytes) -> None:
        super().__init__()
        self.decode(pdu)
        self._primitive = super().to_primitive()

    def to_primitive(self) -> A_ASSOCIATE:
        return self._primitive


def _decode(request: Request) -> _Decoded:
    """Decode a request: where that fails in pynetdicom's own thread, it keeps the place until its timer ends."""
    if request.has_too_many_items:
        raise _AssociationRejectedError(Reason.NO_VALID_REQUEST, request, f"it has more than {MOST_ITEMS} items")
    try:
        return _Decoded(request.pdu)
    except Exception:  # it fails on a broken PDU in many ways
        raise _AssociationRejectedError(Reason.NO_VALID_REQUEST, request, "it can not be decoded") from None


def _refusal(reason: Reason, client_address: Any, request: Request | None, detail: str = "") -> Rejection:
    calling, called = (request.calling_ae_title, request.called_ae_title) if request else ("", "")
    address, port = str(plain_address(client_address[0])), client_address[1]
    return Rejection(reason, address, port, printable(calling), printable(called), detail)


def _read_exactly(connection: socket.socket, size: int, deadline: float) -> bytes:
    data = bytearray()
    while len(data) < size:
        left = deadline - time.monotonic()
        try:
            if left <= 0:
                raise TimeoutError
            connection.settimeout(left)
            piece = connection.recv(min(size - len(data), 65536))
        except TimeoutError:
            raise _AssociationRejectedError(Reason.NO_REQUEST) from None
        except ssl.SSLError as error:  # in TLS 1.3 a client's certificate is refused after its handshake
            raise _AssociationRejectedError(Reason.NO_TLS, detail=explain(error)) from None
        except (OSError, ValueError):
            raise _AssociationRejectedError(None) from None
        if not piece:
            raise _AssociationRejectedError(
                Reason.NO_VALID_REQUEST if data else None, detail="cut short" if data else ""
            )
        data += piece
    return bytes(data)


def _say(connection: socket.socket, pdu: bytes) -> None:
    """Send a last PDU, and wait a moment for the peer to close: doing so first could destroy what it has not read."""
    if not pdu:
        return
    end = time.monotonic() + _FAREWELL
    with suppress(OSError, ValueError):
        connection.settimeout(_FAREWELL)
        connection.sendall(pdu)
        while time.monotonic() < end and connection.recv(65536):
            connection.settimeout(max(0.01, end - time.monotonic()))
