"""`scarnode segment` over many studies: each for itself, resumable, one row for each in the table."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from scarnode import RESEARCH_USE
from scarnode.batch.archive import analyse_files
from scarnode.batch.process import PROGRAM, BatchOptions
from scarnode.batch.study import analyse_study
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.dicom.scp.builders import instance, write
from tests.harness.strace import children, runs
from tests.harness.tools import wait_until

SETTINGS = PhantomSettings(matrix=(128, 128), slices=3, component="magnitude")


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Three studies with a stack, one with a cine alone, and a file that is no DICOM."""
    folder = tmp_path_factory.mktemp("archive")
    for seed in range(3):
        write_dicom(make_phantom(seed, SETTINGS), folder / f"lge{seed}")
    write(folder / "cine", instance(SeriesDescription="cine sax"))
    (folder / "note.txt").write_text("no DICOM")
    return folder


def rows(output: Path) -> list[dict[str, str]]:
    with (output / "results.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def lines(output: Path) -> list[str]:
    path = output / "studies.jsonl"
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


@pytest.mark.slow
def test_many_studies_then_only_what_is_new(archive, tmp_path, scarnode):
    told = []
    first = analyse_files([archive], BatchOptions(tmp_path, device="cpu", workers=2), lambda *word: told.append(word))
    assert len(first.stacks) == 3
    assert {series.reason for series in first.rejected} >= {"UNREADABLE"}
    table = rows(tmp_path)
    assert sorted(row["status"] for row in table) == ["analysed"] * 3 + ["no stack"] * 2
    assert all(row["notice"] == RESEARCH_USE for row in table)
    assert all(Path(row["seg"]).is_file() == (row["status"] == "analysed") for row in table)
    assert (tmp_path / "results.csv").stat().st_mode & 0o077 == 0
    assert told[-1] == ("Analysing", 5, 5)

    new = tmp_path / "new"
    write_dicom(make_phantom(9, SETTINGS), new)
    told.clear()
    second = analyse_files([archive, new], BatchOptions(tmp_path, device="cpu"), lambda *word: told.append(word))
    assert [word for word in told if word[0] == "Analysing"] == [("Analysing", 6, 6)]
    assert second.stacks[:3] == first.stacks
    assert len(rows(tmp_path)) == 6

    said = scarnode("segment", archive, "-o", tmp_path, "--device", "cpu").stdout
    assert "%LGE" in said
    assert RESEARCH_USE in said


@pytest.mark.slow
def test_a_study_that_ends_its_process_fails_alone(archive, tmp_path):
    def kill(what, done, total):
        """After the first study: whoever works on the second."""
        if what == "Analysing" and done == 1:
            [mine] = [child for child in children(os.getpid()) if runs(child, PROGRAM)]
            os.kill(mine, signal.SIGKILL)

    options = BatchOptions(tmp_path, device="cpu")
    paths = [archive / f"lge{number}" for number in range(3)]
    outcome = analyse_files(paths, options, kill)
    assert len(outcome.stacks) == 2
    (failed,) = outcome.rejected
    assert failed.reason == "FAILED"
    assert "its process ended (signal SIGKILL" in failed.detail
    assert [row["status"] for row in rows(tmp_path)].count("failed") == 1
    assert len(analyse_files(paths, options).stacks) == 3, "what failed was not tried again"


@pytest.mark.slow
def test_a_kill_loses_nothing_that_was_done(archive, tmp_path):
    command = [sys.executable, "-m", "scarnode.cli", "segment", str(archive), "-o", str(tmp_path), "--device", "cpu"]
    first = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wait_until(lambda: lines(tmp_path), 60, "the first study")
    first.kill()
    first.wait()
    before = [line for line in lines(tmp_path) if line.endswith("}")]
    with (tmp_path / "studies.jsonl").open("a") as journal:
        journal.write('{"key": "cut off')
    done = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True)
    assert len(json.loads(done.stdout)["stacks"]) == 3
    assert lines(tmp_path)[: len(before)] == before
    assert len(lines(tmp_path)) == 5 + 1, "what was done was done again, or written behind the line that was cut off"


@pytest.mark.slow
def test_a_network_that_can_not_be_loaded_is_told_once(archive, tmp_path, scarnode):
    said = scarnode("segment", archive, "-o", tmp_path, "--device", "cuda:7", code=2).stderr
    assert "cuda:7" in said
    assert lines(tmp_path) == [] or all("FAILED" not in line for line in lines(tmp_path))


def test_what_the_system_could_not_read_is_said_of_the_file_and_done_again(tmp_path):
    """A disk that was away for a moment made a study count as done, with its files UNREADABLE."""
    gone = tmp_path / "in" / "gone.dcm"
    outcome = analyse_study([gone], tmp_path / "out", lambda: None)
    [row] = outcome.rejected
    assert (row.series_uid, row.reason) == (str(gone), "FAILED")
    assert row.detail == "UNREADABLE: No such file or directory (the system's fault, not the file's)"
