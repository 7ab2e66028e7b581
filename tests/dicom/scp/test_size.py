"""What a peer's messages may take: of memory, of fragments, of the disk."""

from __future__ import annotations

import struct
import threading
import time
from contextlib import suppress
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace

import pytest
from pynetdicom.sop_class import StorageCommitmentPushModel, StorageCommitmentPushModelInstance

from scarnode.dicom.scp import AccessPolicy, Reason, Spool, answer_report, listen
from scarnode.dicom.scp.limits import Memory
from scarnode.util.disk import NO_LIMIT, DiskUsage, FreeSpaceLimit
from tests.dicom.scp.test_fast_store import ABORT, ECHO_CONTEXT, MR_CONTEXT, store_command
from tests.dicom.scp.wire import RELEASE, associate, connect, echo_command, echoes, p_data, read_pdu, request_pdu
from tests.harness import wait_until

PIECE = bytes(range(256)) * 512
OUT_OF_RESOURCES = b"\0\0\0\x09\2\0\0\0\0\xa7"
"""Status A700, as an element of a command set."""


@pytest.fixture(params=[True, False], ids=["lane", "pynetdicom"])
def node(request, tmp_path):
    """Give a listener by each way for C-STORE, its spool, its door and what it refused."""
    yield from listening(tmp_path, request.param)


@pytest.fixture
def by_lane(tmp_path):
    yield from listening(tmp_path, True)


def listening(folder: Path, direct: bool):
    refusals, spool = [], Spool(folder / "spool")
    access_policy = AccessPolicy(refused=refusals.append)
    server = listen(spool, lambda path: None, "SCARNODE", "127.0.0.1", 0, access_policy, direct=direct)
    yield SimpleNamespace(
        port=server.port,
        spool=spool,
        access_policy=access_policy,
        refusals=refusals,
        partial=spool.root / "partial",
        server=server,
    )
    threading.Thread(target=server.shutdown, daemon=True).start()
    spool.close()


def command(uid: bytes = b"1.2.3.4") -> bytes:
    return p_data(store_command(uid), MR_CONTEXT)


def dataset(piece: bytes, last: bool = False) -> bytes:
    return p_data(piece, MR_CONTEXT, command=False, last=last)


def in_one_pdu(value: bytes, times: int) -> bytes:
    body = (struct.pack(">L", len(value)) + value) * times
    return b"\4\0" + struct.pack(">L", len(body)) + body


def send_until_refused(node, first: bytes, again: bytes, times: int) -> None:
    link, _ = associate(node.port)
    with suppress(OSError):
        link.sendall(first)
        for _ in range(times):
            link.sendall(again)
    wait_until(lambda: node.refusals, 10, "the refusal")
    link.close()


# --- fragments and command sets


@pytest.mark.parametrize(
    "again",
    [dataset(b"") * 100, dataset(b"\1") * 100, in_one_pdu(bytes([MR_CONTEXT, 0]), 20_000)],
    ids=["empty", "one byte", "empty, in one PDU"],
)
def test_a_dataset_of_empty_and_tiny_fragments_is_cut_off(node, again, caplog):
    send_until_refused(node, command(), again, 300)
    assert [refusal.reason for refusal in node.refusals] == [Reason.TOO_MANY_FRAGMENTS]
    assert "a message comes in far more fragments than its bytes need" in caplog.text
    assert echoes(node.port)
    assert list(node.spool) == []


@pytest.mark.parametrize("context", [MR_CONTEXT, ECHO_CONTEXT, 5])
def test_a_command_set_without_an_end_is_cut_off(node, context):
    send_until_refused(node, b"", p_data(bytes(10_000), context, command=True, last=False), 20)
    assert [refusal.reason for refusal in node.refusals] == [Reason.COMMAND_TOO_LONG]


def test_empty_fragments_of_a_command_set_are_cut_off(node):
    send_until_refused(node, b"", p_data(b"", MR_CONTEXT, command=True, last=False) * 100, 300)
    assert [refusal.reason for refusal in node.refusals] == [Reason.TOO_MANY_FRAGMENTS]


