"""Studies that kill their worker, sent to a real node: they end as failed with a reason, all others are analysed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import Node
from tests.harness.tools import wait_until
from tests.node.test_poison import POISON

REASONS = {
    "crash": "SIGSEGV: a crash in native code",
    "take_all_memory": "it needs more memory than 1 GB",
    "loop": "took longer than",
    "hang_in_c": "took longer than",
    "stop": "took longer than",
    "take_all_files": "Too many open files",
    "write_garbage": "answered nonsense",
    "write_half_an_answer": "took longer than",
    "hang_up": "ended while analysing",
    "leave": "exit code 3",
    "be_killed": "SIGKILL",
}


def studies(folder: Path, poisons: list[str]) -> dict[str, list[Path]]:
    """Write one small LGE study for each poison ("" is a good one); give the files by Study Instance UID."""
    phantom = make_phantom(5, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude"))
    written: dict[str, list[Path]] = {}
    for number, poison in enumerate(poisons):
        paths = write_dicom(phantom, folder / str(number))
        study, series = generate_uid(), generate_uid()
        for path in paths:
            image = dcmread(path)
            image.StudyInstanceUID, image.SeriesInstanceUID, image.SOPInstanceUID = study, series, generate_uid()
            image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
            if poison:
                image.SeriesDescription = f"{image.SeriesDescription} poison:{poison}"
            image.save_as(path, enforce_file_format=True)
        written[study] = paths
    return written


def poisoned_path() -> str:
    return os.pathsep.join(filter(None, [str(POISON), os.environ.get("PYTHONPATH")]))


def run(folder: Path, poisons: list[str], again: bool, **segment) -> None:
    order = [word for number, poison in enumerate(poisons) for word in ([poison, ""] if number % 4 == 0 else [poison])]
    sent = studies(folder / "studies", order)
    environment = {"PYTHONPATH": poisoned_path()}
    settings = {"workers": 2, "threads": 1, "memory_limit_gigabytes": 1, **segment}
    with Node(folder / "node", {}, environment, segment=settings, study={"hold_flags": ""}) as node:
        process = node.pid
        done = storescu(node.host, node.port, [path for paths in sent.values() for path in paths], node.ae_title)
        assert done.returncode == 0, done.stderr
        jobs = books.wait_for_jobs(node.ledger_path, count=len(order), timeout=1200)
        ends = {job["study_instance_uid"]: job for job in jobs}
        for poison, study in zip(order, sent, strict=True):
            job = ends[study]
            if not poison:
                assert job["state"] == "done", job["reason"]
                continue
            assert job["state"] == "failed", poison
            assert REASONS[poison] in job["reason"]
            assert f"(attempt {job['attempts']} of {segment['max_attempts']})" in job["reason"]
        assert node.echo()
        assert node.pid == process
        assert not books.query(node.ledger_path, "SELECT id FROM event WHERE why LIKE 'the node ended%'")
        if not again:
            return
        node.restart()  # the poison is not taken up again
        assert {job["state"] for job in books.jobs(node.ledger_path)} == {"done", "failed"}
        [last] = studies(folder / "last", [""]).items()
        assert storescu(node.host, node.port, last[1], node.ae_title).returncode == 0
        [job] = books.wait_for_jobs(node.ledger_path, last[0], timeout=120)
        assert job["state"] == "done"


@pytest.mark.slow
def test_a_study_that_crashes_its_worker_fails_alone(tmp_path):
    run(tmp_path, ["crash"], again=False, workers=1, max_attempts=2, time_limit_seconds=60)


@pytest.mark.soak
def test_a_worker_that_can_not_load_the_network_costs_no_job_an_attempt(tmp_path):
    broken = tmp_path / "broken"
    broken.touch()
    [(study, paths)] = studies(tmp_path / "studies", [""]).items()
    environment = {"PYTHONPATH": poisoned_path(), "POISON_LOADING": str(broken)}
    settings = {"threads": 1, "max_attempts": 1}
    with Node(tmp_path / "node", {}, environment, segment=settings, study={"hold_flags": ""}) as node:
        alarm = "SELECT detail, cleared_at FROM alarm WHERE name = 'worker_0'"
        [row] = wait_until(lambda: books.query(node.ledger_path, alarm), 60, "the alarm")
        assert "the GPU has fallen off the bus" in row["detail"]
        assert storescu(node.host, node.port, paths, node.ae_title).returncode == 0
        [job] = wait_until(lambda: books.jobs(node.ledger_path, study), 30, "the job")
        broken.unlink()
        [job] = books.wait_for_jobs(node.ledger_path, study, timeout=90)
        assert (job["state"], job["attempts"]) == ("done", 1)
        [row] = books.query(node.ledger_path, alarm)
        assert row["cleared_at"]


@pytest.mark.soak
@pytest.mark.timeout(1500)
def test_every_poison_at_once(tmp_path):
    run(tmp_path, list(REASONS), again=True, max_attempts=2, time_limit_seconds=40)
