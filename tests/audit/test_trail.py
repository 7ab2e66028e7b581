"""Audit messages reach a real rsyslogd: in their order, all of them, also when it was away."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import stat
import subprocess
import sys
import threading
from dataclasses import replace

import pytest

from scarnode.audit import AuditTrail, Participant, Repository, Source, events
from scarnode.audit.syslog import envelope, parse_url, transmit
from scarnode.dicom.tls import Identity
from scarnode.util.errors import AuditError
from tests.harness import free_port
from tests.harness.certificates import Authority, Certificate
from tests.harness.node import ROOT
from tests.harness.peers import raw_peer
from tests.harness.repository import Received, Rsyslog, assert_valid

SOURCE = Source("SCARNODE")


def at(server: Rsyslog, identity: Identity | None = None) -> Repository:
    return Repository(*parse_url(server.url), identity, server.ca_file, timeout=5)


def numbered(number: int, text: str = "") -> events.Message:
    return events.refused(SOURCE, Participant(f"PEER{number}", address="10.0.0.1"), "X", f"why {number}{text}")


def numbers(received: list[Received]) -> list[int]:
    """Give the numbers of `numbered` messages, in their order."""
    return [int(one.root.findall("ActiveParticipant")[1].get("UserID").removeprefix("PEER")) for one in received]


@pytest.mark.parametrize("transport", ["tls", "udp"])
def test_all_arrive_once_and_in_order_after_the_repository_was_away(tmp_path, transport, monkeypatch, caplog):
    monkeypatch.setattr("scarnode.audit.trail.FIRST_DELAY", 0.01)
    monkeypatch.setattr("scarnode.audit.trail.LONGEST_DELAY", 0.02)
    server = Rsyslog(tmp_path / "repository", transport)
    trail = AuditTrail(at(server), SOURCE, tmp_path / "audit")
    with caplog.at_level(logging.INFO):
        for number in range(60):
            trail.record(numbered(number))
            if number in (3, 30):
                assert trail.send_due() == 0
        assert len(caplog.records) == 1, "one line tells of the trouble, not one for each try"
        with server:
            while trail.send_due() == 0:
                pass
            trail.record(numbered(60, "山" * 5000))  # 15 kB
            trail.send_due()
            server.wait_for(61)
        for number in range(61, 70):
            trail.record(numbered(number))
        trail.send_due()
        with server:
            while trail.send_due() == 0:
                pass
            received = server.wait_for(70)
    assert numbers(received) == list(range(70))
    assert {one.message_id for one in received} == {"DICOM+RFC3881"}
    assert {one.priority for one in received} == {84}
    assert {(one.program, one.process) for one in received} == {("scarnode", str(os.getpid()))}
    assert not list((tmp_path / "audit").glob("*.msg"))
    assert_valid([one.xml for one in received], tmp_path / "xml")


def test_a_notice_has_priority_85(tmp_path):
    assert envelope(events.started(SOURCE), SOURCE).startswith(b"<85>1 2")


def test_tls_verifies_the_repository_and_shows_our_certificate(tmp_path):
    hospital = Authority(tmp_path / "hospital")
    issued = hospital.issue("node")
    ours = Identity(issued.certificate, issued.private_key)
    message = envelope(events.started(SOURCE), SOURCE)
    with Rsyslog(tmp_path / "open") as server:
        stranger = replace(at(server), ca_file=hospital.ca_file)
        assert "certificate is not accepted" in transmit([message], stranger).trouble
        assert "certificate is not accepted" in transmit([message], replace(at(server), host="localhost")).trouble
        absent = replace(at(server), ca_file=tmp_path / "absent")
        assert transmit([message], absent).trouble
    with Rsyslog(tmp_path / "mutual", client_ca=hospital.ca_file) as server:
        for _ in range(20):  # it refuses us after the handshake, in one of several ways
            assert transmit([message], at(server)).sent == 0
        assert transmit([message], at(server, ours)).sent == 1
        [received] = server.wait_for(1)
    assert received.event == "activity"
    assert received.priority == 85


def talk_tls(shown: Certificate, then: str):
    """Give a peer that reads a little and then breaks off in one exact way."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(shown.certificate, shown.private_key)

    def talk(line: socket.socket) -> None:
        link = context.wrap_socket(line, server_side=True)
        if then == "at once":
            link.close()
        elif then == "refused":
            link.unwrap()  # a close_notify before anything was read, as rsyslogd sends it to a client it does not know
            link.close()
        elif then == "unread":
            link.recv(10)
            link.close()
        elif then == "silent":
            threading.Event().wait(5)
        else:
            while link.recv(65536):
                pass
            if then == "close_notify":
                link.unwrap()
            link.close()

    return talk


@pytest.mark.parametrize(
    ("then", "sent"),
    [("close_notify", 3), ("plain close", 3), ("at once", 0), ("refused", 0), ("unread", 0), ("silent", 0)],
)
def test_only_what_the_repository_read_counts_as_sent(tmp_path, then, sent):
    authority = Authority(tmp_path)
    messages = [b"x" * 300_000] * 3
    with raw_peer(talk_tls(authority.issue("peer"), then)) as port:
        done = transmit(messages, Repository("syslog-tls", "127.0.0.1", port, None, authority.ca_file, timeout=1))
    assert done.sent == sent
    assert bool(done.trouble) == (sent == 0)


