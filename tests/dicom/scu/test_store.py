"""Sending to real peers, good and bad. Every call must come back in time, with an answer that can be acted on."""

from __future__ import annotations

import logging
import socket
import struct
import threading
import time
from contextlib import contextmanager, suppress

import pytest
from pydicom import dcmread
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
)
from pynetdicom import AllStoragePresentationContexts
from pynetdicom.dsutils import split_dataset

from scarnode.dicom.scu import About, DimseDestination, Outcome, RemoteAE, echo, send
from tests.harness import Orthanc, free_port, storescp, wait_until
from tests.harness.peers import PATIENT, Relay, make_object, raw_peer

PRIVATE_SOP_CLASS = "1.2.826.0.1.3680043.10.511.99"


def to(port: int, title: str = "PACS", timeout: float = 5.0) -> RemoteAE:
    return RemoteAE("127.0.0.1", port, title, timeout=timeout)


def kinds(outcomes: tuple[Outcome, ...]) -> list[str]:
    return ["ok" if o.ok else "permanent" if o.permanent else "retry" for o in outcomes]


def dataset_bytes(path) -> bytes:
    return path.read_bytes()[split_dataset(path)[1] :]


@pytest.fixture(autouse=True)
def nothing_is_left_behind(caplog):
    """No thread outlives a call, and no log or sentence holds the patient."""
    caplog.set_level(logging.DEBUG)
    before = set(threading.enumerate())
    yield
    assert PATIENT not in caplog.text
    assert "4711" not in caplog.text

    def left() -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - before if not thread.daemon]

    wait_until(lambda: not left(), 5, "the end of the threads")


# --- good peers


def test_storescp_gets_the_files_own_bytes(objects, tmp_path):
    for path in objects:  # with a group length, which pydicom would drop if it encoded the object anew
        start = split_dataset(path)[1]
        whole = path.read_bytes()
        path.write_bytes(whole[:start] + struct.pack("<HH2sHL", 8, 0, b"UL", 4, 4711) + whole[start:])
    with storescp(tmp_path / "in", "+B") as port:
        outcomes = send(objects, to(port), "SCARNODE")
    assert kinds(outcomes) == ["ok"] * 3
    assert [o.path for o in outcomes] == objects
    assert {o.status for o in outcomes} == {0x0000}
    stored = sorted(dataset_bytes(path) for path in (tmp_path / "in").iterdir())
    assert stored == sorted(dataset_bytes(path) for path in objects)


@pytest.mark.parametrize("syntax", [DeflatedExplicitVRLittleEndian, "explicit"])
def test_a_peer_that_knows_only_implicit_vr_gets_implicit_vr(tmp_path, syntax):
    path = make_object(tmp_path / "a.dcm", **({} if syntax == "explicit" else {"syntax": syntax}))
    with storescp(tmp_path / "in", "+xi") as port:
        assert kinds(send([path], to(port), "SCARNODE")) == ["ok"]
    (stored,) = (tmp_path / "in").iterdir()
    assert dcmread(stored).file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
    assert dcmread(stored) == dcmread(path)


