"""Who is let in and who is turned away, by the bytes on the wire."""

from __future__ import annotations

import logging
import socket
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scarnode.dicom.scp import AccessPolicy, AllowedPeer, Limits, Reason, listen
from scarnode.dicom.scp.peers import check_peer, parse_allowed_peer, plain_address
from scarnode.dicom.scp.rejection import printable
from tests.dicom.scp.wire import (
    RELEASE,
    associate,
    close_socket,
    connect,
    echo_command,
    echoes,
    p_data,
    read_pdu,
    rejection,
    request_pdu,
    seconds_until_end,
)
from tests.harness import wait_until

ACCEPTED, ABORTED = 2, 7


@pytest.fixture
def refusals():
    return []


@pytest.fixture
def open_port(refusals):
    """Give a function that opens a port behind a door with the given callers and limits."""
    servers = []

    def start(*callers: str, **limits: float) -> int:
        access_policy = AccessPolicy([parse_allowed_peer(text) for text in callers], Limits(**limits), refusals.append)
        servers.append(listen(None, print, "SCARNODE", "127.0.0.1", 0, access_policy))
        return servers[-1].port

    yield start
    for server in servers:
        threading.Thread(target=server.shutdown, daemon=True).start()


def reasons(refusals):
    return [refusal.reason for refusal in refusals]


# --- AE titles and addresses


def test_a_wrong_called_ae_title_is_rejected_for_good(open_port, refusals):
    link, answer = associate(open_port(), called="SOMEONE")
    assert rejection(answer) == (1, 1, 7)
    assert read_pdu(link) == b""
    [refusal] = refusals
    assert (refusal.reason, refusal.address) == (Reason.CALLED_AE_TITLE, "127.0.0.1")
    assert (refusal.calling_ae_title, refusal.called_ae_title) == ("SCANNER", "SOMEONE")


@pytest.mark.parametrize(
    ("calling", "source", "answer"),
    [
        ("MR1", "127.0.0.1", None),
        ("MR1", "127.0.0.9", Reason.CALLING_ADDRESS),
        ("MR2", "127.0.0.9", None),
        ("MR2", "127.0.1.1", Reason.CALLING_ADDRESS),
        ("MR 3", "127.0.0.1", None),
        ("MR4", "127.0.0.1", None),
        ("MR5", "127.0.0.1", Reason.UNRESOLVED),
        ("MR6", "127.0.0.1", Reason.CALLING_AE_TITLE),
        ("mr1", "127.0.0.1", Reason.CALLING_AE_TITLE),
    ],
)
def test_a_calling_ae_title_comes_from_where_it_may(open_port, refusals, calling, source, answer):
    port = open_port("MR1@127.0.0.1", "MR2@127.0.0.0/24", "MR 3", "MR4@localhost", "MR5@nowhere.invalid")
    link, pdu = associate(port, source, calling=calling)
    if answer is None:
        assert pdu[0] == ACCEPTED
        assert not refusals
    else:
        assert rejection(pdu) == ((2, 3, 1) if answer is Reason.UNRESOLVED else (1, 1, 3))
        assert reasons(refusals) == [answer]
    link.close()


def test_a_title_may_come_from_several_places(open_port):
    port = open_port("MR1@10.0.0.1", "MR1@127.0.0.7")
    _, pdu = associate(port, "127.0.0.7", calling="MR1")
    assert pdu[0] == ACCEPTED


def test_ipv4_in_ipv6_clothes_is_ipv4():
    assert str(plain_address("::ffff:10.1.2.3")) == "10.1.2.3"
    assert str(plain_address("fe80::1%eth0")) == "fe80::1"
    assert check_peer([parse_allowed_peer("MR1@10.1.2.0/24")], "MR1", "::ffff:10.1.2.3") is None
    assert check_peer([parse_allowed_peer("MR1@2001:db8::/32")], "MR1", "2001:db8::7") is None
    assert check_peer([parse_allowed_peer("MR1@2001:db8::/32")], "MR1", "10.1.2.3") is Reason.CALLING_ADDRESS


@pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="IPv6 is not there")
def test_a_port_for_both_kinds_of_address_knows_callers_by_either():
    access_policy = AccessPolicy([parse_allowed_peer("SCANNER@127.0.0.1"), parse_allowed_peer("OTHER@::1")])
    server = listen(None, print, "SCARNODE", "::", 0, access_policy)
    assert associate(server.port)[1][0] == ACCEPTED
    assert rejection(associate(server.port, calling="OTHER")[1]) == (1, 1, 3)
    server.shutdown()


@given(st.text(max_size=40))
def test_a_caller_is_read_or_refused_with_what_is_allowed(text):
    try:
        caller = parse_allowed_peer(text)
    except ValueError as error:
        assert str(error)
    else:
        assert isinstance(caller, AllowedPeer)
        assert parse_allowed_peer(str(caller)) == caller


def test_the_log_has_one_safe_line_for_a_refusal(open_port, caplog):
    port = open_port()
    pdu = bytearray(request_pdu(called="SOMEONE"))
    pdu[26:42] = b"EVIL\n2026 ERROR\x1b"
    with caplog.at_level(logging.INFO, "scarnode"):
        with connect(port) as link:
            link.sendall(pdu)
            assert rejection(read_pdu(link)) == (1, 1, 7)
            pdu[10:26] = b"SCARNODE        "
        with connect(port) as link:
            link.sendall(pdu)
            assert rejection(read_pdu(link)) == (1, 1, 3)
    message, other = (record.getMessage() for record in caplog.records)
    assert (message + other).isprintable()
    assert 'calling "EVIL?2026 ERROR?", called "SOMEONE"): called AE title not recognised' in message
    assert "127.0.0.1" in message


@given(st.text(max_size=40))
def test_a_title_in_the_log_is_short_printable_and_can_not_end_its_quotes(title):
    shown = printable(title)
    assert len(shown) <= 16
    assert shown.isascii()
    assert not shown or shown.isprintable()
    assert '"' not in shown


def test_a_wrong_protocol_version_is_rejected(open_port):
    with connect(open_port()) as link:
        link.sendall(request_pdu(version=2))
        assert rejection(read_pdu(link)) == (1, 2, 2)


def test_a_node_that_stops_says_come_back_later(refusals):
    access_policy = AccessPolicy(refused=refusals.append)
    server = listen(None, print, "SCARNODE", "127.0.0.1", 0, access_policy)
    access_policy.close()
    _, answer = associate(server.port)
    assert rejection(answer) == (2, 3, 1)
    assert reasons(refusals) == [Reason.STOPPING]
    server.shutdown()


def test_an_audit_in_trouble_does_not_hold_the_connection(caplog):
    def broken(_refusal):
        raise RuntimeError("full")

    server = listen(None, print, "SCARNODE", "127.0.0.1", 0, AccessPolicy(refused=broken))
    link, answer = associate(server.port, called="SOMEONE")
    assert rejection(answer) == (1, 1, 7)
    assert read_pdu(link) == b""
    assert "RuntimeError" in caplog.text
    server.shutdown()


# --- how many


def test_too_many_associations_are_rejected_for_now_and_a_place_comes_free(open_port, refusals):
    port = open_port(max_associations=2)
    held = [associate(port)[0] for _ in range(2)]
    _, answer = associate(port)
    assert rejection(answer) == (2, 3, 2)
    assert reasons(refusals) == [Reason.TOO_MANY]
    held[0].sendall(RELEASE)
    assert read_pdu(held[0])[0] == 6
    wait_until(lambda: associate(port)[1][0] == ACCEPTED, 5, "a free place")
    close_socket(held)


def test_one_address_can_not_take_every_place(open_port, refusals):
    port = open_port(max_associations=4, max_associations_per_address=2)
    held = [associate(port)[0] for _ in range(2)]
    _, answer = associate(port)
    assert rejection(answer) == (2, 3, 2)
    assert reasons(refusals) == [Reason.TOO_MANY_FROM_ADDRESS]
    other, answer = associate(port, "127.0.0.2")
    assert answer[0] == ACCEPTED
    close_socket([*held, other])


