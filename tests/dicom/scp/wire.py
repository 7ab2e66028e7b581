"""The upper layer protocol's bytes, as a peer that need not be well-behaved sends them."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from pydicom.uid import MRImageStorage
from pynetdicom import AE
from pynetdicom.pdu import A_ASSOCIATE_RQ
from pynetdicom.pdu_primitives import A_ASSOCIATE, ImplementationClassUIDNotification, MaximumLengthNotification
from pynetdicom.presentation import build_context
from pynetdicom.sop_class import Verification

from scarnode.dicom.reactor import held

RELEASE = b"\x05\0\0\0\0\x04\0\0\0\0"


def request_pdu(
    calling: str = "SCANNER", called: str = "SCARNODE", version: int = 1, longest_pdu: int = 16384
) -> bytes:
    """Give an A-ASSOCIATE-RQ PDU for Verification (context 1) and MR Image Storage (context 3)."""
    primitive = A_ASSOCIATE()
    primitive.application_context_name = "1.2.840.10008.3.1.1.1"
    primitive.calling_ae_title, primitive.called_ae_title = calling, called
    contexts = [build_context(Verification), build_context(MRImageStorage)]
    for number, context in zip((1, 3), contexts, strict=True):
        context.context_id = number
    primitive.presentation_context_definition_list = contexts
    length, implementation = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received = longest_pdu
    implementation.implementation_class_uid = "1.2.3.4"
    primitive.user_information = [length, implementation]
    pdu = bytearray(A_ASSOCIATE_RQ(primitive).encode())
    pdu[6:8] = version.to_bytes(2, "big")
    return bytes(pdu)


def p_data(fragment: bytes, context: int = 1, command: bool = True, last: bool = True) -> bytes:
    """Give a P-DATA-TF PDU with one fragment."""
    value = bytes([context, (1 if command else 0) | (2 if last else 0)]) + fragment
    body = len(value).to_bytes(4, "big") + value
    return b"\x04\0" + len(body).to_bytes(4, "big") + body


def echo_command(message: int = 1) -> bytes:
    """Give the command set of a C-ECHO-RQ, in implicit VR little endian."""

    def element(number: int, value: bytes) -> bytes:
        return b"\0\0" + number.to_bytes(2, "little") + len(value).to_bytes(4, "little") + value

    uid = element(0x0002, b"1.2.840.10008.1.1\0")
    rest = uid + element(0x0100, b"\x30\0") + element(0x0110, message.to_bytes(2, "little")) + element(0x0800, b"\1\1")
    return element(0x0000, len(rest).to_bytes(4, "little")) + rest


def connect(port: int, source: str = "127.0.0.1") -> socket.socket:
    """Connect from one of this machine's loop-back addresses."""
    link = socket.create_connection(("127.0.0.1", port), timeout=20, source_address=(source, 0))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def read_pdu(link: socket.socket) -> bytes:
    """Read a PDU; what there is where the connection ends before."""
    data = b""
    with suppress(ConnectionResetError):
        while len(data) < 6 or len(data) < 6 + int.from_bytes(data[2:6], "big"):
            piece = link.recv(65536)
            if not piece:
                break
            data += piece
    return data


def associate(port: int, source: str = "127.0.0.1", **asked: Any) -> tuple[socket.socket, bytes]:
    """Ask for an association, and give the connection with the PDU that came back."""
    link = connect(port, source)
    link.sendall(request_pdu(**asked))
    return link, read_pdu(link)


def rejection(pdu: bytes) -> tuple[int, ...]:
    """Give result, source and reason of an A-ASSOCIATE-RJ."""
    assert pdu[:6] == b"\x03\0\0\0\0\x04", pdu
    return tuple(pdu[7:10])


def seconds_until_end(link: socket.socket) -> float:
    """Read until the peer hangs up, and say how long that took."""
    started = time.monotonic()
    with suppress(ConnectionResetError):
        while link.recv(65536):
            pass
    return time.monotonic() - started


def echoes(port: int, calling: str = "SCANNER", called: str = "SCARNODE", tls_args: tuple | None = None) -> bool:
    """Ask by C-ECHO, as a well-behaved peer."""
    ae = AE(calling)
    ae.acse_timeout = ae.dimse_timeout = ae.connection_timeout = 10
    ae.add_requested_context(Verification)
    association = held(ae.associate("127.0.0.1", port, ae_title=called, tls_args=tls_args))
    if not association.is_established:
        return False
    status = association.send_c_echo()
    association.release()
    return "Status" in status and status.Status == 0


def close_socket(links: Sequence[socket.socket]) -> None:
    """Close connections."""
    for link in links:
        link.close()
