"""Several machines on one ledger, for real: processes, broker and database die in the middle; nothing is lost."""

from __future__ import annotations

import time
from collections import Counter

import pytest

from scarnode.ledger.nodes import LEASE
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.postgres import Postgres
from tests.harness.redis import Redis
from tests.harness.senders import send_by_dcmtk, small_studies
from tests.harness.tools import wait_until

FINAL = ("done", "failed", "held", "superseded")


class Cluster:
    """Nodes with one ledger, one spool and one results folder; each has a folder of its own for the rest."""

    def __init__(self, folder, database, broker, pacs):
        self.database, self.name = database, database.make()
        self.folder, self._pacs = folder, pacs
        self._shared = {
            "ledger": {"url": database.url(self.name)},
            "spool": {"path": folder / "spool"},
            "results": {"path": folder / "results"},
            "cluster": {"broker": broker.url if broker else ""},
            "study": {"quiet_seconds": 1, "hold_flags": "NONE"},
            "segment": {"device": "cpu", "threads": 1},
            "deliver": {"first_delay_seconds": 0.5, "max_delay_seconds": 2},
        }

    def node(self, name, *roles):
        return Node(self.folder / name, {"pacs": self._pacs}, roles=roles, **self._shared)

    def query(self, statement):
        return self.database.query(self.name, statement)

    def jobs(self):
        return self.query(
            "SELECT job.id, job.state, job.owner, job.reason, study.study_instance_uid AS study FROM job"
            " JOIN study ON study.id = job.study_id ORDER BY job.id"
        )

    def audit(self, sent, pacs):
        """Find everything that was answered with Success in the ledger, and every result once at the destination."""
        jobs = self.jobs()
        assert Counter(job["study"] for job in jobs) == Counter(sent), "one job of each study"
        assert {job["state"] for job in jobs} == {"done"}
        known = {row["path"] for row in self.query("SELECT path FROM instance")}
        assert {str(p.relative_to(self.folder / "spool")) for p in (self.folder / "spool").glob("??/*.dcm")} == known
        ends = Counter(row["job_id"] for row in self.query("SELECT job_id FROM event WHERE to_state = 'done'"))
        assert set(ends.values()) == {1}, "every job is done once"
        deliveries = self.query("SELECT * FROM delivery JOIN result ON result.id = delivery.result_id")
        assert {(row["state"], row["attempts"]) for row in deliveries} == {("sent", 1)}
        uids = [str(dataset.SOPInstanceUID) for dataset in pacs.instances()]
        assert sorted(uids) == sorted(row["sop_instance_uid"] for row in deliveries), "every object is there, once"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_whatever_dies_nothing_is_lost_and_nothing_comes_twice(tmp_path):
    studies = small_studies(tmp_path / "studies", "cluster")
    sent = []

    def push(receiver):
        study = next(studies)
        assert send_by_dcmtk(receiver, study.paths) == list(study.paths), "answered with Success"
        sent.append(study.uid)
        return study.uid

    with Postgres(durable=True) as database, Redis(tmp_path / "redis") as broker, Orthanc(tmp_path / "pacs") as pacs:
        cluster = Cluster(tmp_path, database, broker, pacs)
        dying, receiver = cluster.node("receive1", "receive"), cluster.node("receive2", "receive")
        workers = [cluster.node("work1", "work"), cluster.node("work2", "work")]
        deliver = cluster.node("deliver", "deliver")
        nodes = [dying, *workers, receiver, deliver]
        try:
            dying.start()  # makes the ledger
            for node in nodes[1:]:
                node.launch()
            for node in nodes[1:]:
                wait_until(node._up, 60, "a node")

            # a worker's machine dies while it runs a job
            first = [push(dying), push(dying)]
            [running] = wait_until(lambda: [j for j in cluster.jobs() if j["state"] == "running"][:1], 60, "a job")
            struck = next(node for node in workers if running["owner"].startswith(node.member + ":"))
            struck.kill()

            # the broker dies
            broker.kill()
            push(receiver)

            # the database dies while images come: they are taken, and a receiver dies with what it could not register
            wait_until(lambda: cluster.query("SELECT count(*) FROM study")[0]["count"] == 3, 30, "the third study")
            database.stop("immediate")
            push(receiver)
            orphaned = push(dying)
            dying.kill()
            time.sleep(3)
            database.start()
            pushed_after = push(receiver)

            def ended():
                jobs = cluster.jobs()
                return len(jobs) >= len(sent) and all(job["state"] in FINAL for job in jobs)

            wait_until(ended, 4 * LEASE, f"the end of all jobs: {sent}", poll=0.5)
            assert {*first, orphaned, pushed_after} <= set(sent)
            cluster.audit(sent, pacs)

            events = [row["why"] for row in cluster.query("SELECT why FROM event WHERE from_state = 'running'")]
            assert any("crashed" in why for why in events), "the job of the dead worker was taken over"
            alarms = {row["name"] for row in cluster.query("SELECT name FROM alarm WHERE cleared_at IS NULL")}
            assert "lost_node" in alarms
            assert any(name.startswith("broker_") for name in alarms)
            broker.start()
            struck.start()
            dying.start()
            gone = "SELECT name FROM alarm WHERE cleared_at IS NULL"
            wait_until(lambda: not cluster.query(gone), 30, f"the end of all alarms: {cluster.query(gone)}")
            for node in nodes:
                assert node.terminate() == 0
            assert cluster.query("SELECT name FROM member WHERE lost_at IS NULL") == []
        finally:
            for node in nodes:
                node.kill()
