"""The short way for C-STORE is seen by nobody: the same bytes bring the same answers and files as by pynetdicom."""

from __future__ import annotations

import itertools
import struct
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info

from scarnode.dicom.scp import AccessPolicy, Limits, Spool, listen
from scarnode.dicom.spool.spool import Incoming
from scarnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
from tests.dicom.scp.wire import RELEASE, associate, echo_command, p_data, read_pdu

MR = b"1.2.840.10008.5.1.4.1.1.4\0"
MR_CONTEXT, ECHO_CONTEXT = 3, 1
ABORT = b"\x07\0\0\0\0\x04\0\0\0\0"


@pytest.fixture(scope="module")
def ports(tmp_path_factory):
    """Two listeners, one with the lane and one without, and their spools."""
    spools = [Spool(tmp_path_factory.mktemp(name)) for name in ("lane", "stock")]
    doors = [AccessPolicy(limits=Limits(idle_timeout=2, network_timeout=2)) for _ in spools]
    servers = [
        listen(spool, lambda path: None, "SCARNODE", "127.0.0.1", 0, access_policy, direct=spool is spools[0])
        for spool, access_policy in zip(spools, doors, strict=True)
    ]
    yield [(server.port, spool) for server, spool in zip(servers, spools, strict=True)]
    for server in servers:
        threading.Thread(target=server.shutdown, daemon=True).start()


def element(number: int, value: bytes) -> bytes:
    return struct.pack("<HHL", 0, number, len(value)) + value


def store_command(
    instance: bytes, sop_class: bytes = MR, field: int = 1, dataset: int = 1, message: int = 7, extra: bytes = b""
) -> bytes:
    instance += b"\0" * (len(instance) % 2)
    rest = element(0x0002, sop_class) + element(0x0100, struct.pack("<H", field))
    rest += element(0x0110, struct.pack("<H", message)) + element(0x0700, b"\0\0")
    rest += element(0x0800, struct.pack("<H", dataset)) + element(0x1000, instance) + extra
    return element(0x0000, struct.pack("<L", len(rest))) + rest


def cut(whole: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted({place % (len(whole) + 1) for place in places}), len(whole)]
    return [whole[a:b] for a, b in itertools.pairwise(edges)]


def pdus(whole: bytes, context: int, command: bool, places: list[int]) -> bytes:
    pieces = cut(whole, places)
    return b"".join(p_data(piece, context, command, number == len(pieces)) for number, piece in enumerate(pieces, 1))


def in_one_pdu(command: bytes, dataset: bytes, *more: bytes) -> bytes:
    values = [bytes([MR_CONTEXT, 3]) + command, bytes([MR_CONTEXT, 2]) + dataset, *more]
    body = b"".join(struct.pack(">L", len(value)) + value for value in values)
    return b"\4\0" + struct.pack(">L", len(body)) + body


KINDS = ["echo", "class", "context", "uid", "meta", "no dataset", "one pdu", "more behind", "other context"]


@st.composite
def message(draw) -> bytes:
    kind = draw(st.sampled_from(["store"] * 6 + KINDS))
    places = draw(st.lists(st.integers(0, 400), max_size=3))
    if kind == "echo":
        return pdus(echo_command(9), ECHO_CONTEXT, True, places)
    instance = ("1.2.826.0.1." + str(draw(st.integers(1, 10**20)))).encode()
    dataset = draw(st.binary(max_size=300)) if kind != "meta" else b"\2\0\x10\0UI\4\0001.2\0"
    dataset = dataset if kind == "meta" or not dataset.startswith(b"\2\0") else b"\x08" + dataset
    context = MR_CONTEXT
    command = store_command(instance, message=draw(st.integers(0, 65535)))
    if kind == "class":
        command = store_command(instance, sop_class=b"1.2.840.10008.5.1.4.1.1.2\0")
    elif kind == "context":
        context = 5
    elif kind == "uid":
        command = store_command(draw(st.sampled_from([b"../../etc/passwd", b"", b"1" * 70, b"1.2.x "])))
    elif kind == "no dataset":
        return pdus(store_command(instance, dataset=0x0101), context, True, places)
    elif kind == "one pdu":
        return in_one_pdu(command, dataset)
    elif kind == "more behind":
        return in_one_pdu(command, dataset, bytes([MR_CONTEXT, 2]) + b"more", bytes([ECHO_CONTEXT, 3]) + echo_command())
    elif kind == "other context":  # the dataset's fragments name another than the command's
        return pdus(command, context, True, places) + pdus(dataset, ECHO_CONTEXT, False, places)
    return pdus(command, context, True, places) + pdus(dataset, context, False, places)