def test_connections_without_a_request_take_no_place(open_port):
    """pynetdicom counts every connection, and one that went without a word for as long as its ARTIM timer runs."""
    port = open_port(max_associations=2)
    for _ in range(10):
        connect(port).close()
    silent = [connect(port) for _ in range(10)]
    assert echoes(port)
    close_socket(silent)


def test_a_flood_of_connections_lets_others_in(open_port, refusals):
    port = open_port(max_waiting=8)
    flood = [connect(port, "127.0.0.9") for _ in range(40)]
    assert echoes(port)
    for link in flood[:30]:  # the oldest of the address that has most were cut off at once
        assert seconds_until_end(link) < 2
    wait_until(lambda: len(refusals) >= 32, 5, "32 refusals")
    assert set(reasons(refusals)) == {Reason.CROWDED_OUT}
    close_socket(flood)


def test_an_address_with_one_connection_is_not_crowded_out_by_another(open_port):
    port = open_port(max_waiting=4)
    honest = connect(port, "127.0.0.2")
    time.sleep(0.1)
    flood = [connect(port, "127.0.0.9") for _ in range(20)]
    honest.sendall(request_pdu())
    assert read_pdu(honest)[0] == ACCEPTED
    close_socket([honest, *flood])


# --- how large


@pytest.mark.parametrize(
    "first", [b"\x01\0\xff\xff\xff\xff\0\1", b"GET / HTTP/1.1\r\n\r\n", b"\x04\0\0\0\0\x04\0\0\0\0"]
)
def test_what_is_no_association_request_gets_an_abort(open_port, refusals, first):
    with connect(open_port()) as link:
        link.sendall(first)
        assert read_pdu(link) == b"\x07\0\0\0\0\x04\0\0\0\0"
        assert read_pdu(link) == b""
    assert reasons(refusals) == [Reason.NO_VALID_REQUEST]


def test_a_request_that_can_not_be_decoded_holds_no_place(open_port, refusals):
    port = open_port(max_associations=1)
    broken = request_pdu()[:74] + b"\x77" * 40
    for _ in range(3):
        with connect(port) as link:
            link.sendall(broken[:2] + (len(broken) - 6).to_bytes(4, "big") + broken[6:])
            assert read_pdu(link)[0] == ABORTED
    assert reasons(refusals) == [Reason.NO_VALID_REQUEST] * 3
    assert echoes(port)


def test_a_pdu_that_says_to_be_huge_is_refused_before_it_is_read(open_port, refusals):
    link, _ = associate(open_port())
    link.sendall(b"\x04\0\xff\xff\xff\xff")
    assert read_pdu(link) == b"\x07\0\0\0\0\x04\0\0\2\6"
    assert seconds_until_end(link) < 2
    assert reasons(refusals) == [Reason.PDU_TOO_LONG]


def test_a_message_without_an_end_is_cut_off(open_port, refusals, monkeypatch):
    monkeypatch.setattr("scarnode.dicom.scp.limited_socket.LONGEST_MESSAGE", 1 << 20)
    link, _ = associate(open_port())
    piece = p_data(bytes(100_000), context=3, command=False, last=False)
    with suppress(ConnectionError):
        for _ in range(20):
            link.sendall(piece)
    wait_until(lambda: refusals, 5, "the end")
    assert reasons(refusals) == [Reason.MESSAGE_TOO_LONG]


def test_one_message_is_taken_at_a_time(open_port):
    """A peer that does not wait for answers gets them all, in order."""
    link, _ = associate(open_port())
    link.sendall(b"".join(p_data(echo_command(number)) for number in range(1, 30)))
    answered = b""
    while answered.count(b"\x20\x01\x02\0\0\0") < 29:  # MessageIDBeingRespondedTo
        answered += link.recv(65536)
    link.close()


# --- how long


