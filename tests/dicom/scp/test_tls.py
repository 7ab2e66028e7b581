"""The port that speaks TLS, called by dcmtk, openssl and by peers that mean no good."""

from __future__ import annotations

import ssl
import subprocess
import threading
import time
from contextlib import suppress

import pytest

from scarnode.dicom.scp import AccessPolicy, Limits, Reason, Spool, listen
from scarnode.dicom.scu import RemoteAE, echo
from scarnode.dicom.tls import Identity, Protection, server_context
from tests.dicom.scp.builders import instance, write
from tests.dicom.scp.wire import connect, echo_command, p_data, read_pdu, request_pdu, seconds_until_end
from tests.harness import echoscu, find_tool, storescu, wait_until
from tests.harness.certificates import Authority


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("other"), "Someone Else").issue("scanner")


@pytest.fixture(scope="module")
def node(authority):
    return authority.issue("node")


@pytest.fixture(scope="module")
def scanner(authority):
    return authority.issue("scanner")


@pytest.fixture
def refusals():
    return []


@pytest.fixture
def open_port(refusals, node, authority, tmp_path):
    """Give a function that opens a TLS port."""
    servers, spool = [], Spool(tmp_path / "spool")

    def start(mutual: bool = True, **limits: float) -> int:
        context = server_context(Identity(node.certificate, node.private_key), authority.ca_file if mutual else None)
        access_policy = AccessPolicy(limits=Limits(**limits), refused=refusals.append)
        servers.append(listen(spool, lambda path: None, "SCARNODE", "127.0.0.1", 0, access_policy, context))
        return servers[-1].port

    start.spool = spool
    yield start
    for server in servers:
        threading.Thread(target=server.shutdown, daemon=True).start()
    spool.close()


def tls_options(made, authority) -> list[str]:
    return ["+tls", str(made.private_key), str(made.certificate), "+cf", str(authority.ca_file), "-rc"]


def echoed(port, authority, made=None) -> bool:
    identity = Identity(made.certificate, made.private_key) if made else None
    protection = Protection(identity, authority.ca_file)
    return echo(RemoteAE("127.0.0.1", port, "SCARNODE", timeout=5, tls=protection), "X").ok


def test_dcmtk_sends_by_tls(open_port, authority, scanner, tmp_path):
    port = open_port()
    files = write(tmp_path / "sent", instance(1), instance(2))
    done = storescu("127.0.0.1", port, files, "SCARNODE", options=tls_options(scanner, authority))
    assert done.returncode == 0, done.stderr
    assert len(list(open_port.spool)) == 2
    assert echoscu("127.0.0.1", port, "SCARNODE", options=tls_options(scanner, authority)).returncode == 0


def test_a_stranger_s_certificate_none_and_no_tls_are_refused(open_port, authority, scanner, stranger, refusals):
    port = open_port()
    assert echoscu("127.0.0.1", port, "SCARNODE", options=tls_options(stranger, authority)).returncode != 0
    assert echoscu("127.0.0.1", port, "SCARNODE", options=["+tla", "-ic"]).returncode != 0
    assert echoscu("127.0.0.1", port, "SCARNODE").returncode != 0
    assert not echoed(port, authority)
    assert echoed(port, authority, scanner)
    wait_until(lambda: len(refusals) == 4, 5, "four refusals")
    assert {refusal.reason for refusal in refusals} == {Reason.NO_TLS}
    details = [refusal.detail for refusal in refusals]
    assert "its certificate is not accepted" in details[0]
    assert details[1] == details[3] == "peer did not return a certificate"
    assert all(details)


def test_without_mutual_no_certificate_is_needed(open_port, authority):
    port = open_port(mutual=False)
    assert echoed(port, authority)
    assert echoscu("127.0.0.1", port, "SCARNODE", options=["+tla", "-ic"]).returncode == 0


