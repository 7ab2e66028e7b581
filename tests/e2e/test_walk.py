"""The main job, for real: dcmtk pushes a study to `scarnode serve`, results arrive in Orthanc and are read back."""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from scarnode import RESEARCH_USE
from scarnode.evaluation.metrics import dice
from scarnode.phantom import Phantom, PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.segment import Tissue
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc

SEG, SR, SC = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.88.34", "1.2.840.10008.5.1.4.1.1.7"


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory, orthanc):
    with Node(tmp_path_factory.mktemp("node"), {"pacs": orthanc}) as running:
        yield running


def study(folder: Path, seed: int, vendor: str = "siemens", **settings) -> tuple[Phantom, list[Path]]:
    phantom = make_phantom(seed, PhantomSettings(matrix=(192, 192), **{"slices": 8, **settings}))
    return phantom, write_dicom(phantom, folder, vendor=vendor)


def push(node: Node, paths: list[Path]) -> None:
    done = storescu(node.host, node.port, paths, node.ae_title)
    assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Walked:
    """A study whose results came back."""

    phantom: Phantom
    paths: list[Path]
    uid: str
    results: list[Dataset]


@pytest.fixture(scope="module")
def walked(node, orthanc, tmp_path_factory) -> Walked:
    phantom, paths = study(tmp_path_factory.mktemp("study"), 21, component="magnitude", scar_fraction=0.15)
    uid = dcmread(paths[0]).StudyInstanceUID
    push(node, paths)
    return Walked(phantom, paths, uid, orthanc.wait_for(3, 60, uid))


def by_class(objects: list[Dataset]) -> dict[str, Dataset]:
    return {dataset.SOPClassUID: dataset for dataset in objects}


def labels_by_image(seg: Dataset) -> dict[str, np.ndarray]:
    """Give the labels of a SEG, read frame by frame through its references, as a viewer reads them."""
    tissue = {}
    for segment in seg.SegmentSequence:
        text = segment.SegmentLabel.lower()
        kind = Tissue.SCAR if "scar" in text else Tissue.BLOOD if "blood" in text else Tissue.MYOCARDIUM
        tissue[segment.SegmentNumber] = kind
    assert sorted(tissue.values()) == [Tissue.BLOOD, Tissue.MYOCARDIUM, Tissue.SCAR]
    labels: dict[str, np.ndarray] = {}
    for frame, groups in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        image = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        number = groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        label = labels.setdefault(image, np.zeros(frame.shape, np.uint8))
        assert not label[frame > 0].any(), "segments overlap"
        label[frame > 0] = tissue[number]
    return labels


def truth_by_image(phantom: Phantom, paths: list[Path]) -> dict[str, np.ndarray]:
    """Give the phantom's labels by SOP Instance UID: base first, as the positions say."""
    headers = [dcmread(path, stop_before_pixels=True) for path in paths]
    base = np.array([-0.634, 0.645, 0.426])
    headers.sort(key=lambda header: -float(base @ np.array(header.ImagePositionPatient, float)))
    return {header.SOPInstanceUID: label for header, label in zip(headers, phantom.label, strict=True)}


def test_a_study_goes_in_and_seg_sr_and_picture_come_back(node, walked):
    phantom, results = walked.phantom, by_class(walked.results)
    assert results.keys() == {SEG, SR, SC}
    labels, truth = labels_by_image(results[SEG]), truth_by_image(phantom, walked.paths)
    assert labels.keys() == truth.keys()
    found = np.stack([labels[image] for image in truth])
    wanted = np.stack(list(truth.values()))
    assert dice(found >= Tissue.MYOCARDIUM, wanted >= Tissue.MYOCARDIUM) > 0.7
    heavy = (wanted >= Tissue.MYOCARDIUM).sum((1, 2)) > 200  # slices with a good piece of myocardium: each must agree
    for one, other in zip(found[heavy], wanted[heavy], strict=True):
        assert dice(one >= Tissue.MYOCARDIUM, other >= Tissue.MYOCARDIUM) > 0.4
    [job] = books.wait_for_jobs(node.ledger_path, walked.uid)
    assert job["state"] == "done"
    voxel = phantom.voxel_volume
    assert job["scar_volume_cm3"] == pytest.approx((found == Tissue.SCAR).sum() * voxel, rel=0.01)
    assert job["myocardium_volume_cm3"] == pytest.approx((found >= Tissue.MYOCARDIUM).sum() * voxel, rel=0.01)
    in_report = {float(item.MeasuredValueSequence[0].NumericValue) for item in numbers(results[SR])}
    for value in (job["scar_volume_cm3"], job["lge_percent"]):
        assert any(abs(value - number) < 0.06 for number in in_report)
    for kind in (SEG, SR, SC):
        assert any(RESEARCH_USE in str(element.value) for element in results[kind].iterall() if element.VR != "SQ")


