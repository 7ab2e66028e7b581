"""SIGTERM, as systemd sends it: whatever hangs at that moment, the node ends in time, with code 0; nothing is lost."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from tests.harness.audit import audit
from tests.harness.dcmtk import storescu
from tests.harness.ledger import jobs
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.peers import Relay, raw_peer
from tests.harness.senders import Scanner, small_studies
from tests.harness.strace import workers
from tests.harness.tools import wait_until

UNIT_SECONDS = 60
"""TimeoutStopSec of systemd/scarnode.service."""

SMALL = {"study": {"quiet_seconds": 1, "hold_flags": "NONE"}, "segment": {"device": "cpu", "threads": 1}}


@pytest.mark.slow
def test_sigterm_while_sender_destination_and_worker_hang(tmp_path):
    studies = small_studies(tmp_path / "studies", f"stop-{tmp_path}")
    delivered, analysed = next(studies), next(studies)
    sent = []
    with raw_peer(lambda _line: time.sleep(300)) as silent:  # takes the connection, never answers
        hanging = {"host": "127.0.0.1", "port": silent, "ae_title": "SILENT", "timeout_seconds": 600}
        with Node(tmp_path / "node", {"pacs": hanging}, **SMALL) as node:
            for study, wanted in ((delivered, "delivering"), (analysed, "running")):
                scanner = Scanner(node, iter([study]))
                scanner.start()
                scanner.end(60)
                sent += scanner.sent
                wait_until(lambda uid=study.uid, to=wanted: states(node, uid) == [to], 60, wanted, poll=0.01)
            [worker] = workers(node.pid)
            os.kill(worker, signal.SIGSTOP)
            with Relay(node.port, after=15_000, then="freeze") as port:  # in the middle of the second image
                frozen = ("127.0.0.1", port, next(studies).paths, node.ae_title)
                sender = threading.Thread(target=storescu, args=frozen, kwargs={"options": ["-td", "60"]}, daemon=True)
                sender.start()
                time.sleep(0.5)
                start = time.monotonic()
                assert node.terminate(UNIT_SECONDS) == 0
                assert time.monotonic() - start < UNIT_SECONDS / 2
            sender.join(20)
            assert states(node, analysed.uid) == ["queued"]
            [job] = jobs(node.ledger_path, analysed.uid)
            assert (job["attempts"], job["interruptions"]) == (0, 0), "being stopped is no fault of the job"
    with Orthanc(tmp_path / "orthanc") as orthanc, Node(tmp_path / "node", {"pacs": orthanc}, **SMALL) as node:
        for study in (delivered, analysed):
            wait_until(lambda uid=study.uid: states(node, uid) == ["done"], 60, "the results")
        audit(node, orthanc, sent, [delivered, analysed])


def test_sigterm_with_nothing_to_do_needs_no_deadline(tmp_path):
    with Node(tmp_path / "node", **SMALL) as node:
        assert node.terminate() == 0
        assert "stopped" in node.log()
        assert "taken up at the next start" not in node.log()


@pytest.mark.soak
def test_sigterm_at_any_moment_after_the_start(tmp_path):
    """Also while the ledger is made, the weights are read or the worker starts."""
    for number in range(12):
        node = Node(tmp_path / f"{number}", **SMALL)
        process = node.launch()
        time.sleep(number * 0.4)
        process.terminate()
        assert process.wait(UNIT_SECONDS) in (0, -signal.SIGTERM), node.log()  # before Python runs our first line
        node.kill()


def states(node: Node, uid: str) -> list[str]:
    return [job["state"] for job in jobs(node.ledger_path, uid)]
