"""A correction, for real: the SEG is fetched from Orthanc, changed and pushed to the node; a revised report comes."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from scarnode.pipeline.segment import Tissue
from tests.e2e.test_walk import SC, SEG, SR, by_class, numbers, study
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.tools import wait_until
from tests.harness.viewer import READER, edited, save


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory, orthanc):
    with Node(tmp_path_factory.mktemp("node"), {"pacs": orthanc}, study={"quiet_seconds": 0.5}) as running:
        yield running


def push(node: Node, paths: list[Path]) -> None:
    done = storescu(node.host, node.port, paths, node.ae_title, options=["-R"])  # its usual proposal has no SEG
    assert done.returncode == 0, done.stderr


def heal(count: int):
    """Call so many scar voxels normal myocardium."""

    def change(labels: dict[str, np.ndarray]) -> None:
        left = count
        for label in labels.values():
            places = np.argwhere(label == Tissue.SCAR)[:left]
            label[tuple(places.T)] = Tissue.MYOCARDIUM
            left -= len(places)
        assert left == 0

    return change


def measured(report: Dataset) -> list[float]:
    return [float(item.MeasuredValueSequence[0].NumericValue) for item in numbers(report)]


def predecessor(report: Dataset) -> str:
    return (
        report.PredecessorDocumentsSequence[0]
        .ReferencedSeriesSequence[0]
        .ReferencedSOPSequence[0]["ReferencedSOPInstanceUID"]
        .value
    )


def evidence(report: Dataset) -> set[str]:
    return {
        item.ReferencedSOPInstanceUID
        for one in report.CurrentRequestedProcedureEvidenceSequence
        for series in one.ReferencedSeriesSequence
        for item in series.ReferencedSOPSequence
    }


def verdicts(node: Node, uid: str) -> dict[str, str]:
    rows = books.query(
        node.ledger_path, "SELECT * FROM series_verdict WHERE study_instance_uid = ? AND reason != ''", (uid,)
    )
    return {row["series_instance_uid"]: row["reason"] for row in rows}


@pytest.mark.slow
def test_a_correction_goes_in_and_a_revised_report_comes_back(node, orthanc, tmp_path, scarnode):
    phantom, paths = study(tmp_path / "study", 21, component="magnitude", scar_fraction=0.15, slices=5)
    uid = dcmread(paths[0]).StudyInstanceUID
    push(node, paths)
    ours = by_class(orthanc.wait_for(3, 60, uid))
    [job] = books.wait_for_jobs(node.ledger_path, uid)

    # the node's own results come back, as an archive's routing rule sends them: nothing is made of them
    push(node, [save(dataset, tmp_path / f"own-{n}.dcm") for n, dataset in enumerate(ours.values())])
    wait_until(lambda: list(verdicts(node, uid).values()).count("OWN_RESULT") == 3, 20, "own results recognised")

    # a viewer saves it as a new object, but nothing was changed: no result
    push(node, [save(edited(ours[SEG], lambda labels: None), tmp_path / "unchanged.dcm")])
    _, unchanged = books.wait_for_jobs(node.ledger_path, uid, 2)
    assert unchanged["state"] == "superseded"
    assert "nothing was corrected" in unchanged["reason"]

    seg = edited(ours[SEG], heal(40), drop_empty=True)
    push(node, [save(seg, tmp_path / "edited.dcm")])
    objects = orthanc.wait_for(5, 60, uid)
    known = {dataset.SOPInstanceUID for dataset in ours.values()}
    revised = by_class([dataset for dataset in objects if dataset.SOPInstanceUID not in known])
    assert revised.keys() == {SR, SC}
    report = revised[SR]
    *_, correction = books.wait_for_jobs(node.ledger_path, uid, 3)
    healed = 40 * phantom.voxel_volume
    scar, wall = job["scar_volume_cm3"] - healed, job["myocardium_volume_cm3"]
    assert correction["scar_volume_cm3"] == pytest.approx(scar, abs=0.01)
    assert correction["myocardium_volume_cm3"] == pytest.approx(wall, abs=0.01)
    assert correction["lge_percent"] == pytest.approx(100 * scar / wall, abs=0.05)
    for value in (correction["scar_volume_cm3"], correction["lge_percent"]):
        assert any(abs(value - number) < 1e-3 for number in measured(report))
    assert predecessor(report) == ours[SR].SOPInstanceUID
    assert seg.SOPInstanceUID in evidence(report)
    assert ours[SEG].SOPInstanceUID not in evidence(report)
    text = str(report)
    assert "Manual Processing" in text
    assert READER in text
    assert "corrected" in report.SeriesDescription

    # a second one revises the first
    again = edited(ours[SEG], heal(60))
    push(node, [save(again, tmp_path / "again.dcm")])
    reports = [dataset for dataset in orthanc.wait_for(7, 60, uid) if dataset.SOPClassUID == SR]
    [second] = [one for one in reports if one.SOPInstanceUID not in (report.SOPInstanceUID, ours[SR].SOPInstanceUID)]
    assert predecessor(second) == report.SOPInstanceUID
    jobs = books.wait_for_jobs(node.ledger_path, uid, 4)
    assert [(one["origin"], one["state"]) for one in jobs] == [
        ("network", "done"),
        ("correction", "superseded"),
        ("correction", "done"),
        ("correction", "done"),
    ]

    # all that was made comes back once more: still nothing new
    back = [*revised.values(), second, again]
    push(node, [save(dataset, tmp_path / f"back-{n}.dcm") for n, dataset in enumerate(back)])
    time.sleep(3)
    assert len(orthanc.instances(uid)) == 7

    shown = json.loads(scarnode("jobs", "list", "--json", "-c", node.config_path).stdout)
    assert [row["origin"] for row in shown] == ["correction", "correction", "correction", "network"]
    scarnode("evaluate", "--corrections", node.results / "corrections", "-o", tmp_path / "out")
    total = json.loads((tmp_path / "out" / "corrections.json").read_text())["all"]
    assert total["stacks"] == 1  # the last correction of a stack
    assert total["scar"]["bias"]["value"] == pytest.approx(60 * phantom.voxel_volume, rel=0.01)
    assert "Rita" not in node.log()