def drip(link: socket.socket, data: bytes, pause: float) -> None:
    """Send byte by byte, until the peer has had enough."""

    def run() -> None:
        with suppress(OSError):
            for byte in data:
                link.sendall(bytes([byte]))
                time.sleep(pause)

    threading.Thread(target=run, daemon=True).start()


@pytest.mark.parametrize("sent", [b"", request_pdu()[:3], request_pdu()[:40]])
def test_a_peer_that_does_not_ask_is_closed_when_the_artim_timer_ends(open_port, refusals, sent):
    with connect(open_port(request_timeout=0.5)) as link:
        link.sendall(sent)
        assert 0.3 < seconds_until_end(link) < 1.5
    assert reasons(refusals) == [Reason.NO_REQUEST]


def test_a_request_that_drips_is_cut_off(open_port, refusals):
    with connect(open_port(request_timeout=0.8)) as link:
        drip(link, request_pdu(), 0.05)
        assert 0.5 < seconds_until_end(link) < 2
    assert reasons(refusals) == [Reason.NO_REQUEST]


@pytest.mark.parametrize("sent", [b"\x04", p_data(echo_command())[:20], p_data(echo_command()[:20], last=False)])
def test_silence_in_the_middle_of_a_message_is_cut_off(open_port, refusals, sent):
    link, _ = associate(open_port(network_timeout=0.5))
    link.sendall(sent)
    started = time.monotonic()
    assert read_pdu(link)[0] == ABORTED
    assert 0.3 < time.monotonic() - started < 1.5
    assert reasons(refusals) == [Reason.TOO_SLOW]


def test_a_message_that_drips_is_cut_off(open_port, refusals):
    link, _ = associate(open_port(network_timeout=0.8))
    drip(link, p_data(bytes(1000), last=False), 0.05)
    started = time.monotonic()
    assert read_pdu(link)[0] == ABORTED
    assert 0.5 < time.monotonic() - started < 2
    assert reasons(refusals) == [Reason.TOO_SLOW]


def test_a_message_that_drips_in_whole_pdus_is_cut_off(open_port, refusals):
    link, _ = associate(open_port(network_timeout=0.8))
    for _ in range(40):
        with suppress(OSError):
            link.sendall(p_data(b"\0", context=3, command=False, last=False))
        time.sleep(0.05)
    assert reasons(refusals) == [Reason.TOO_SLOW]
    assert seconds_until_end(link) < 1


def test_an_association_may_rest_between_messages_but_not_for_ever(open_port, refusals):
    link, _ = associate(open_port(network_timeout=0.3, idle_timeout=1.2))
    for _ in range(2):
        time.sleep(0.7)
        link.sendall(p_data(echo_command()))
        assert read_pdu(link)[0] == 4
    started = time.monotonic()
    assert read_pdu(link)[0] == ABORTED
    assert 0.8 < time.monotonic() - started < 2.5
    assert reasons(refusals) == [Reason.IDLE]


def test_a_peer_that_does_not_read_its_answers_gives_its_place_back(open_port, refusals):
    port = open_port(network_timeout=0.5, idle_timeout=0.5, max_associations=1)
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
    link.connect(("127.0.0.1", port))
    link.settimeout(0.5)
    link.sendall(request_pdu())
    with suppress(OSError):
        while True:
            link.sendall(p_data(echo_command()))
    wait_until(lambda: echoes(port), 10, "the place")
    link.close()


def test_places_come_back_whatever_peers_do(open_port):
    port = open_port(max_associations=3)
    before = set(threading.enumerate())  # other tests' associations may still rest
    for end in (b"", RELEASE, b"\x07\0\0\0\0\x04\0\0\0\0", b"\xff" * 20, p_data(b"\xff" * 30), b"\x04\0\0\0\0\0"):
        for _ in range(3):
            link, answer = associate(port)
            assert answer[0] == ACCEPTED
            link.sendall(end)
            link.close()
        wait_until(lambda: echoes(port), 5, f"a place after {end!r}")
        wait_until(lambda: not set(threading.enumerate()) - before, 10, f"the threads' end after {end!r}")