def numbers(item: Dataset):
    for child in item.get("ContentSequence", []):
        if child.ValueType == "NUM":
            yield child
        yield from numbers(child)


def test_the_same_study_again_makes_no_second_result(node, orthanc, walked):
    before = {dataset.SOPInstanceUID for dataset in walked.results}
    push(node, walked.paths)
    time.sleep(3)
    assert len(books.jobs(node.ledger_path, walked.uid)) == 1
    assert {dataset.SOPInstanceUID for dataset in orthanc.instances(walked.uid)} == before


@pytest.mark.slow
def test_late_slices_make_a_revision_that_names_its_predecessor(node, orthanc, tmp_path):
    _, paths = study(tmp_path, 23, component="magnitude", slices=8)
    uid = dcmread(paths[0]).StudyInstanceUID
    late = paths.pop(0)
    push(node, paths)
    first = by_class(orthanc.wait_for(3, 60, uid))[SR]
    push(node, [late])
    reports = [dataset for dataset in orthanc.wait_for(6, 60, uid) if dataset.SOPClassUID == SR]
    [revision] = [report for report in reports if report.SOPInstanceUID != first.SOPInstanceUID]
    named = revision.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == first.SOPInstanceUID


@pytest.mark.slow
def test_other_vendors_headers(node, orthanc, tmp_path):
    studies = [study(tmp_path / vendor, 24, vendor, component="magnitude")[1] for vendor in ("ge", "philips", "canon")]
    for paths in studies:
        push(node, paths)
    for paths in studies:
        uid = dcmread(paths[0]).StudyInstanceUID
        assert by_class(orthanc.wait_for(3, 60, uid)).keys() == {SEG, SR, SC}


def test_a_real_case_written_as_dicom(node, orthanc, tmp_path, real_data):
    case = np.load(real_data / "emidec" / "Case_P002.npz")
    paths = as_dicom(case["image"], tmp_path, spacing=1.6, distance=10.0)
    uid = dcmread(paths[0]).StudyInstanceUID
    push(node, paths)
    results = by_class(orthanc.wait_for(3, 60, uid))
    labels = labels_by_image(results[SEG])
    found = np.stack([labels[dcmread(path).SOPInstanceUID] for path in paths])
    wanted = case["label"]
    assert dice(found >= Tissue.MYOCARDIUM, wanted >= Tissue.MYOCARDIUM) > 0.6


def as_dicom(image: np.ndarray, folder: Path, spacing: float, distance: float) -> list[Path]:
    """Write a real case (slices base to apex or the other way: unknown) as an MR series of invented spacing."""
    from tests.dicom.scp.builders import instance, write

    study_uid = "2.25.330001"
    row, column = np.array([0.7132, 0.7010, 0.0]), np.array([-0.2987, 0.3039, -0.9047])
    normal = np.cross(row, column)
    paths = []
    for number, pixels in enumerate(image):
        dataset = instance(number + 1, study_uid)
        dataset.SeriesDescription = "LGE PSIR SAX MAG"
        dataset.Manufacturer = "SIEMENS"
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
        dataset.ScanningSequence, dataset.SequenceVariant, dataset.MRAcquisitionType = ["GR", "IR"], "SK", "2D"
        dataset.EchoTime, dataset.RepetitionTime, dataset.InversionTime = "1.5", "700", "300"
        dataset.FrameOfReferenceUID = f"{study_uid}.2"
        dataset.Rows, dataset.Columns = pixels.shape
        dataset.PixelSpacing = [spacing, spacing]
        dataset.SliceThickness = "8"
        dataset.ImageOrientationPatient = [f"{value:.4f}" for value in (*row, *column)]
        dataset.ImagePositionPatient = [f"{value:.3f}" for value in -normal * distance * number]
        dataset.PixelData = pixels.astype(np.uint16).tobytes()
        paths += write(folder, dataset)
    return paths