@pytest.mark.parametrize(
    ("options", "spoken"),
    [
        (["-tls1"], ""),
        (["-tls1_1"], ""),
        (["-tls1_2"], "TLSv1.2"),
        (["-tls1_3"], "TLSv1.3"),
        ([], "TLSv1.3"),
        (["-tls1_2", "-cipher", "AES128-GCM-SHA256:@SECLEVEL=0"], ""),  # no forward secrecy
        (["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0"], ""),  # no authenticated encryption
        (["-tls1_2", "-cipher", "aNULL:@SECLEVEL=0"], ""),
    ],
)
def test_versions_and_cipher_suites(open_port, authority, options, spoken):
    port = open_port(mutual=False)
    command = [find_tool("openssl"), "s_client", "-connect", f"127.0.0.1:{port}", "-CAfile", authority.ca_file]
    if "-cipher" not in options:
        options = [*options, "-cipher", "DEFAULT:@SECLEVEL=0"]  # else openssl itself would not speak the old ones
    done = subprocess.run(
        [*map(str, command), *options], check=False, input="", capture_output=True, text=True, timeout=20
    )
    if spoken:
        assert f"New, {spoken}, Cipher is " in done.stdout
        assert "Verify return code: 0 (ok)" in done.stdout
    else:
        assert "alert" in done.stderr, done.stderr  # it is the node that refuses
        assert "Cipher is (NONE)" in done.stdout


def test_a_peer_that_stalls_in_the_handshake_holds_up_nobody(open_port, authority, scanner, refusals):
    """pynetdicom shakes hands in the loop that accepts: one such peer would block the port."""
    port = open_port(max_associations=2, request_timeout=2)
    stalled = [connect(port) for _ in range(5)]
    stalled[0].sendall(b"\x16\x03\x01\x02\x00")  # half a ClientHello
    assert echoed(port, authority, scanner)
    for link in stalled:
        assert seconds_until_end(link) < 3
    wait_until(lambda: len(refusals) == 5, 5, "five refusals")
    assert {refusal.reason for refusal in refusals} == {Reason.NO_REQUEST}


@pytest.mark.slow
def test_a_flood_in_the_handshake_lets_others_in(open_port, authority, scanner, refusals):
    port = open_port(max_waiting=4)
    flood = [connect(port, "127.0.0.9") for _ in range(20)]
    assert echoed(port, authority, scanner)
    for link in flood[:15]:
        assert seconds_until_end(link) < 2
    wait_until(lambda: len(refusals) >= 16, 5, "16 refusals")
    assert {refusal.reason for refusal in refusals} == {Reason.CROWDED_OUT}
    for link in flood:
        link.close()


def wrapped(port, authority) -> ssl.SSLSocket:
    context = ssl.create_default_context(cafile=authority.ca_file)
    return context.wrap_socket(connect(port), server_hostname="localhost")


def test_limits_hold_within_tls(open_port, authority, refusals):
    port = open_port(mutual=False, request_timeout=0.6, network_timeout=0.6)
    with wrapped(port, authority) as silent:
        assert 0.3 < seconds_until_end(silent) < 2
    with wrapped(port, authority) as link:
        link.sendall(request_pdu())
        assert read_pdu(link)[0] == 2
        link.sendall(p_data(echo_command()) + p_data(echo_command()))  # two messages in one TLS record
        assert read_pdu(link)[0] == 4
        assert read_pdu(link)[0] == 4
        link.sendall(b"\x04\0\xff\xff\xff\xff")
        assert read_pdu(link) == b"\x07\0\0\0\0\x04\0\0\2\6"
    with wrapped(port, authority) as link:
        link.sendall(request_pdu())
        assert read_pdu(link)[0] == 2
        started = time.monotonic()
        with suppress(OSError):
            for byte in p_data(bytes(400)):
                link.sendall(bytes([byte]))
                time.sleep(0.02)
        assert time.monotonic() - started < 2
    assert [refusal.reason for refusal in refusals] == [Reason.NO_REQUEST, Reason.PDU_TOO_LONG, Reason.TOO_SLOW]


def test_tls_on_the_port_without_is_named(refusals):
    server = listen(None, print, "SCARNODE", "127.0.0.1", 0, AccessPolicy(refused=refusals.append))
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ssl.create_default_context().wrap_socket(connect(server.port), server_hostname="localhost")
    wait_until(lambda: refusals, 5, "a refusal")
    assert "TLS" in refusals[0].detail
    server.shutdown()
