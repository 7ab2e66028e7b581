"""STOW-RS to a real Orthanc, and to servers that misbehave. Every call comes back in time, with an answer to act on."""

from __future__ import annotations

import base64
import errno
import gzip
import logging
import socket
import ssl
import struct
import subprocess
import threading
import time
import tracemalloc
from pathlib import Path

import pytest
from pydicom import dcmread

from scarnode.dicom.scu import Outcome
from scarnode.dicom.tls import Identity, server_context
from scarnode.dicom.web import WebDestination
from tests.harness import Orthanc, find_tool, free_port, wait_until
from tests.harness.certificates import Authority
from tests.harness.peers import PATIENT, Relay, make_object, raw_peer
from tests.harness.web import http, item, read_request, response, web_server


def at(port: int, timeout: float = 5.0, scheme: str = "http", **more) -> WebDestination:
    return WebDestination("web", f"{scheme}://127.0.0.1:{port}/dicom-web", timeout=timeout, **more)


def send(paths, destination: WebDestination, title: str) -> tuple[Outcome, ...]:
    return destination.send(paths, title)


def echo(destination: WebDestination, title: str) -> Outcome:
    return destination.echo(title)


def kinds(outcomes) -> list[str]:
    return ["ok" if o.ok else "permanent" if o.permanent else "retry" for o in outcomes]


@pytest.fixture(autouse=True)
def nothing_is_left_behind(caplog):
    """No thread outlives a call, and no log holds the patient or a secret."""
    caplog.set_level(logging.DEBUG)
    before = set(threading.enumerate())
    yield
    assert PATIENT not in caplog.text
    assert "4711" not in caplog.text
    assert "s3cret" not in caplog.text

    def left() -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - before if not thread.daemon]

    wait_until(lambda: not left(), 5, "the end of the threads")


# --- a real archive


def test_orthanc_takes_a_result_once_and_takes_it_again(objects, tmp_path):
    with Orthanc(tmp_path / "orthanc", web=True, OverwriteInstances=False) as orthanc:
        for _ in range(2):
            outcomes = send(objects, at(orthanc.http_port), "SCARNODE")
            assert kinds(outcomes) == ["ok"] * 3
            assert [o.path for o in outcomes] == objects
        held = {ds.SOPInstanceUID: ds for ds in orthanc.wait_for(3, 10)}
        assert held == {ds.SOPInstanceUID: ds for ds in map(dcmread, objects)}
        assert echo(at(orthanc.http_port), "SCARNODE") == Outcome(
            None, True, False, 200, f"{orthanc.url} answered a search for studies with HTTP 200 (OK)."
        )

        broken = make_object(tmp_path / "broken.dcm")
        dataset = dcmread(broken)
        del dataset.SeriesInstanceUID
        dataset.save_as(broken)
        refused, taken = send([broken, objects[0]], at(orthanc.http_port), "SCARNODE")
        assert (refused.ok, refused.status, taken.ok) == (False, 0xC000, True)
        assert not echo(WebDestination("web", orthanc.url + "/elsewhere"), "SCARNODE").ok

        orthanc.stop()
        assert kinds(send(objects, at(orthanc.http_port, 1), "SCARNODE")) == ["retry"] * 3
        orthanc.start()
        assert kinds(send(objects, at(orthanc.http_port), "SCARNODE")) == ["ok"] * 3


def test_orthanc_that_wants_a_password(objects, tmp_path):
    accounts = {"AuthenticationEnabled": True, "RegisteredUsers": {"node": "s3cret"}}
    with Orthanc(tmp_path / "orthanc", web=True, **accounts) as orthanc:
        for user, password, expected in (
            ("node", "s3cret", "ok"),
            ("node", "wrong", "permanent"),
            ("", "", "permanent"),
        ):
            destination = at(orthanc.http_port, user=user, password=password)
            assert kinds(send(objects[:1], destination, "SCARNODE")) == [expected]
            assert kinds([echo(destination, "SCARNODE")]) == [expected]


# --- what the request is


