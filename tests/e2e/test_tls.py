"""A node that is called by TLS beside, then instead of, the plain port; and its way to a PACS that speaks TLS."""

from __future__ import annotations

import pytest

from scarnode.dicom.scu import RemoteAE, echo
from scarnode.dicom.tls import Identity, Protection
from tests.harness import Node, echoscu, free_port, storescp, wait_until
from tests.harness.certificates import Authority


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


@pytest.fixture
def tls(authority):
    """Give the keys of [tls]."""
    ours = authority.issue("node")
    files = {"certificate": ours.certificate, "private_key": ours.private_key, "ca_file": authority.ca_file}
    return {**files, "port": free_port()}


def test_tls_beside_the_plain_port_and_to_a_destination(tmp_path, scarnode, authority, tls):
    theirs, port = authority.issue("pacs"), tls["port"]
    options = ["+tls", str(theirs.private_key), str(theirs.certificate), "+cf", str(authority.ca_file), "-rc"]
    with storescp(tmp_path / "pacs", *options, ae_title="PACS") as pacs_port:
        pacs = {"host": "127.0.0.1", "port": pacs_port, "ae_title": "PACS", "tls": "yes"}
        callers = {"calling_ae_titles": "HARNESS\nSCANNER@127.0.0.1"}
        with Node(tmp_path / "node", {"pacs": pacs}, tls=tls, node=callers) as node:
            assert echoscu(node.host, node.port, node.ae_title).returncode == 0
            assert echoscu(node.host, port, node.ae_title, options=options).returncode == 0
            refused = echoscu(node.host, port, node.ae_title, "STRANGER", options=options)
            assert "Calling AE Title Not Recognized" in refused.stdout + refused.stderr
            assert '"STRANGER", called "SCARNODE"): calling AE title not recognised' in node.log()
            checked = scarnode("config", "check", "--echo", "-c", node.config_path).stdout
            assert f"TLS on port {port}: callers show a certificate." in checked
            assert "certificate: valid until 2" in checked
            assert "destination pacs: good" in checked


@pytest.mark.soak
def test_tls_alone(tmp_path, authority, tls):
    theirs = authority.issue("scanner")
    node = Node(tmp_path / "node", tls={**tls, "only": "yes"})
    node.launch()
    try:
        protection = Protection(Identity(theirs.certificate, theirs.private_key), authority.ca_file)
        by_tls = RemoteAE(node.host, tls["port"], node.ae_title, timeout=5, tls=protection)
        wait_until(lambda: echo(by_tls, "X").ok, 60, "the node's answer by TLS")
        assert not node.echo()
    finally:
        node.kill()
