"""What must hold after any number of kills: nothing lost, nothing twice, nothing stuck."""

from __future__ import annotations

import hashlib
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable
from itertools import pairwise

from pydicom import dcmread

from scarnode.ledger.states import CHANGES, FINAL, JobState
from tests.harness.ledger import jobs, query
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.senders import Sent, Study, dataset_bytes

SEG, SR, SC = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7"


def audit(node: Node, orthanc: Orthanc, sent: Iterable[Sent], studies: Iterable[Study]) -> None:
    """Hold everything to account; the node has nothing more to do, and its ledger is read from outside."""
    check_spool(node, sent)
    check_folders(node)
    check_ledger(node)
    for study in studies:
        check_study(node, orthanc, study)


def check_spool(node: Node, sent: Iterable[Sent]) -> None:
    """Hold the spool to what its senders were told: every accepted instance lies there, byte for byte."""
    known = {row["path"] for row in query(node.ledger_path, "SELECT path FROM instance")}
    for one in sent:
        path = node.spool / one.sha256[:2] / f"{one.sop_instance_uid}.{one.sha256}.dcm"
        assert path.exists(), f"answered with Success and lost: {one.sop_instance_uid}"
        content = dataset_bytes(path)
        assert (len(content), hashlib.sha256(content).hexdigest()) == (one.size, one.sha256), path
        assert str(path.relative_to(node.spool)) in known, f"not in the ledger: {path}"


def check_folders(node: Node) -> None:
    """No half file is left anywhere."""
    assert list((node.spool / "partial").iterdir()) == []
    left = [path for path in node.results.rglob("*") if path.is_file() and path.suffix not in (".dcm", ".npz")]
    assert left == [], "left over by a worker that was killed"


def check_ledger(node: Node) -> None:
    """Hold the ledger to SQLite's own check, and its events to the moves that there are."""
    connection = sqlite3.connect(node.ledger_path, timeout=30)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
    finally:
        connection.close()
    history = defaultdict(list)
    for row in query(node.ledger_path, "SELECT * FROM event WHERE job_id IS NOT NULL ORDER BY id"):
        # an event of a delivery has the delivery's state in to_state, and no from_state
        if row["from_state"] or (row["to_state"] == "queued"):
            history[row["job_id"]].append((row["from_state"], row["to_state"]))
    for job in jobs(node.ledger_path):
        assert job["state"] in {state.value for state in FINAL}, (job["id"], job["state"], job["reason"])
        moves = history[job["id"]]
        assert moves[0] == ("", "queued")
        assert moves[-1][1] == job["state"]
        for (_, before), (old, new) in pairwise(moves):
            assert old == before, f"job {job['id']}: a change of state is missing: {moves}"
            assert JobState(new) in CHANGES[JobState(old)], f"job {job['id']}: {moves}"
    unsearched = query(node.ledger_path, "SELECT id FROM study WHERE newest_instance > searched_instance")
    assert unsearched == [], "studies that nobody searched"


def check_study(node: Node, orthanc: Orthanc, study: Study) -> None:
    """Hold a study to its one job, and the archive to the job's one set of results."""
    found = jobs(node.ledger_path, study.uid)
    assert [job["slices"] for job in found] == [len(study.paths)], [
        (job["id"], job["state"], job["slices"], job["reason"]) for job in found
    ]
    [job] = found
    assert job["state"] == ("done" if study.readable else "failed"), job["reason"]
    wanted = Counter([SEG, SR, SC] if study.readable else [SR, SC])
    held = orthanc.instances(study.uid)
    assert Counter(dataset.SOPClassUID for dataset in held) == wanted
    told = query(
        node.ledger_path,
        "SELECT result.*, delivery.state FROM result JOIN delivery ON delivery.result_id = result.id"
        " WHERE result.job_id = ?",
        (job["id"],),
    )
    assert {row["state"] for row in told} == {"sent"}
    uids = {(row["sop_instance_uid"], row["series_instance_uid"]) for row in told}
    assert {(dataset.SOPInstanceUID, dataset.SeriesInstanceUID) for dataset in held} == uids
    for row in told:
        path = node.results / row["path"]
        [ours] = [dataset for dataset in held if dataset.SOPInstanceUID == row["sop_instance_uid"]]
        assert ours.to_json_dict() == dcmread(path).to_json_dict(), f"the archive holds another {row['kind']}"