def test_the_request_carries_the_files_own_bytes_and_the_credentials(objects):
    seen: list[bytes] = []
    with web_server(http(200, response([item(objects[0])])), requests=seen) as port:
        assert kinds(send(objects[:1], at(port, token="s3cret"), "SCARNODE")) == ["ok"]
        assert kinds(send(objects[:1], at(port, user="ä", password="s3cret"), "SCARNODE")) == ["ok"]
    head, _, body = seen[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /dicom-web/studies HTTP/1.1")
    assert f"Host: 127.0.0.1:{port}".encode() in head
    assert b"Accept: application/dicom+json" in head
    assert b"Authorization: Bearer s3cret" in head
    assert b"Authorization: Basic " + base64.b64encode("ä:s3cret".encode()) in seen[1]
    assert b'multipart/related; type="application/dicom"' in head
    assert objects[0].read_bytes() in body
    assert repr(at(port, token="s3cret")).count("s3cret") == 0


def test_the_environment_says_nothing(objects, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("no_proxy", "")
    with web_server(http(200, response([item(objects[0])]))) as port:
        assert kinds(send(objects[:1], at(port), "SCARNODE")) == ["ok"]


# --- what the answer says of the instance


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (409, 0xA700, "retry"),
        (409, 0x0110, "retry"),
        (409, 0xC000, "retry"),
        (409, 0xA900, "permanent"),
        (409, 0x0122, "permanent"),
        (409, 0x0124, "permanent"),
        (409, 0xC122, "permanent"),
        (409, 0x0111, "ok"),
        (409, 0xB00E, "ok"),
        (202, 0xA700, "retry"),
        (200, 0xA900, "permanent"),
    ],
)
def test_failure_reason_decides_what_happens_next_and_the_others_still_go(objects, status, reason, expected):
    refusal = http(status, response(failed=[item(objects[0], reason=reason)]))
    with web_server(refusal, http(200, response([item(objects[1])]))) as port:
        outcomes = send(objects[:2], at(port), "SCARNODE")
    assert kinds(outcomes) == [expected, "ok"]
    assert outcomes[0].status == reason
    assert f"0x{reason:04X}" in outcomes[0].detail


@pytest.mark.parametrize("warning", [0xB000, 0xB006, 0xB007])
def test_stored_with_a_warning_is_stored(objects, warning):
    with web_server(http(202, response([item(objects[0], warning=warning)]))) as port:
        [outcome] = send(objects[:1], at(port), "SCARNODE")
    assert (outcome.ok, outcome.status) == (True, warning)
    assert f"0x{warning:04X}" in outcome.detail


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        *((status, "permanent") for status in (400, 401, 403, 413, 415, 501)),
        *((status, "retry") for status in (200, 204, 404, 408, 409, 429, 500, 502, 503, 999)),
    ],
)
def test_without_a_word_on_the_instance_the_http_status_decides(objects, status, expected):
    with web_server(http(status)) as port:
        [outcome] = send(objects[:1], at(port), "SCARNODE")
    assert (kinds([outcome]), outcome.status) == ([expected], status)
    assert f"HTTP {status}" in outcome.detail
    assert "Whatever" not in outcome.detail  # the peer's own words may be anything


def test_what_could_not_even_be_identified_is_ours(objects):
    anonymous = {"00081197": {"vr": "US", "Value": [0xC000]}}
    with web_server(http(409, response(other=[anonymous]))) as port:
        [outcome] = send(objects[:1], at(port), "SCARNODE")
    assert outcome.status == 0xC000


XML = """<?xml version="1.0"?><NativeDicomModel xmlns="http://dicom.nema.org/PS3.19/models/NativeDICOM">
<DicomAttribute tag="{tag}" vr="SQ"><Item number="1">
<DicomAttribute tag="00081155" vr="UI"><Value number="1">{uid}</Value></DicomAttribute>
<DicomAttribute tag="00081197" vr="US"><Value number="1">42752</Value></DicomAttribute>
</Item></DicomAttribute></NativeDicomModel>"""


def test_answers_in_other_forms(objects):
    """XML; a media type with a parameter; a list; gzip."""
    path = objects[0]
    stored = response([item(path)])
    forms = [
        http(200, XML.format(tag="00081199", uid=dcmread(path).SOPInstanceUID).encode()),
        http(200, stored, Content_Type="application/dicom+json; charset=utf-8"),
        http(200, b"[" + stored + b"]"),
        http(200, gzip.compress(stored), Content_Encoding="gzip"),
    ]
    with web_server(*forms) as port:
        assert kinds(send([path] * 4, at(port), "SCARNODE")) == ["ok"] * 4
    with web_server(http(409, XML.format(tag="00081198", uid=dcmread(path).SOPInstanceUID).encode())) as port:
        assert send([path], at(port), "SCARNODE")[0].status == 42752


@pytest.mark.parametrize(
    "body",
    [
        b"<html>Please log in</html>",
        b"<not closed",
        b"{",
        b"[[[[",
        b"[" * 100_000,
        b"17",
        b'{"00081199": 5}',
        b'{"00081199": {"vr": "SQ", "Value": [5, null]}}',
        b'{"00081199": {"vr": "SQ", "Value": [{"00081155": "x"}]}}',
        b'{"00081199": {"vr": "SQ", "Value": [{"00081155": {"Value": ["1.2.3"]}}]}}',
        b'{"00081198": {"vr": "SQ", "Value": [{"00081155": {"Value": ["1.2.3"]}}]}}',
        b"\xff\xfe\x00",
        b'<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b "' + b"c" * 10_000 + b'">]><a>' + b"&b;" * 50_000 + b"</a>",
    ],
)
def test_success_is_only_what_names_the_instance(objects, body):
    with web_server(http(200, body)) as port:
        assert kinds(send(objects[:1], at(port), "SCARNODE")) == ["retry"]