@pytest.mark.slow
def test_two_slices_are_analysed_and_held_until_a_person_sends_them(node, orthanc, tmp_path):
    _, paths = study(tmp_path, 26, component="magnitude", slices=2)
    uid = dcmread(paths[0]).StudyInstanceUID
    push(node, paths)
    [job] = books.wait_for_jobs(node.ledger_path, uid)
    assert job["state"] == "held"
    assert "FEW_SLICES" in job["flags"]
    assert orthanc.instances(uid) == []
    retry = [sys.executable, "-m", "scarnode.cli", "jobs", "retry", str(job["id"]), "-c", str(node.config_path)]
    subprocess.run(retry, check=True, timeout=60)
    assert by_class(orthanc.wait_for(3, 60, uid)).keys() == {SEG, SR, SC}


@pytest.mark.slow
def test_a_job_that_failed_for_good_tells_the_archive_and_a_later_result_names_that_report(tmp_path, orthanc):
    folder = tmp_path / "node"
    _, paths = study(tmp_path / "study", 28, component="magnitude")
    uid = dcmread(paths[0]).StudyInstanceUID
    with Node(folder, {"pacs": orthanc}, segment={"max_attempts": 1, "time_limit_seconds": 0.01}) as node:
        push(node, paths)
        told = by_class(orthanc.wait_for(2, 60, uid))
        [job] = books.jobs(node.ledger_path, uid)
        assert job["state"] == "failed"
    assert told.keys() == {SR, SC}
    [run] = told[SR].ContentSequence[-1].ContentSequence
    assert any("took longer than 0.01 s" in item.get("TextValue", "") for item in run.ContentSequence)
    with Node(folder, {"pacs": orthanc}) as node:
        retry = [sys.executable, "-m", "scarnode.cli", "jobs", "retry", str(job["id"]), "-c", str(node.config_path)]
        subprocess.run(retry, check=True, timeout=60)
        everything = orthanc.wait_for(5, 60, uid)
        [job] = books.wait_for_jobs(node.ledger_path, uid)
        assert job["state"] == "done"
    [result] = [dataset for dataset in everything if dataset.SOPClassUID == SR and dataset.CompletionFlag == "COMPLETE"]
    named = result.PredecessorDocumentsSequence[0].ReferencedSeriesSequence[0].ReferencedSOPSequence[0]
    assert named.ReferencedSOPInstanceUID == told[SR].SOPInstanceUID


@pytest.mark.slow
def test_a_destination_that_is_down_gets_its_results_later_and_delays_no_other(tmp_path, orthanc):
    with Orthanc(tmp_path / "late", "LATE") as late:
        late.stop()
        backoff = {"first_delay_seconds": 0.5, "max_delay_seconds": 1}
        with Node(tmp_path / "node", {"pacs": orthanc, "late": late}, deliver=backoff) as node:
            _, paths = study(tmp_path / "study", 25, component="magnitude")
            uid = dcmread(paths[0]).StudyInstanceUID
            push(node, paths)
            orthanc.wait_for(3, 60, uid)
            [job] = books.jobs(node.ledger_path, uid)
            assert job["state"] == "delivering"
            late.start()
            late.wait_for(3, 30, uid)
            [job] = books.wait_for_jobs(node.ledger_path, uid)
            assert job["state"] == "done"


@pytest.mark.slow
def test_a_destination_may_be_a_dicomweb_service_and_chooses_its_objects(tmp_path):
    with Orthanc(tmp_path / "web", web=True, RegisteredUsers={"node": "s3cret"}, AuthenticationEnabled=True) as web:
        destination = {"url": web.url, "user": "node", "objects": "sr, seg"}
        secret = {"SCARNODE_DESTINATION_ARCHIVE_PASSWORD": "s3cret"}
        with Node(tmp_path / "node", {"archive": destination}, secret) as node:
            _, paths = study(tmp_path / "study", 27, component="magnitude")
            uid = dcmread(paths[0]).StudyInstanceUID
            push(node, paths)
            [job] = books.wait_for_jobs(node.ledger_path, uid, timeout=120)
            assert job["state"] == "done"
            assert by_class(web.instances(uid)).keys() == {SEG, SR}
            assert "s3cret" not in node.log()
            assert "store instances" not in node.log()


def test_logs_hold_no_patient_data(node):
    log = node.log()
    assert "SCARNODE listens" in log
    assert "PHANTOM" not in log
    assert "SYN-" not in log