def exchange(port: int, pieces: list[bytes], **asked: int) -> bytes:
    """Send bytes over a new association and read all that is answered until the connection ends."""
    link, accepted = associate(port, **asked)
    assert accepted[0] == 2
    with suppress(OSError):
        for piece in pieces:
            link.sendall(piece)
    answers = b""
    with suppress(ConnectionResetError):
        while piece := link.recv(65536):
            answers += piece
    link.close()
    return answers


def files(spool: Spool) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in spool}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(message(), min_size=1, max_size=3),
    st.sampled_from([RELEASE, RELEASE, ABORT]),
    st.lists(st.integers(0, 1000), max_size=3),
    st.sampled_from([0, 16384, 16384, 1000, 40, 16]),
)
def test_same_bytes_same_answers_same_files(ports, messages, end, places, longest_pdu):
    sent = b"".join(messages) + end
    (fast_store, lane_spool), (stock, stock_spool) = ports
    by_lane, by_stock = (exchange(port, cut(sent, places), longest_pdu=longest_pdu) for port in (fast_store, stock))
    if end == RELEASE:  # what an abort overtakes may be answered or not
        assert by_lane == by_stock
    deadline = time.monotonic() + 2
    while files(lane_spool) != files(stock_spool) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert files(lane_spool) == files(stock_spool)


def test_the_connection_may_end_anywhere(ports):
    """And the node goes on; what was not whole is not there."""
    (port, spool), _ = ports
    before = set(files(spool))
    whole = pdus(store_command(b"1.2.3.4"), MR_CONTEXT, True, []) + pdus(b"x" * 50, MR_CONTEXT, False, [20])
    for end in range(0, len(whole), 7):
        link, _ = associate(port)
        link.sendall(whole[:end])
        link.close()
    assert set(files(spool)) == before
    assert exchange(port, [whole + RELEASE])[-10] == 6


def test_an_idle_association_lets_its_threads_sleep(tmp_path):
    """pynetdicom's two threads for each association look around a thousand times a second each."""
    server = listen(Spool(tmp_path), lambda path: None, "SCARNODE", "127.0.0.1", 0, AccessPolicy())
    links = [associate(server.port)[0] for _ in range(4)]
    time.sleep(0.3)
    before = time.process_time()
    time.sleep(1)
    spent = time.process_time() - before
    for link in links:
        link.sendall(RELEASE)
        assert read_pdu(link)[0] == 6
        link.close()
    threading.Thread(target=server.shutdown, daemon=True).start()
    assert spent < 0.2


@given(
    sop_class=st.from_regex(r"[0-9](\.[0-9]{1,8}){1,6}", fullmatch=True),
    instance=st.from_regex(r"[0-9](\.[0-9]{1,8}){0,6}", fullmatch=True),
    title=st.text("ABC 123_", min_size=1, max_size=16).map(str.strip).filter(bool),
)
def test_the_head_of_a_file_is_pydicoms(sop_class, instance, title):
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = sop_class, instance
    meta.TransferSyntaxUID = "1.2.840.10008.1.2.1"
    meta.ImplementationClassUID, meta.ImplementationVersionName = IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME
    meta.SourceApplicationEntityTitle, meta.ReceivingApplicationEntityTitle = title, "SCARNODE"
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    head = Incoming(sop_class, instance, "1.2.840.10008.1.2.1", title, "SCARNODE", b"").head()
    assert head == b"\0" * 128 + b"DICM" + buffer.getvalue()