def test_orthanc_takes_a_result_once_and_takes_it_again(objects, tmp_path):
    with Orthanc(tmp_path / "orthanc") as orthanc:
        for _ in range(2):
            assert kinds(send(objects, to(orthanc.port, "ORTHANC"), "SCARNODE")) == ["ok"] * 3
        held = {ds.SOPInstanceUID: ds for ds in orthanc.wait_for(3, 10)}
        sent = {ds.SOPInstanceUID: ds for ds in map(dcmread, objects)}
        assert held == sent

        assert echo(to(orthanc.port, "ORTHANC"), "SCARNODE") == Outcome(
            None, True, False, 0, f"ORTHANC at 127.0.0.1:{orthanc.port} answered the C-ECHO with status 0x0000."
        )
        # A title it does not answer to, objects that are no DICOM class, and a restart.
        wrong = send(objects, to(orthanc.port, "OTHER"), "SCARNODE")
        assert kinds(wrong) == ["permanent"] * 3
        assert "Called AE title not recognised" in wrong[0].detail
        assert not echo(to(orthanc.port, "OTHER"), "SCARNODE").ok

        private = make_object(tmp_path / "private.dcm", sop_class=PRIVATE_SOP_CLASS)
        mixed = send([private, objects[0]], to(orthanc.port, "ORTHANC"), "SCARNODE")
        assert kinds(mixed) == ["permanent", "ok"]
        assert "SOP class not supported" in mixed[0].detail

        orthanc.stop()
        assert kinds(send(objects, to(orthanc.port, "ORTHANC", 1), "SCARNODE")) == ["retry"] * 3
        orthanc.start()
        assert kinds(send(objects, to(orthanc.port, "ORTHANC"), "SCARNODE")) == ["ok"] * 3


def test_two_orthancs_side_by_side(objects, tmp_path):
    with Orthanc(tmp_path / "one", "ONE") as one, Orthanc(tmp_path / "two", "TWO") as two:
        send(objects[:1], to(one.port, "ONE"), "SCARNODE")
        send(objects[1:], to(two.port, "TWO"), "SCARNODE")
        assert [len(one.wait_for(1, 5)), len(two.wait_for(2, 5))] == [1, 2]


def test_objects_go_out_without_waiting_for_delayed_acks(objects, scp):
    """Nagle's algorithm against a delayed ACK costs 40 ms for each object."""
    port = scp()
    started = time.monotonic()
    assert kinds(send(objects * 20, to(port), "SCARNODE")) == ["ok"] * 60
    assert time.monotonic() - started < 60 * 0.04


# --- statuses


STATUSES = {
    "ok": [0x0000, 0x0107, 0xB000, 0xB006, 0xB007, 0x0111],
    "retry": [0x0110, 0xA700, 0xA701, 0xC000, 0xC211, 0xFE00, 0xFF00, 0x9999],
    "permanent": [0xA900, 0xA9FF, 0x0117, 0x0122, 0x0124],
}


def test_status_decides_what_happens_next_and_the_others_still_go(objects, scp):
    expected = [(kind, status) for kind, statuses in STATUSES.items() for status in statuses]
    answers = iter([status for _, status in expected])
    outcomes = send([objects[0]] * len(expected), to(scp(lambda event: next(answers))), "SCARNODE")
    assert list(zip(kinds(outcomes), [o.status for o in outcomes], strict=True)) == expected
    assert all(f"0x{o.status:04X}" in o.detail for o in outcomes)


# --- associations that are refused, or break


def test_a_sop_class_the_peer_does_not_take_fails_alone(objects, scp, tmp_path):
    pdf = make_object(tmp_path / "a.pdf.dcm", sop_class=EncapsulatedPDFStorage)
    outcomes = send([objects[0], pdf, objects[1]], to(scp()), "SCARNODE")
    assert kinds(outcomes) == ["ok", "permanent", "ok"]
    assert "does not take Encapsulated PDF Storage: SOP class not supported" in outcomes[1].detail


def test_no_sop_class_taken_at_all(objects, scp):
    outcomes = send(objects, to(scp(sop_classes=[EncapsulatedPDFStorage])), "SCARNODE")
    assert kinds(outcomes) == ["permanent"] * 3


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, ExplicitVRBigEndian])
def test_a_transfer_syntax_the_peer_does_not_take_is_not_turned_into_another(tmp_path, scp, syntax):
    path = make_object(tmp_path / "a.dcm", syntax=syntax)
    (refused,) = send([path], to(scp()), "SCARNODE")
    assert kinds((refused,)) == ["permanent"]
    received = []

    def on_store(event):
        received.append(event.encoded_dataset(include_meta=False))
        return 0x0000

    assert kinds(send([path], to(scp(on_store, syntaxes=[syntax])), "SCARNODE")) == ["ok"]
    assert received == [dataset_bytes(path)]


