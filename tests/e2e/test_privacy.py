"""What a node leaves on its machine: a log without patient data, and files that nobody else may read."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import DataElement, Dataset, dcmread
from pydicom.uid import ImplicitVRLittleEndian
from pynetdicom import AE, AllStoragePresentationContexts, evt

from scarnode.dicom.scu import RemoteAE, send
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.node import ROOT, Node
from tests.harness.tools import wait_until

SECRETS = {
    "PatientName": "Loxley^Robin",
    "PatientID": "NHS-778899",
    "PatientBirthDate": "19410517",
    "AccessionNumber": "ACC556677",
    "OtherPatientNames": "Hood^Robin",
    "PatientAddress": "Sherwood Forest",
    "PatientComments": "allergic against arrows",
    "ReferringPhysicianName": "Tuck^Friar",
}


def quoting(event: evt.Event) -> Dataset:
    """Refuse an object as some archives do: with the patient's name in the comment."""
    answer = Dataset()
    answer.Status = 0xA700
    answer.ErrorComment = f"{SECRETS['PatientName']} {SECRETS['PatientID']} born {SECRETS['PatientBirthDate']}"[:64]
    return answer


@pytest.fixture(scope="module")
def talkative():
    """A destination that quotes the patient."""
    pacs = AE("PACS")
    pacs.supported_contexts = AllStoragePresentationContexts
    server = pacs.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, quoting)])
    host, port = server.socket.getsockname()
    yield {"host": host, "port": port, "ae_title": "PACS"}
    server.shutdown()


def confidential(folder: Path, name: str, **broken: str) -> list[Path]:
    """Write a small LGE study of a patient with many secrets; `broken` elements hold text where a number should be."""
    phantom = make_phantom(5, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude"))
    paths = write_dicom(phantom, folder / name)
    for path in paths:
        image = dcmread(path)
        for keyword, value in SECRETS.items():
            setattr(image, keyword, value)
        image.StudyInstanceUID += f".{len(name)}"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{image.SOPInstanceUID[:50]}.{len(name)}"
        for keyword, value in broken.items():
            image[keyword] = DataElement(image[keyword].tag, "LO", value)
        image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian  # the file does not say that it is LO
        image.save_as(path, enforce_file_format=True)
    return paths


@pytest.fixture(scope="module")
def node(tmp_path_factory, talkative):
    folder = tmp_path_factory.mktemp("node")
    patience = {"first_delay_seconds": 0.2, "max_attempts": 2}
    with Node(
        folder,
        {"pacs": talkative},
        deliver=patience,
        log={"level": "DEBUG"},
        segment={"threads": 1},
        study={"quiet_seconds": 1, "hold_flags": ""},
    ) as running:
        good = confidential(folder / "studies", "good")
        odd = confidential(folder / "studies", "odd one", PixelSpacing="Loxley^Robin", ImagePositionPatient="19410517")
        to_node = RemoteAE(running.host, running.port, running.ae_title, timeout=20)
        assert all(outcome.ok for outcome in send([*good, *odd], to_node, "SCANNER"))
        searched = "SELECT DISTINCT study_id FROM series"
        wait_until(lambda: len(books.query(running.ledger_path, searched)) == 2, 60, "the search of both studies")
        books.wait_for_jobs(running.ledger_path, timeout=120)
        refused = "SELECT detail FROM delivery_status WHERE state = 'failed'"
        rows = wait_until(lambda: books.query(running.ledger_path, refused), 60, "the refusal")
        assert "0xA700" in rows[0]["detail"]
        yield running


def test_the_log_holds_no_word_of_the_patient(node):
    log = node.log()
    assert "objects sent" in log
    for value in SECRETS.values():
        for word in value.replace("^", " ").split():
            assert word not in log, [line for line in log.splitlines() if word in line]


def test_nobody_else_may_read_what_the_node_writes_though_its_umask_is_open(node):
    kept = [node.ledger_path, *node.folder.glob("ledger.sqlite-*"), node.spool, node.results]
    kept += [path for folder in (node.spool, node.results) for path in folder.rglob("*")]
    assert {path.name for path in kept} >= {"ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm", "lock", "sr.dcm"}
    for path in kept:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o700 if path.is_dir() else 0o600), f"{path.relative_to(node.folder)}: {mode:o}"


@pytest.mark.slow
def test_a_ledger_that_the_command_line_makes_is_private_too(tmp_path):
    node = Node(tmp_path)
    config = node.write_config()
    subprocess.run(
        [sys.executable, "-m", "scarnode.cli", "jobs", "list", "-c", config],
        cwd=ROOT,
        umask=0o022,
        check=True,
        timeout=60,
    )
    assert stat.S_IMODE(node.ledger_path.stat().st_mode) == 0o600
