"""config.ini as shipped is a working one: a node serves from it, with folders and ports from the environment."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest

from tests.harness.node import ROOT, Node
from tests.harness.tools import free_port, wait_until


class Shipped(Node):
    """A node of the shipped file."""

    def write_config(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.write_bytes((ROOT / "config.ini").read_bytes())
        return self.config_path


@pytest.mark.slow
def test_a_node_serves_from_the_shipped_file(tmp_path):
    web = free_port()
    node = Shipped(tmp_path / "node")
    node._environment = {
        "SCARNODE_NODE_PORT": str(node.port),
        "SCARNODE_WEB_PORT": str(web),
        "SCARNODE_SPOOL_PATH": str(node.spool),
        "SCARNODE_RESULTS_PATH": str(node.results),
        "SCARNODE_LEDGER_URL": f"sqlite:///{node.ledger_path}",
    }
    with node:
        for path in ("/healthz", "/readyz"):
            wait_until(lambda path=path: answers(web, path), 60, f"200 of {path}")
        with urllib.request.urlopen(f"http://127.0.0.1:{web}/metrics", timeout=10) as answer:
            assert b'scarnode_deliveries{destination="pacs",state="pending"} 0.0' in answer.read()
        assert node.terminate() == 0


def answers(port: int, path: str) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status == 200
    except OSError:
        return False
