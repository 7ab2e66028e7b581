"""Which process does what: roles alone need a ledger that processes can share."""

from __future__ import annotations

import socket

import pytest
from sqlalchemy import text

from scarnode.config import LedgerSection, NodeSection, Settings, SpoolSection, TlsSection
from scarnode.doctor.machine import check_ledger
from scarnode.ledger.ledger import Ledger
from scarnode.node.node import Node
from scarnode.node.roles import ROLES, Receiver, Runtime
from scarnode.node.worker import Worker
from scarnode.util.errors import ConfigError, LedgerError, ScarnodeError, SpoolError
from tests.harness.certificates import Authority
from tests.harness.postgres import Postgres
from tests.harness.tools import free_port
from tests.node.test_reload import settings


@pytest.mark.parametrize("role", ["receive", "work", "deliver"])
def test_a_role_alone_on_sqlite_is_refused_before_anything_is_opened(tmp_path, role):
    with pytest.raises(ConfigError, match="PostgreSQL"):
        Node(settings(tmp_path / "none"), [role])
    assert not (tmp_path / "none").exists()


def test_the_command_line_knows_the_roles(tmp_path, scarnode):
    (tmp_path / "c.ini").write_text("[ledger]\nurl = sqlite:///l.sqlite\n")
    assert "PostgreSQL" in scarnode("serve", "-c", tmp_path / "c.ini", "--role", "work", code=2).stderr
    assert "receive" in scarnode("serve", "-c", tmp_path / "c.ini", "--role", "all", code=2).stderr


def test_no_port_is_open_where_the_other_one_is_taken(tmp_path):
    """A node that ends at once must not have answered on its plain port before."""
    mine = Authority(tmp_path / "ca").issue("node")
    port = free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        other = taken.getsockname()[1]
        tls = TlsSection(certificate=mine.certificate, private_key=mine.private_key, mutual=False, port=other)
        runtime = Runtime(settings(tmp_path, node=NodeSection(host="127.0.0.1", port=port), tls=tls), ROLES)
        receiving = Receiver(runtime)
        with pytest.raises(ScarnodeError, match="in use"):
            receiving.open()
    runtime.ledger.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 5)


@pytest.mark.slow
def test_each_role_has_its_tasks_and_all_share_one_spool(tmp_path, monkeypatch):
    monkeypatch.setattr(Worker, "start", lambda self: self._stopped.wait() and None)
    with Postgres() as server:
        url = server.url(server.make())
        shared = settings(tmp_path, ledger=LedgerSection(url=url))
        roles = {"receive": "adopt", "work": "work-0", "deliver": "search"}
        nodes = [Node(shared, [role]) for role in roles]
        everything = Node(shared)
        for node, task in zip(nodes, roles.values(), strict=True):
            others = set(roles.values()) - {task}
            assert task in node._tasks()
            assert not others & node._tasks().keys()
            assert node.facts().roles == node.runtime.roles
        assert set(roles.values()) <= everything._tasks().keys()
        assert len({node.runtime.owner for node in (*nodes, everything)}) == 4
        assert [row.roles for row in everything.ledger.nodes.members()].count("receive,work,deliver") == 1
        with pytest.raises(SpoolError, match="another scarnode"):
            Node(settings(tmp_path, ledger=LedgerSection(url=f"sqlite:///{tmp_path / 'other.sqlite'}")))
        for node in (*nodes, everything):
            node.stop()
        ledger = Ledger(url, "test")
        assert ledger.nodes.members() == []
        ledger.close()


@pytest.mark.slow
def test_what_the_doctor_says_of_a_ledger_on_a_server(tmp_path):
    with Postgres() as server:
        of = Settings(ledger=LedgerSection(url=server.url(server.make())), spool=SpoolSection(path=tmp_path))
        assert "is made in" in check_ledger(of).detail
        ledger = Ledger(of.ledger.url, "test")
        assert check_ledger(of).state == "ok"
        for version, state in (("0003", "warning"), ("9999", "fail")):
            with ledger.store.engine.begin() as connection:
                connection.execute(text(f"UPDATE alembic_version SET version_num = '{version}'"))
            assert check_ledger(of).state == state
        ledger.close()
        server.stop()
        assert check_ledger(of).state == "fail"
        with pytest.raises(LedgerError, match="Check that the database"):
            Ledger(of.ledger.url, "test")