def test_a_redirect_is_not_followed(objects):
    seen: list[bytes] = []
    with web_server(http(200, response([item(objects[0])])), requests=seen) as other:
        for status in (301, 302, 307, 308):
            with web_server(http(status, Location=f"http://127.0.0.1:{other}/dicom-web/studies")) as port:
                assert kinds(send(objects[:1], at(port, token="s3cret"), "SCARNODE")) == ["permanent"]
    assert seen == []


# --- servers that break, hang, or are none


def test_nothing_listens(objects):
    outcomes = send(objects, at(free_port(), 1), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 3
    assert "No connection" in outcomes[0].detail
    assert kinds([echo(at(free_port(), 1), "SCARNODE")]) == ["retry"]
    assert kinds(send(objects, WebDestination("w", "http://no-such-host.invalid/", timeout=1), "X")) == ["retry"] * 3


@pytest.mark.parametrize(
    "then", ["hang", "hang up", "half-close", "reset", "garbage", "half an answer", "header for ever"]
)
def test_a_server_that_breaks(objects, then):
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        if then == "hang":
            time.sleep(30)
        elif then == "half-close":
            connection.shutdown(socket.SHUT_WR)
            time.sleep(30)
        elif then == "reset":
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
        elif then == "garbage":
            connection.sendall(b"\x02\x00\x00\x00" + b"\xff" * 500)
            connection.close()
        elif then == "half an answer":
            connection.sendall(http(200, response([item(objects[0])]))[:-20])
            time.sleep(30)
        elif then == "header for ever":
            connection.sendall(b"HTTP/1.1 200 OK\r\n")
            while True:
                connection.sendall(b"X-Slow: yes\r\n")
                time.sleep(0.05)
        else:
            connection.close()

    started = time.monotonic()
    with raw_peer(talk) as port:
        outcomes = send(objects, at(port, 0.5), "SCARNODE")
        answer = echo(at(port, 0.5), "SCARNODE")
    assert kinds([*outcomes, answer]) == ["retry"] * 4
    assert "before this one" in outcomes[1].detail
    assert time.monotonic() - started < 5


def test_a_server_that_sends_without_end(objects):
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"100000\r\n" + b" " * 0x100000 + b"\r\n")

    started = time.monotonic()
    with raw_peer(talk) as port:
        assert kinds(send(objects[:1], at(port, 2), "SCARNODE")) == ["retry"]
    assert time.monotonic() - started < 2


@pytest.mark.parametrize("coding", ["gzip", "deflate", "gzip, gzip"])
def test_a_compressed_answer_takes_no_more_memory_than_another(objects, coding):
    bomb = gzip.compress(b" " * 50_000_000)
    tracemalloc.start()
    try:
        with web_server(http(200, gzip.compress(bomb) if "," in coding else bomb, Content_Encoding=coding)) as port:
            assert kinds(send(objects[:1], at(port), "SCARNODE")) == ["retry"]
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


def test_a_machine_without_a_free_descriptor_blames_itself(objects, monkeypatch):
    def no_socket(*_args, **_options):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(socket, "socket", no_socket)
    outcomes = send(objects, WebDestination("web", "http://127.0.0.1:9/dicom-web", timeout=1), "SCARNODE")
    assert [outcome.fault.number for outcome in outcomes] == [errno.EMFILE] * 3
    assert kinds(outcomes) == ["retry"] * 3


@pytest.mark.parametrize("then", ["freeze", "cut", "half-close", "trickle"])
def test_a_line_that_breaks_in_the_middle_of_a_large_object(tmp_path, then, monkeypatch):
    path = make_object(tmp_path / "large.dcm", pixels=3000)
    # the time that an object of 18 MB may take at 64 kB/s would be too long for a test
    monkeypatch.setattr("scarnode.dicom.web.stow.patience", lambda size, timeout: timeout)
    started = time.monotonic()
    with web_server(http(200, response([item(path)]))) as good, Relay(good, 3_000_000, then) as port:
        outcomes = send([path, path], at(port, 0.5), "SCARNODE")
    assert kinds(outcomes) == ["retry"] * 2
    assert time.monotonic() - started < 6


