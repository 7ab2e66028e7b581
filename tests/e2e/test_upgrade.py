"""A node starts on what the first version left and goes on with its work."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from pydicom import dcmread

from tests.harness import ledger as books
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.peers import make_object
from tests.harness.tools import wait_until
from tests.ledger.test_upgrade import restore

SPOOL = Path(__file__).parent.parent / "ledger" / "fixtures" / "spool_0001"


@pytest.mark.slow
def test_a_queued_job_is_analysed_and_a_pending_delivery_sent(tmp_path):
    with Orthanc(tmp_path / "orthanc") as orthanc:
        node = Node(tmp_path / "node", {"pacs": orthanc}, study={"hold_flags": ""}, segment={"threads": 1})
        node.write_config()
        restore(node.ledger_path)
        shutil.copytree(SPOOL, node.spool, dirs_exist_ok=True)
        made = "SELECT path, result.sop_class_uid, sop_instance_uid FROM result JOIN job ON job.id = job_id"
        pending = books.query(node.ledger_path, f"{made} WHERE state = 'delivering'")
        for row in pending:  # stand-ins: the pages of the first version would be 3 MB
            path = node.results / row["path"]
            path.parent.mkdir(parents=True, exist_ok=True)
            stand_in = dcmread(make_object(path))
            stand_in.SOPClassUID = stand_in.file_meta.MediaStorageSOPClassUID = row["sop_class_uid"]
            stand_in.SOPInstanceUID = stand_in.file_meta.MediaStorageSOPInstanceUID = row["sop_instance_uid"]
            stand_in.save_as(path, enforce_file_format=True)
        with node:
            wanted = {"UP-1": "done", "UP-2": "failed", "UP-3": "held", "UP-4": "done", "UP-5": "done"}
            wait_until(lambda: states(node) == wanted, 120, "the end of all jobs")
            orthanc.wait_for(3 + 3)  # the pending results and the new ones; the failed study's images were not kept


def states(node: Node) -> dict[str, str]:
    found = books.query(node.ledger_path, "SELECT patient_id, state FROM job_summary")
    return {row["patient_id"]: row["state"] for row in found}
