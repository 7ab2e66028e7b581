"""SIGHUP: a real node reads config.ini again while images arrive; nothing is lost, nothing restarts."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import urllib.request
from urllib.error import HTTPError

import pytest

from scarnode.dicom.scu import RemoteAE, echo
from scarnode.dicom.tls import Protection
from tests.harness.certificates import Authority
from tests.harness.ledger import query
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.senders import Scanner, send_by_pynetdicom, small_studies
from tests.harness.strace import workers
from tests.harness.tools import free_port, wait_until

SMALL = {"study": {"quiet_seconds": 1, "hold_flags": "NONE"}, "segment": {"device": "cpu", "threads": 1}}


def reload(running: Node, wanted: str = "config.ini taken over", **sections) -> None:
    """Change config.ini, send SIGHUP, and wait until the log says what came of it."""
    for section, values in sections.items():
        running._settings.setdefault(section.replace("__", ":"), {}).update(values)
    running.write_config()
    before = running.log().count(wanted)
    os.kill(running.pid, signal.SIGHUP)
    wait_until(lambda: running.log().count(wanted) > before, 30, f"'{wanted}' in the log")


def alarms(node: Node) -> dict[str, str]:
    rows = query(node.ledger_path, "SELECT name, detail FROM alarm WHERE cleared_at IS NULL")
    return {row["name"]: row["detail"] for row in rows}


def get(port: int, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except HTTPError as error:
        return error.code, error.read().decode()


def may_call(node: Node, title: str) -> bool:
    return echo(RemoteAE(node.host, node.port, node.ae_title, timeout=5), title).ok


@pytest.mark.slow
def test_settings_change_while_images_arrive(tmp_path):
    web = free_port()
    studies = small_studies(tmp_path / "studies", f"reload-{tmp_path}")
    with (
        Orthanc(tmp_path / "orthanc") as orthanc,
        Node(tmp_path / "node", web={"port": web}, **SMALL) as node,
    ):
        [worker] = wait_until(lambda: workers(node.pid), 60, "a worker")
        wait_until(lambda: get(web, "/readyz") == (200, "ok\n"), 60, "a node that is ready")
        pid = node.pid
        scanner = Scanner(node, studies, send=send_by_pynetdicom)
        scanner.start()
        try:
            wait_until(lambda: scanner.finished, 30, "the first study")
            pacs = {"host": orthanc.host, "port": orthanc.port, "ae_title": orthanc.ae_title}
            reload(node, destination__pacs=pacs)
            reload(node, node={"calling_ae_titles": "SCANNER2\nHARNESS"})
            assert not may_call(node, "STRANGER")
            assert may_call(node, "HARNESS")
            reload(node, node={"calling_ae_titles": ""}, log={"level": "WARNING"})
        finally:
            scanner.end(60)
        assert may_call(node, "STRANGER")

        # a file with faults changes nothing
        reload(
            node,
            "not taken over",
            study={"quiet_seconds": "soon"},
            node={"calling_ae_titles": "NOBODY", "max_associations": "0"},
        )
        log = node.log()
        assert "[study] quiet_seconds = 'soon'" in log
        assert "[node] max_associations = '0'" in log
        assert may_call(node, "STRANGER")
        wait_until(lambda: "the former settings hold" in alarms(node).get("config", ""), 10, "the alarm on the faults")

        # what needs a restart is kept, with its section, and said
        reload(
            node,
            "needs a restart: [node] port, [segment] workers",
            study={"quiet_seconds": 1},
            node={"calling_ae_titles": "NOBODY", "max_associations": "25", "port": free_port()},
            segment={"workers": 2},
            log={"level": "INFO"},
        )
        assert may_call(node, "STRANGER")
        kept = "a restart is needed: [node] port, [segment] workers"
        wait_until(lambda: alarms(node).get("config") == kept, 10, "the alarm on what needs a restart")
        reload(node, node={"calling_ae_titles": "", "port": node.port}, segment={"workers": 1})
        wait_until(lambda: "config" not in alarms(node), 10, "the end of the alarm")

        assert (node.pid, node.running) == (pid, True)
        assert workers(node.pid) == [worker], "what changed does not concern the worker"
        last = next(studies)
        assert len(send_by_pynetdicom(node, last.paths)) == len(last.paths)
        done = "SELECT count(*) AS n FROM job WHERE state = 'done'"
        wanted = len(scanner.finished) + 1
        wait_until(lambda: query(node.ledger_path, done)[0]["n"] == wanted, 120, "every study's job")
        [row] = query(
            node.ledger_path,
            "SELECT count(*) AS n FROM delivery JOIN job ON job.id = job_id JOIN study ON study.id = study_id"
            f" WHERE study_instance_uid = '{last.uid}' AND delivery.state = 'sent'",
        )
        assert row["n"] == 3, "the destination that was added got the results"
        audit_of_received(node, scanner)


def audit_of_received(node: Node, scanner: Scanner) -> None:
    """Every image that was answered with Success lies in the spool, and stands in the ledger."""
    known = {row["digest"] for row in query(node.ledger_path, "SELECT digest FROM instance")}
    assert {sent.sha256 for sent in scanner.sent} <= known


def test_a_certificate_that_was_renewed_is_shown_after_a_reload(tmp_path):
    authority, other = Authority(tmp_path / "ca"), Authority(tmp_path / "other", "Another CA")
    first, port = authority.issue("node"), free_port()
    files = {"certificate": first.certificate, "private_key": first.private_key}
    tls = {**files, "ca_file": authority.ca_file, "mutual": "no", "port": port}
    with Node(tmp_path / "node", tls=tls, **SMALL) as node:

        def shown() -> bytes:
            context = ssl._create_unverified_context()
            with context.wrap_socket(socket.create_connection(("127.0.0.1", port), 5)) as link:
                return ssl.DER_cert_to_PEM_cert(link.getpeercert(binary_form=True)).encode()

        assert shown().strip() in first.certificate.read_bytes()
        renewed = other.issue("renewed")
        first.certificate.write_bytes(renewed.certificate.read_bytes())
        first.private_key.write_bytes(renewed.private_key.read_bytes())
        reload(node)
        assert shown().strip() in renewed.certificate.read_bytes()
        by_tls = RemoteAE("127.0.0.1", port, node.ae_title, timeout=5, tls=Protection(None, other.ca_file))
        assert echo(by_tls, "X").ok
        first.private_key.write_text("half a file")
        reload(node, "not taken over")
        assert echo(by_tls, "X").ok, "the former one goes on"