@pytest.mark.soak
def test_of_thousands_of_connections_none_is_mistaken(tmp_path):
    """All that a repository takes counts as sent, and nothing that it refuses, however the two ends' closes cross."""
    hospital = Authority(tmp_path / "hospital")
    message = envelope(events.started(SOURCE), SOURCE)
    with Rsyslog(tmp_path / "open") as server:
        counted = sum(transmit([message] * (1 + n % 50), at(server)).sent for n in range(1000))
        assert counted == sum(1 + n % 50 for n in range(1000))
        assert len(server.wait_for(counted, 60)) == counted
    with Rsyslog(tmp_path / "mutual", client_ca=hospital.ca_file) as server:
        refused = sum(transmit([message] * (1 + n % 50), at(server)).sent for n in range(1000))
        assert refused == 0
        assert not server.received
    print(f"\n1000 connections: {counted} messages sent and there; 1000 refused: {refused} counted as sent")


def test_messages_are_ours_alone_and_outlive_the_process(tmp_path):
    """kill -9 right after `record`: everything is there, and goes out with the next start."""
    code = (
        "import os, sys; from pathlib import Path; from scarnode.audit import *\n"
        "trail = AuditTrail(Repository('syslog-udp', '127.0.0.1', 9), Source('A'), Path(sys.argv[1]))\n"
        "for n in range(20): trail.record(events.refused(trail.source, Participant(f'PEER{n}'), 'X', 'y'))\n"
        "os.kill(os.getpid(), 9)"
    )
    os.umask(0o022)
    folder = tmp_path / "spool" / "audit"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert subprocess.run([sys.executable, "-c", code, str(folder)], env=environment, check=False).returncode == -9
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.glob("*.msg")} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    with Rsyslog(tmp_path / "repository") as server:
        AuditTrail(at(server), SOURCE, folder).send_due()
        assert numbers(server.wait_for(20)) == list(range(20))


def test_at_the_limit_recording_stops_and_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr("scarnode.audit.trail.FIRST_DELAY", 1e-9)
    monkeypatch.setattr("scarnode.audit.trail.LONGEST_DELAY", 1e-9)
    server = Rsyslog(tmp_path / "repository")
    folder = tmp_path / "audit"
    trail = AuditTrail(at(server), SOURCE, folder, most_waiting=5)
    for number in range(5):
        trail.record(numbered(number))
    for number in range(5, 8):
        with pytest.raises(AuditError, match="no more are kept"):
            trail.record(numbered(number))
    second = AuditTrail(at(server), SOURCE, folder, most_waiting=5)  # the command line
    with pytest.raises(AuditError, match="no more are kept"):
        second.record(numbered(8))
    trail.note(numbered(9))  # the node goes on
    assert len(list(folder.glob("*.msg"))) == 6
    with server:
        trail.send_due()
        trail.record(numbered(10))
        trail.send_due()
        received = server.wait_for(8)
    assert [one.kind for one in received] == ["110126"] * 5 + ["110133", "110134", "110126"]
    assert "4 audit messages" in received[6].root.find("EventIdentification/EventOutcomeDescription").text
    assert_valid([one.xml for one in received], tmp_path / "xml")


def test_what_no_datagram_holds_is_set_aside(tmp_path, caplog):
    with Rsyslog(tmp_path / "repository", "udp") as server:
        trail = AuditTrail(at(server), SOURCE, tmp_path / "audit")
        trail.record(numbered(0))
        (tmp_path / "audit" / f"{10**19}-1.msg").write_bytes(b"x" * 70_000)
        trail.record(numbered(1))
        trail.send_due()
        assert numbers(server.wait_for(2)) == [0, 1]
    assert len(list((tmp_path / "audit" / "unsendable").iterdir())) == 1
    assert "do not fit into a datagram" in caplog.text


def test_a_folder_that_can_not_be_written_stops_no_node(tmp_path, caplog):
    repository = Repository("syslog-udp", "127.0.0.1", free_port())
    (tmp_path / "file").touch()
    with pytest.raises(AuditError, match="no audit message can be kept"):
        AuditTrail(repository, SOURCE, tmp_path / "file" / "audit")
    trail = AuditTrail(repository, SOURCE, tmp_path / "audit")
    (tmp_path / "audit" / "partial").write_text("a file where a folder should be")
    trail.note(numbered(0))  # the node goes on
    assert "no audit message can be kept" in caplog.text
    with pytest.raises(AuditError, match="no audit message can be kept"):  # the command line does not
        trail.record(numbered(1))


def test_without_a_repository_nothing_is_made(tmp_path):
    trail = AuditTrail(None, SOURCE, tmp_path / "audit")
    trail.record(numbered(0))
    assert trail.send_due() == 0
    assert not (tmp_path / "audit").exists()