def test_storescp_that_refuses_associations(objects, tmp_path):
    with storescp(tmp_path / "in", "--refuse") as port:
        outcomes = send(objects, to(port), "SCARNODE")
        assert not echo(to(port), "SCARNODE").ok
    assert kinds(outcomes) == ["permanent"] * 3
    assert "rejected the association (permanent; source: Service User; reason: No reason given)" in outcomes[0].detail


@pytest.mark.parametrize(
    ("reject", "kind", "words"),
    [
        ((2, 3, 1), "retry", "Temporary congestion"),
        ((2, 3, 2), "retry", "Local limit exceeded"),
        ((1, 3, 2), "retry", "Local limit exceeded"),
        ((2, 1, 1), "retry", "transient"),
        ((1, 1, 3), "permanent", "Calling AE title not recognised"),
    ],
)
def test_rejection_says_who_and_why(objects, scp, reject, kind, words):
    port = scp(on_request=lambda event: _reject(event, *reject))
    outcomes = send(objects, to(port), "SCARNODE")
    assert kinds(outcomes) == [kind] * 3
    assert words in outcomes[0].detail
    assert words in echo(to(port), "SCARNODE").detail


def _reject(event, *reject):
    event.assoc.acse.send_reject(*reject)
    event.assoc.is_rejected = True
    event.assoc.kill()