def test_a_slice_in_small_fragments_is_taken(node):
    """Some senders are told, or think, that PDUs must be short."""
    link, _ = associate(node.port)
    link.sendall(command() + dataset(b"") * 500)
    for start in range(0, len(PIECE), 32):
        link.sendall(dataset(PIECE[start : start + 32]))
    link.sendall(dataset(b"", last=True) + RELEASE)
    assert b"\x00\x00\x00\x09\x02\x00\x00\x00\x00\x00" in read_pdu(link)
    [path] = node.spool
    assert path.read_bytes().endswith(PIECE)
    link.close()


def test_a_command_inside_a_dataset_ends_the_association(by_lane):
    link, _ = associate(by_lane.port)
    link.sendall(command() + dataset(PIECE) + p_data(echo_command(), ECHO_CONTEXT))
    assert read_pdu(link)[0] == 7
    assert [refusal.reason for refusal in by_lane.refusals] == [Reason.OUT_OF_ORDER]
    link.close()


# --- memory


def peak_growth(action) -> int:
    """Give by how many bytes this process has grown at the most meanwhile."""

    def memory(key: str) -> int:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(key)) * 1024

    Path("/proc/self/clear_refs").write_text("5")
    before = memory("VmRSS")
    action()
    return memory("VmHWM") - before


def test_a_large_dataset_is_on_disk_before_it_is_whole_and_not_in_memory(by_lane):
    link, _ = associate(by_lane.port)

    def send():
        link.sendall(command())
        for _ in range(800):
            link.sendall(dataset(PIECE))
        wait_until(lambda: sum(path.stat().st_size for path in by_lane.partial.iterdir()) > 100_000_000, 10, "the file")
        assert list(by_lane.spool) == []
        link.sendall(dataset(PIECE, last=True))
        assert OUT_OF_RESOURCES not in read_pdu(link)

    assert peak_growth(send) < 30_000_000
    [path] = by_lane.spool
    assert by_lane.spool.is_whole(path)
    assert path.stat().st_size > 801 * len(PIECE)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(by_lane.partial.iterdir()) == []
    link.close()


@pytest.mark.parametrize(
    "end",
    [b"", ABORT, RELEASE, b"\4\0\0\0\0\7\0\0\0\xff" + bytes(3), b"\xff" * 20],
    ids=["close", "abort", "release", "malformed", "noise"],
)
def test_nothing_is_left_of_a_large_dataset_that_does_not_end(by_lane, end):
    link, _ = associate(by_lane.port)
    link.sendall(command() + dataset(PIECE) * 20)
    wait_until(lambda: list(by_lane.partial.iterdir()), 10, "the file")
    link.sendall(end)
    link.close()
    wait_until(lambda: not list(by_lane.partial.iterdir()), 10, "its end")
    assert list(by_lane.spool) == []


def test_messages_that_pynetdicom_holds_share_one_memory(by_lane):
    by_lane.access_policy.memory = Memory(2_000_000)
    piece = p_data(PIECE, 5, command=False, last=False)  # of a context that was not accepted
    greedy, late = (associate(by_lane.port)[0] for _ in range(2))
    greedy.sendall(piece * 16)
    time.sleep(0.3)
    with suppress(OSError):
        late.sendall(piece * 16)
    wait_until(lambda: by_lane.refusals, 10, "the refusal")
    assert [refusal.reason for refusal in by_lane.refusals] == [Reason.OUT_OF_MEMORY]
    assert echoes(by_lane.port), "small messages need none of it"
    greedy.close()
    late.close()
    wait_until(lambda: by_lane.access_policy.memory.take(2_000_000), 10, "the memory")


def test_an_association_request_of_very_many_items_is_not_decoded(by_lane):
    item = b"\x20\0\0\4\1\0\0\0"
    for items in (item * 20_000, b"\x50\0\xff\xf8" + b"\x51\0\0\0" * 16_382, item * 100_000):
        body = request_pdu()[6:] + items
        with connect(by_lane.port) as link:
            with suppress(OSError):
                link.sendall(b"\1\0" + struct.pack(">L", len(body)) + body)
            assert read_pdu(link)[:1] in (b"\7", b"")
    assert [refusal.reason for refusal in by_lane.refusals] == [Reason.NO_VALID_REQUEST] * 3
    assert "more than 8192 items" in by_lane.refusals[0].detail
    assert "bytes long" in by_lane.refusals[2].detail
    assert echoes(by_lane.port)