def test_an_object_may_take_longer_than_an_answer(tmp_path):
    """A slow line is no fault: only silence is."""
    path = make_object(tmp_path / "large.dcm", pixels=3000)
    answer = http(200, response([item(path)]))

    def talk(connection: socket.socket) -> None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        time.sleep(1.6)
        read_request(connection)
        connection.sendall(answer)

    with raw_peer(talk) as port:
        assert kinds(send([path], at(port, 1), "SCARNODE")) == ["ok"]


# --- TLS


@pytest.fixture
def certificate(tmp_path) -> Path:
    """Give a PEM file with key and certificate for 127.0.0.1, vouched for by nobody but itself."""
    pem, key = tmp_path / "peer.pem", tmp_path / "key.pem"
    command = [find_tool("openssl"), "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    command += ["-nodes", "-days", "2", "-subj", "/CN=pacs", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", pem], check=True, capture_output=True)
    pem.write_bytes(pem.read_bytes() + key.read_bytes())
    return pem


def test_tls_needs_a_certificate_that_someone_vouches_for(objects, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            read_request(tls)
            tls.sendall(http(200, response([item(objects[0])])))

    with raw_peer(talk) as port:
        assert kinds(send(objects[:1], at(port, scheme="https", ca_file=certificate), "X")) == ["ok"]
        [stranger] = send(objects[:1], at(port, scheme="https"), "X")
        by_name = WebDestination("web", f"https://localhost:{port}", ca_file=certificate, timeout=5)
        [wrong_name] = send(objects[:1], by_name, "X")
    assert kinds([stranger, wrong_name]) == ["retry"] * 2
    assert "is not accepted: self-signed certificate" in stranger.detail
    assert "is not accepted: Hostname mismatch" in wrong_name.detail


@pytest.mark.parametrize("then", ["http", "silence", "trickle"])
def test_a_server_that_does_not_speak_tls(objects, then):
    def talk(connection: socket.socket) -> None:
        connection.recv(10)
        if then == "http":
            connection.sendall(http(400))
        elif then == "trickle":
            connection.sendall(b"\x16\x03\x03\x3f\xff")
            while True:
                connection.sendall(b"\x02")
                time.sleep(0.05)
        time.sleep(30)

    started = time.monotonic()
    with raw_peer(talk) as port:
        assert kinds(send(objects, at(port, 0.5, "https"), "X")) == ["retry"] * 3
    assert time.monotonic() - started < 4


# --- files


def test_files_that_can_not_be_sent_do_not_hold_up_the_others(objects, tmp_path):
    missing, empty, text, cut = (tmp_path / name for name in ("missing", "empty", "text", "cut"))
    empty.write_bytes(b"")
    text.write_text("this is not DICOM" * 100)
    cut.write_bytes(objects[0].read_bytes()[:140])
    with web_server(*(http(200, response([item(path)])) for path in objects[:2])) as port:
        outcomes = send([missing, objects[0], empty, text, cut, tmp_path, objects[1]], at(port), "SCARNODE")
    assert kinds(outcomes) == ["permanent", "ok", "permanent", "permanent", "permanent", "retry", "ok"]
    assert outcomes[0].detail == "The file is missing."
    assert send([], at(free_port()), "SCARNODE") == ()


@pytest.mark.parametrize(
    "change",
    [
        {"url": ""},
        {"url": "pacs/dicom-web"},
        {"url": "ftp://pacs"},
        {"url": "https://"},
        {"url": "https://pacs:99999"},
        {"url": "https://pacs/a b"},
        {"url": "https://user:pass@pacs"},
        {"url": "https://pacs/?x=1"},
        {"url": "https://[pacs"},
        {"user": "node"},
        {"password": "s3cret"},
        {"token": "two\nlines"},
        {"token": "s3cret", "user": "node", "password": "s3cret"},
        {"objects": ()},
        {"objects": ("seg", "gif")},
        {"timeout": 0},
    ],
)
def test_a_destination_that_can_not_be_is_refused(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        WebDestination(**{"name": "web", "url": "https://pacs/dicom-web", **change})


def test_a_peer_that_asks_for_our_certificate_is_shown_it(objects, tmp_path):
    authority = Authority(tmp_path / "ca")
    theirs, ours = authority.issue("pacs"), authority.issue("node")
    context = server_context(Identity(theirs.certificate, theirs.private_key), authority.ca_file)

    def talk(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            read_request(tls)
            tls.sendall(http(200, response([item(objects[0])])))

    with raw_peer(talk) as port:
        identity = Identity(ours.certificate, ours.private_key)
        shown = at(port, scheme="https", ca_file=authority.ca_file, identity=identity)
        assert kinds(send(objects[:1], shown, "X")) == ["ok"]
        assert kinds(send(objects[:1], at(port, scheme="https", ca_file=authority.ca_file), "X")) == ["retry"]
