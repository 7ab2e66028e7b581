"""A real node tells people of a failed job while its mail server hangs; nothing of a patient leaves it that way."""

from __future__ import annotations

import json
import re
import time
from contextlib import ExitStack

import pytest

from tests.harness.ledger import query, wait_for_jobs
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.peers import raw_peer
from tests.harness.senders import send_by_pynetdicom, small_studies
from tests.harness.tools import wait_until
from tests.harness.web import http, web_server
from tests.privacy import PATIENTS

SMALL = {"study": {"quiet_seconds": 1, "hold_flags": "NONE"}, "segment": {"device": "cpu", "threads": 1}}


@pytest.mark.slow
def test_a_failed_job_is_told_though_the_mail_server_hangs(tmp_path):
    studies = small_studies(tmp_path / "studies", f"notify-{tmp_path}", unreadable_every=2)
    good, bad = next(studies), next(studies)
    posted: list[bytes] = []
    with (
        ExitStack() as until_stopped,
        web_server(http(200), requests=posted) as port,
        Orthanc(tmp_path / "orthanc") as orthanc,
    ):
        silent = until_stopped.enter_context(raw_peer(lambda _: time.sleep(300)))
        notify = {
            "mail_server": f"smtp://127.0.0.1:{silent}",
            "mail_from": "node@example.org",
            "mail_to": "admin@example.org",
            "webhook_url": f"http://127.0.0.1:{port}/",
            "webhook_secret": "",
        }
        secret = {"SCARNODE_NOTIFY_WEBHOOK_SECRET": "s3cr3t"}
        with Node(tmp_path / "node", {"pacs": orthanc}, secret, notify=notify, **SMALL) as node:
            assert send_by_pynetdicom(node, bad.paths)
            wait_until(lambda: posted, 60, "a message")
            assert send_by_pynetdicom(node, good.paths)
            [job] = wait_for_jobs(node.ledger_path, good.uid)
            assert job["state"] == "done", "the mail server that hangs holds up nothing"
            [failed] = wait_for_jobs(node.ledger_path, bad.uid)
            until_stopped.close()  # else the stop waits its ten seconds
            assert node.terminate() == 0
        head, _, body = posted[0].partition(b"\r\n\r\n")
        assert b"X-Scarnode-Signature-256: sha256=" in head
        [told] = json.loads(body)["alarms"]
        assert (told["name"], told["state"]) == ("failed_jobs", "standing")
        assert re.search(rf"\b{failed['id']}\b", told["detail"])
        of_patient = query(node.ledger_path, "SELECT patient_name, patient_id, accession_number FROM study")
        known = [re.escape(value) for row in of_patient for value in row.values() if len(value) >= 3]
        assert known
        for request in posted:
            assert not re.search("|".join([*PATIENTS, *known, re.escape(bad.uid)]), request.decode())
        assert "s3cr3t" not in node.log()