@pytest.mark.parametrize("option", ["--abort-during", "--abort-after"])
def test_storescp_that_aborts(objects, tmp_path, option):
    with storescp(tmp_path / "in", option) as port:
        outcomes = send(objects, to(port), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert "aborted the association before it answered the C-STORE" in outcomes[0].detail
    assert "ended before this object's turn" in outcomes[1].detail


def test_what_was_acknowledged_before_an_abort_stays_ok(objects, scp):
    seen = []

    def second_time_abort(event):
        seen.append(event.request.AffectedSOPInstanceUID)
        if len(seen) == 2:
            event.assoc.abort()
        return 0x0000

    outcomes = send(objects, to(scp(second_time_abort)), "SCARNODE")
    assert kinds(outcomes) == ["ok", "retry", "retry"]


@pytest.mark.parametrize(("option", "answered"), [("--sleep-during", []), ("--sleep-after", ["ok"])])
def test_storescp_that_hangs(objects, tmp_path, option, answered):
    started = time.monotonic()
    with storescp(tmp_path / "in", option, "8") as port:
        outcomes = send(objects, to(port, timeout=0.7), "SCARNODE")
    assert kinds(outcomes) == [*answered, "retry", "retry", "retry"][:3]
    assert "did not answer the C-STORE within 0.7" in outcomes[len(answered)].detail
    assert time.monotonic() - started < 4


def test_a_peer_that_never_answers_the_release_changes_no_outcome(objects, scp):
    # Everything gets through but the release request, 10 bytes after the last object's.
    sent = []
    with Relay(scp(), 10**9, "freeze", sent) as port:
        assert kinds(send(objects, to(port), "SCARNODE")) == ["ok"] * 3
    with Relay(scp(), sum(sent) - 10, "freeze") as port:
        assert kinds(send(objects, to(port, timeout=0.5), "SCARNODE")) == ["ok"] * 3


@pytest.mark.parametrize("then", ["freeze", "cut", "half-close"])
@pytest.mark.parametrize("after", [100, 3_000_000])
def test_a_line_that_breaks(scp, tmp_path, then, after):
    """In the association request, and in the middle of an object too large for any socket buffer."""
    path = make_object(tmp_path / "large.dcm", pixels=4096)
    started = time.monotonic()
    with Relay(scp(), after, then) as port:
        destination = to(port, timeout=1 if after == 100 else 0.5)
        outcomes = send([path, path], destination, "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 2
    assert time.monotonic() - started < 15


def test_a_peer_that_trickles_its_answer(scp, tmp_path, objects):
    with Relay(scp(), 900, "trickle") as port:
        started = time.monotonic()
        outcomes = send(objects, to(port, timeout=0.5), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert time.monotonic() - started < 8


def test_a_peer_that_accepts_and_says_nothing(objects):
    with raw_peer(lambda connection: time.sleep(30)) as port:
        outcomes = send(objects, to(port, timeout=0.5), "SCARNODE")
        answer = echo(to(port, timeout=0.5), "SCARNODE")
    assert kinds((*outcomes, answer)) == ["retry"] * 4
    assert "did not answer the association request within 0.5 s" in outcomes[0].detail


def test_a_peer_that_hangs_up_at_once(objects):
    with raw_peer(lambda connection: connection.close()) as port:
        outcomes = send(objects, to(port, timeout=2), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert "was lost before the association request was answered" in outcomes[0].detail


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # pynetdicom's reader may die of it
@pytest.mark.parametrize(
    "noise",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        struct.pack(">BBL", 2, 0, 4) + b"junk",
        struct.pack(">BBL", 3, 0, 4) + b"\0\x09\x09\x09",
        struct.pack(">BBL", 4, 0, 0xFFFFFFFF),
        struct.pack(">BBL", 5, 0, 4) + b"\0\0\0\0",
        struct.pack(">BBL", 7, 0, 4) + b"\0\0\0\0",
        b"\xff" * 500,
    ],
)
def test_a_peer_that_talks_nonsense(objects, noise):
    def talk(connection: socket.socket) -> None:
        connection.recv(10)
        connection.sendall(noise)
        time.sleep(5)

    with raw_peer(talk) as port:
        outcomes = send(objects, to(port, timeout=0.5), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3


@contextmanager
def forged(port: int, true: bytes, false: bytes):
    """Pass bytes on to a good peer, and its answers back with something else in them."""

    def talk(sender: socket.socket) -> None:
        with socket.create_connection(("127.0.0.1", port)) as peer:
            threading.Thread(target=back, args=[peer, sender], daemon=True).start()
            while data := sender.recv(65536):
                peer.sendall(data)

    def back(peer: socket.socket, sender: socket.socket) -> None:
        with suppress(OSError):
            while data := peer.recv(65536):
                sender.sendall(data.replace(true, false))

    with raw_peer(talk) as front:
        yield front


def test_an_answer_to_another_request_acknowledges_nothing(objects, scp):
    """Message ID Being Responded To (0000,0120) is not ours."""
    received = []
    port = scp(lambda event: received.append(1) or 0x0000)
    responded = struct.pack("<HHL", 0, 0x0120, 2)
    with forged(port, responded + b"\1\0", responded + b"\7\0") as front:
        outcomes = send(objects, to(front), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert "answered another request" in outcomes[0].detail
    assert [outcome.about for outcome in outcomes] == [About.OBJECT, About.NOT_TRIED, About.NOT_TRIED]
    assert len(received) == 1


def test_an_answer_about_another_instance_acknowledges_nothing(objects, scp):
    first, other = (dcmread(path).SOPInstanceUID.encode()[-12:] for path in objects[:2])
    with forged(scp(), first, other) as front:
        outcomes = send(objects, to(front), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert "answered another request" in outcomes[0].detail


def test_a_peer_that_accepts_what_nobody_proposed(objects, scp):
    little, big = ExplicitVRLittleEndian.encode(), ExplicitVRBigEndian.encode()
    with forged(scp(syntaxes=[ExplicitVRLittleEndian]), little, big) as front:
        outcomes = send(objects, to(front), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert "Explicit VR Big Endian, which was not proposed" in outcomes[0].detail


@pytest.mark.parametrize("reject", [(2, 3, 1), (1, 1, 7)])
def test_what_no_object_is_to_blame_for_is_about_the_destination(objects, scp, reject):
    rejecting = scp(on_request=lambda event: _reject(event, *reject))
    for port in (rejecting, free_port()):
        assert {outcome.about for outcome in send(objects, to(port, timeout=1), "SCARNODE")} == {About.DESTINATION}


def test_nothing_listens(objects):
    outcomes = send(objects, to(free_port(), timeout=1), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert "refused" in outcomes[0].detail
    assert [o.path for o in outcomes] == objects


def test_nobody_answers_the_connection(objects):
    """A listener whose queue is full: the connection stays without an answer."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        fillers = [socket.socket() for _ in range(3)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(server.getsockname())
        outcomes = send(objects, to(server.getsockname()[1], timeout=0.5), "SCARNODE")
        for filler in fillers:
            filler.close()
    assert kinds(outcomes) == ["retry"] * 3
    assert "no answer within 0.5 s" in outcomes[0].detail


def test_a_host_name_that_does_not_exist(objects):
    destination = RemoteAE("no-such-host.invalid", 104, "PACS", timeout=1)
    outcomes = send(objects, destination, "SCARNODE")
    assert kinds((*outcomes, echo(destination, "SCARNODE"))) == ["retry"] * 4
    assert "can not be reached" in outcomes[0].detail


def test_echo_reads_the_status(scp):
    assert kinds((echo(to(scp(on_echo=lambda event: 0x0122)), "SCARNODE"),)) == ["permanent"]
    assert kinds((echo(to(scp(on_echo=lambda event: 0x0210)), "SCARNODE"),)) == ["retry"]


# --- files


def test_files_that_can_not_be_sent_do_not_hold_up_the_others(objects, scp, tmp_path):
    missing, empty, text, cut = (tmp_path / name for name in ("missing", "empty", "text", "cut"))
    empty.write_bytes(b"")
    text.write_text("this is not DICOM" * 100)
    cut.write_bytes(objects[0].read_bytes()[:140])
    outcomes = send([missing, objects[0], empty, text, cut, tmp_path, objects[1]], to(scp()), "SCARNODE")
    assert kinds(outcomes) == ["permanent", "ok", "permanent", "permanent", "permanent", "retry", "ok"]
    assert outcomes[0].detail == "The file is missing."
    assert outcomes[3].detail == "The file is not a DICOM file."


def test_nothing_to_send_asks_nobody():
    assert send([], to(free_port()), "SCARNODE") == ()


def test_more_sop_classes_than_fit_into_one_association_go_with_the_next(tmp_path, scp):
    classes = [context.abstract_syntax for context in AllStoragePresentationContexts[:70]]
    paths = [make_object(tmp_path / f"{number}.dcm", sop_class=uid, pixels=1) for number, uid in enumerate(classes)]
    port = scp(sop_classes=classes)
    outcomes = send(paths, to(port), "SCARNODE")
    rest = [outcome.path for outcome in outcomes if not outcome.ok]
    assert 0 < len(rest) < 10
    assert not any(outcome.permanent for outcome in outcomes)
    assert kinds(send(rest, to(port), "SCARNODE")) == ["ok"] * len(rest)


@pytest.mark.parametrize(
    "change",
    [
        {"host": " "},
        {"port": 0},
        {"port": 65536},
        {"ae_title": ""},
        {"ae_title": "SEVENTEEN LETTERS"},
        {"ae_title": "BACK\\SLASH"},
        {"ae_title": "ÄE"},
        {"timeout": 0},
        {"timeout": float("nan")},
    ],
)
def test_a_destination_that_can_not_be_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change)).replace("ae_title", "AE title")):
        RemoteAE(**{"host": "pacs", "port": 104, "ae_title": "PACS", **change})


@pytest.mark.parametrize("objects", [(), ("seg", "gif")])
def test_a_destination_gets_kinds_of_object_that_there_are(objects):
    with pytest.raises(ValueError, match="objects"):
        DimseDestination("pacs", RemoteAE("pacs", 104, "PACS"), objects)