def test_a_long_pdu_that_holds_no_data_is_refused(by_lane):
    link, _ = associate(by_lane.port)
    link.sendall(b"\1\0" + struct.pack(">L", 1_000_000))
    assert read_pdu(link)[0] == 7
    assert [refusal.reason for refusal in by_lane.refusals] == [Reason.PDU_TOO_LONG]
    link.close()


def test_a_huge_commitment_report_is_not_decoded():
    class Report:
        request = SimpleNamespace(
            AffectedSOPClassUID=StorageCommitmentPushModel,
            AffectedSOPInstanceUID=StorageCommitmentPushModelInstance,
            EventTypeID=1,
            EventInformation=BytesIO(bytes(2 << 20)),
        )

        @property
        def event_information(self):
            raise AssertionError("it was decoded")

    assert answer_report(Report(), lambda report, peer: True) == (0x0115, None)


# --- the disk


class Shrinking(FreeSpaceLimit):
    """A disk of 2 MB for what is under way, and one that is full where `full` is set."""

    full = False

    def usage(self, folder: Path) -> DiskUsage:
        taken = sum(path.stat().st_size for path in (folder / "partial").iterdir())
        return DiskUsage(0 if self.full else max(0, 2_000_000 - taken), 2_000_000, 1 if self.full else 0)


def test_a_full_disk_takes_no_byte_and_the_association_goes_on(node):
    node.spool.floor = FreeSpaceLimit(100, 1e9)
    link, _ = associate(node.port)
    for count in (1, 12):
        link.sendall(command() + dataset(PIECE) * count)
        time.sleep(0.2)
        assert list(node.partial.iterdir()) == []
        link.sendall(dataset(PIECE, last=True))
        assert OUT_OF_RESOURCES in read_pdu(link)
    assert (node.spool.refusals, node.spool.refused) == (2, 13 * len(PIECE))
    node.spool.floor = NO_LIMIT
    link.sendall(command() + dataset(PIECE, last=True))
    assert OUT_OF_RESOURCES not in read_pdu(link)
    assert len(list(node.spool)) == 1
    link.close()


def test_a_disk_that_fills_up_while_a_dataset_arrives_is_cleared_before_the_rest_has_come(by_lane):
    by_lane.spool.floor = Shrinking()
    link, _ = associate(by_lane.port)
    link.sendall(command() + dataset(PIECE) * 12)
    wait_until(lambda: list(by_lane.partial.iterdir()), 10, "the file")
    link.sendall(dataset(PIECE) * 12)
    wait_until(lambda: not list(by_lane.partial.iterdir()), 10, "its end")
    link.sendall(dataset(PIECE, last=True))
    assert OUT_OF_RESOURCES in read_pdu(link)
    link.sendall(command() + dataset(PIECE) * 5 + dataset(PIECE, last=True))
    assert OUT_OF_RESOURCES not in read_pdu(link)
    assert (by_lane.spool.refusals, by_lane.spool.refused) == (1, 25 * len(PIECE))
    link.close()


def test_the_audit_trail_is_told_whose_a_refused_large_instance_is(tmp_path):
    told = []
    audit = SimpleNamespace(refused=lambda *what: told.append(what), stored=lambda *what: None)
    spool = Spool(tmp_path / "spool", FreeSpaceLimit(100, 1e9))
    server = listen(spool, print, "SCARNODE", "127.0.0.1", 0, observer=audit)
    link, _ = associate(server.port)
    link.sendall(command() + dataset(PIECE) * 12 + dataset(PIECE, last=True))
    assert OUT_OF_RESOURCES in read_pdu(link)
    [(_, incoming, status)] = told
    assert status == 0xA700
    assert incoming.as_file().startswith(incoming.head() + PIECE)
    link.close()
    threading.Thread(target=server.shutdown, daemon=True).start()
    spool.close()
