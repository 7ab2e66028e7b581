"""Images that come again with a corrected patient or number: over the wire, with a real archive."""

from __future__ import annotations

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.e2e.test_corrections import predecessor
from tests.e2e.test_walk import SC, SEG, SR, by_class
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.tools import wait_until


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with Orthanc(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory, orthanc):
    folder = tmp_path_factory.mktemp("node")
    study = {"quiet_seconds": 0.5, "hold_flags": ""}
    with Node(folder, {"pacs": orthanc}, study=study) as running:
        yield running


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    phantom = make_phantom(3, PhantomSettings(matrix=(96, 96), slices=4, component="magnitude", scar_fraction=0.2))
    return write_dicom(phantom, tmp_path_factory.mktemp("lge"))


def send(node, images, folder, study, only=slice(None), **header):
    """Send the images as a study with a header, always under the same UIDs."""
    folder.mkdir()
    paths = []
    for number, image in enumerate(images):
        ds = dcmread(image)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, f"{study}.1"
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = f"{study}.1.{number + 1}"
        for keyword, value in header.items():
            setattr(ds, keyword, value)
        paths.append(folder / f"{number}.dcm")
        ds.save_as(paths[-1])
    done = storescu(node.host, node.port, paths[only], node.ae_title)
    assert done.returncode == 0, done.stderr


def jobs(node, study):
    return books.jobs(node.ledger_path, study)


def settled(node, study, count):
    wait_until(
        lambda: [job["state"] for job in jobs(node, study)].count("done") >= count, 90, f"{count} jobs of the study"
    )
    return jobs(node, study)


def reports(orthanc, study, count):
    return [ds for ds in orthanc.wait_for(count, 60, study) if ds.SOPClassUID == SR]


def alarms(node):
    return {
        row["name"]: row["detail"]
        for row in books.query(node.ledger_path, "SELECT name, detail FROM alarm WHERE cleared_at IS NULL")
    }


ANN = {"PatientID": "P1", "PatientName": "PHANTOM^ANN", "PatientBirthDate": "19600101", "AccessionNumber": ""}


@pytest.mark.slow
@pytest.mark.parametrize(
    "corrected",
    [
        {"AccessionNumber": "ORDER77", "PatientName": "PHANTOM^CORRECTED"},
        {"PatientID": "NEWID1"},
        {"IssuerOfPatientID": "HOSPITAL"},
    ],
    ids=["number and name", "patient ID", "issuer"],
)
def test_a_corrected_identity_makes_a_revised_result(node, orthanc, images, tmp_path, corrected):
    study = generate_uid(prefix="2.25.")[:40]
    send(node, images, tmp_path / "first", study, **ANN)
    settled(node, study, 1)
    [old] = reports(orthanc, study, 3)
    send(node, images, tmp_path / "again", study, **{**ANN, **corrected})
    first, second = settled(node, study, 2)
    assert second["predecessor_id"] == first["id"]
    assert "IDENTITY_CHANGED" in second["flags"]
    [new] = [ds for ds in reports(orthanc, study, 6) if ds.SOPInstanceUID != old.SOPInstanceUID]
    assert predecessor(new) == old.SOPInstanceUID
    assert {keyword: str(new.get(keyword)) for keyword in corrected} == corrected
    [row] = books.query(node.ledger_path, "SELECT * FROM study WHERE study_instance_uid = ?", (study,))
    columns = {"AccessionNumber": "accession_number", "PatientName": "patient_name", "PatientID": "patient_id"}
    assert all(row[columns[keyword]] == value for keyword, value in corrected.items() if keyword in columns)

    send(node, images, tmp_path / "once more", study, **{**ANN, **corrected})
    again = "the same input came again: its job stands"
    wait_until(lambda: again in whys(node, study), 30, "the search of what came again")
    assert len(jobs(node, study)) == 2
    assert "identity" not in alarms(node)


def whys(node, study):
    rows = books.query(
        node.ledger_path,
        "SELECT why FROM event JOIN study ON study.id = event.study_id WHERE study_instance_uid = ? ORDER BY event.id",
        (study,),
    )
    return [row["why"] for row in rows]


@pytest.mark.slow
def test_half_a_correction_of_the_patient_raises_an_alarm_until_the_rest_comes(node, orthanc, images, tmp_path):
    study = generate_uid(prefix="2.25.")[:40]
    send(node, images, tmp_path / "first", study, **ANN)
    settled(node, study, 1)
    send(node, images, tmp_path / "half", study, slice(0, 2), **{**ANN, "PatientID": "P9"})
    wait_until(lambda: "identity" in alarms(node), 30, "the alarm")
    [job] = jobs(node, study)
    assert f"job {job['id']}" in alarms(node)["identity"]
    send(node, images, tmp_path / "rest", study, slice(2, None), **{**ANN, "PatientID": "P9"})
    settled(node, study, 2)
    wait_until(lambda: "identity" not in alarms(node), 30, "the end of the alarm")
    assert {str(ds.PatientID) for ds in reports(orthanc, study, 6)} == {"P1", "P9"}

    send(node, images, tmp_path / "back", study, **ANN)  # as it was at first: no job can say so
    wait_until(lambda: "identity" in alarms(node), 30, "the alarm")


@pytest.mark.slow
def test_numbers_longer_than_the_standard_allows_reach_the_archive_whole_and_in_one_study(
    node, orthanc, images, tmp_path
):
    study = generate_uid(prefix="2.25.")[:40]
    long = {"AccessionNumber": "2026-HOSP-MR-0001234", "StudyID": "STUDY-2026-HOSPITAL-0001234"}
    header = {**long, "PatientID": "P" * 70}
    send(node, images, tmp_path / "in", study, **{**ANN, **header})
    assert storescu(orthanc.host, orthanc.port, sorted((tmp_path / "in").iterdir()), orthanc.ae_title).returncode == 0
    settled(node, study, 1)
    kept = orthanc.wait_for(len(images) + 3, 60, study)
    for ds in kept:
        assert {keyword: str(ds.get(keyword)) for keyword in header} == header
    assert set(by_class(kept)) >= {SEG, SR, SC}
    found = orthanc.rest("POST", "/tools/find", {"Level": "Study", "Query": {"StudyInstanceUID": study}})
    assert len(found) == 1
