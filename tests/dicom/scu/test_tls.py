"""Results go to PACS by TLS: dcmtk's, Orthanc, and some that are not who they say."""

from __future__ import annotations

import threading
import time

import pytest

from scarnode.dicom.scp import AccessPolicy, listen
from scarnode.dicom.scu import About, RemoteAE, echo, send
from scarnode.dicom.tls import Identity, Protection, server_context
from tests.harness import Orthanc, storescp
from tests.harness.certificates import Authority
from tests.harness.peers import raw_peer


@pytest.fixture(scope="module")
def node(authority):
    made = authority.issue("node")
    return Identity(made.certificate, made.private_key)


@pytest.fixture(scope="module")
def pacs(authority):
    return authority.issue("pacs")


def at(port: int, protection: Protection | None, title: str = "PACS", host: str = "127.0.0.1") -> RemoteAE:
    return RemoteAE(host, port, title, timeout=4, tls=protection)


def test_dcmtk_takes_results_by_tls(objects, tmp_path, authority, node, pacs):
    options = ["+tls", str(pacs.private_key), str(pacs.certificate), "+cf", str(authority.ca_file), "-rc"]
    with storescp(tmp_path / "pacs", *options, ae_title="PACS") as port:
        destination = at(port, Protection(node, authority.ca_file))
        assert all(outcome.ok for outcome in send(objects, destination, "SCARNODE"))
        assert echo(destination, "SCARNODE").ok
        assert len(list((tmp_path / "pacs").iterdir())) == len(objects)
        unknown = echo(at(port, Protection(None, authority.ca_file)), "SCARNODE")
        assert not unknown.ok
        assert "alert" in unknown.detail
        plain = echo(at(port, None), "SCARNODE")
        assert not plain.ok
        assert not plain.permanent


def test_orthanc_takes_results_by_tls(objects, tmp_path, authority, node, pacs):
    configuration = {
        "DicomTlsEnabled": True,
        "DicomTlsCertificate": str(pacs.certificate),
        "DicomTlsPrivateKey": str(pacs.private_key),
        "DicomTlsTrustedCertificates": str(authority.ca_file),
    }
    with Orthanc(tmp_path / "orthanc", **configuration) as orthanc:
        destination = at(orthanc.port, Protection(node, authority.ca_file), orthanc.ae_title)
        assert echo(destination, "SCARNODE").ok
        assert all(outcome.ok for outcome in send(objects, destination, "SCARNODE"))
        assert len(orthanc.wait_for(len(objects))) == len(objects)


@pytest.fixture
def peer():
    """Give a function that opens a TLS port with a certificate."""
    servers = []

    def start(made, ca_file=None) -> int:
        context = server_context(Identity(made.certificate, made.private_key), ca_file)
        servers.append(listen(None, print, "PACS", "127.0.0.1", 0, AccessPolicy(), context))
        return servers[-1].port

    yield start
    for server in servers:
        threading.Thread(target=server.shutdown, daemon=True).start()


def test_a_peer_must_be_who_it_says(peer, authority, pacs, tmp_path):
    port = peer(pacs)
    assert echo(at(port, Protection(None, authority.ca_file)), "X").ok
    assert echo(at(port, Protection(None, authority.ca_file), host="localhost"), "X").ok
    other = Authority(tmp_path / "other", "Someone Else")
    faults = {
        "self-signed certificate in certificate chain|unable to get local issuer": (
            port,
            Protection(None, other.ca_file),
        ),
        "unable to get local issuer|self-signed": (port, Protection()),
        "Hostname mismatch": (port, Protection(None, authority.ca_file, "pacs.example.org")),
        "certificate has expired": (peer(authority.issue("old", days=-1)), Protection(None, authority.ca_file)),
    }
    for words, (where, protection) in faults.items():
        outcome = echo(at(where, protection), "X")
        assert not outcome.ok
        assert not outcome.permanent
        assert any(word in outcome.detail for word in words.split("|")), outcome.detail


def test_the_name_in_the_certificate_may_be_another_than_the_host(peer, authority):
    port = peer(authority.issue("named", names="DNS:pacs.example.org"))
    assert echo(at(port, Protection(None, authority.ca_file, "pacs.example.org")), "X").ok
    assert "mismatch" in echo(at(port, Protection(None, authority.ca_file)), "X").detail


def test_a_peer_that_wants_our_certificate_says_so(peer, authority, pacs, node):
    port = peer(pacs, authority.ca_file)
    assert echo(at(port, Protection(node, authority.ca_file)), "X").ok
    refused = echo(at(port, Protection(None, authority.ca_file)), "X")
    assert "certificate required" in refused.detail
    assert refused.about is About.DESTINATION  # no object is to blame: all that is due waits


def test_a_file_that_is_gone_is_named(peer, authority, pacs, tmp_path):
    outcome = echo(at(peer(pacs), Protection(None, tmp_path / "gone.pem")), "X")
    assert "A file for TLS" in outcome.detail
    assert outcome.about is About.DESTINATION
    assert not outcome.permanent


def test_a_peer_that_stalls_in_the_handshake_is_left(authority):
    with raw_peer(lambda connection: time.sleep(20)) as port:
        started = time.monotonic()
        destination = RemoteAE("127.0.0.1", port, "PACS", timeout=1, tls=Protection(None, authority.ca_file))
        assert not echo(destination, "X").ok
        assert time.monotonic() - started < 4
