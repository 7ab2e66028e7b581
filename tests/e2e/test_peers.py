"""Real destinations side by side, one of them hanging: nobody waits for it, and everybody can see why it waits."""

from __future__ import annotations

import json
import time

import pytest
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, StorageCommitmentPushModel

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.peers import raw_peer
from tests.harness.tools import free_port, wait_until
from tests.harness.web import http, web_server


@pytest.mark.slow
def test_one_that_hangs_delays_no_other_and_an_orthanc_commits_itself(tmp_path, scarnode):
    port = free_port()
    known = {"scarnode": {"AET": "SCARNODE", "Host": "127.0.0.1", "Port": port}}
    with (
        Orthanc(tmp_path / "orthanc", DicomModalities=known) as orthanc,
        raw_peer(lambda connection: time.sleep(120)) as hanging,
        web_server(http(503, Retry_After="3600")) as busy,
        Node(
            tmp_path / "node",
            {
                "a-hanging": {"host": "127.0.0.1", "port": hanging, "ae_title": "HANGING", "timeout_seconds": 60},
                "b-busy": {"url": f"http://127.0.0.1:{busy}"},
                "pacs": {
                    "host": orthanc.host,
                    "port": orthanc.port,
                    "ae_title": orthanc.ae_title,
                    "commitment": "yes",
                },
            },
            node={"port": port, "calling_ae_titles": "STORESCU, SCANNER, HARNESS"},  # the Orthanc is not among them
        ) as node,
    ):
        phantom = make_phantom(51, PhantomSettings(matrix=(192, 192), slices=8, component="magnitude"))
        done = storescu(node.host, node.port, write_dicom(phantom, tmp_path / "study"), node.ae_title)
        assert done.returncode == 0, done.stderr
        orthanc.wait_for(3, 90)
        view = "SELECT * FROM delivery_status ORDER BY destination, kind"

        def committed():
            rows = [row for row in books.query(node.ledger_path, view) if row["destination"] == "pacs"]
            return [row["commitment"] for row in rows] == ["committed"] * 3

        wait_until(committed, 20, "Orthanc's commitment")
        rows = books.query(node.ledger_path, view)
        assert [(row["destination"], row["state"], row["attempts"]) for row in rows] == (
            [("a-hanging", "pending", 0)] * 3 + [("b-busy", "pending", 1)] * 3 + [("pacs", "sent", 0 + 1)] * 3
        )
        [job] = books.jobs(node.ledger_path)
        assert job["state"] == "delivering"
        shown = json.loads(scarnode("jobs", "show", job["id"], "-c", node.config_path, "--json").stdout)
        by_name = {row["destination"]: row for row in shown["deliveries"]}
        assert by_name["pacs"]["commitment"] == "committed"
        assert "HTTP 503" in by_name["b-busy"]["detail"]
        assert by_name["b-busy"]["due_at"] - time.time() > 800
        assert (
            "pacs: storage of 3 objects committed" in scarnode("jobs", "show", job["id"], "-c", node.config_path).stdout
        )

        def accepted(title, *classes):
            caller = AE(title)
            for sop_class in classes:
                caller.add_requested_context(sop_class)
            link = caller.associate(node.host, node.port, ae_title=node.ae_title)
            found = [context.abstract_syntax for context in link.accepted_contexts]
            link.release()
            return found

        # a scanner's images are taken, its request to keep them is not; a destination may report, but not send
        assert accepted("SCANNER", MRImageStorage, StorageCommitmentPushModel) == [MRImageStorage]
        assert accepted("ORTHANC", MRImageStorage) == []
        assert accepted("STRANGER", MRImageStorage) == []
        node.kill()  # an orderly end would wait for the one that hangs
