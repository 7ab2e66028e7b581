"""A disk that is away, or fails: work waits with an alarm, nothing is blamed on images, all goes on by itself."""

from __future__ import annotations

import time

import pytest

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import Node
from tests.harness.strace import fault_at
from tests.harness.tools import wait_until

QUIET = 3.0
STUDY = {"quiet_seconds": QUIET, "hold_flags": "NONE"}


def study(folder, number=61):
    phantom = make_phantom(number, PhantomSettings(matrix=(96, 96), slices=5, component="magnitude"))
    return write_dicom(phantom, folder)


def send(node, paths):
    assert storescu(node.host, node.port, paths, node.ae_title).returncode == 0


def registered(node, count):
    rows = books.query(node.ledger_path, "SELECT count(*) AS n FROM instance")
    return rows[0]["n"] == count


def standing(node):
    return {row["name"]: row["detail"] for row in alarms(node) if row["cleared_at"] is None}


def alarms(node):
    return books.query(node.ledger_path, "SELECT name, detail, cleared_at FROM alarm ORDER BY id")


def unreadable(node):
    return books.query(node.ledger_path, "SELECT path, problem FROM instance WHERE problem != ''")


def unsearched(node):
    return books.query(node.ledger_path, "SELECT id FROM study WHERE newest_instance > searched_instance")


def test_a_spool_away_while_a_quiet_study_is_searched_loses_nothing(tmp_path):
    """Eight seconds of it made a study count as searched, each of its files UNREADABLE, without job or alarm."""
    with Node(tmp_path, study=STUDY, segment={"workers": 1, "device": "cpu", "threads": 1}) as node:
        paths = study(tmp_path / "lge")
        send(node, paths)
        wait_until(lambda: registered(node, len(paths)), 20, "the images in the ledger")
        node.spool.rename(tmp_path / "away")
        wait_until(lambda: "absent_spool" in standing(node), 10, "the alarm")
        time.sleep(QUIET + 2)
        assert unsearched(node)
        assert unreadable(node) == []
        (tmp_path / "away").rename(node.spool)
        [job] = wait_until(lambda: books.jobs(node.ledger_path), 20, "the job")
        assert job["slices"] == len(paths)
        wait_until(lambda: standing(node) == {}, 10, "the end of the alarm")
        assert {row["name"] for row in alarms(node)} == {"absent_spool"}


@pytest.mark.parametrize("error", ["EIO", "EMFILE", "ESTALE", "EACCES", "ENOMEM"])
@pytest.mark.slow
def test_files_that_the_system_can_not_open_put_the_search_off(tmp_path, error):
    with Node(tmp_path, study=STUDY, segment={"workers": 1, "device": "cpu", "threads": 1}) as node:
        paths = study(tmp_path / "lge")
        send(node, paths)
        wait_until(lambda: registered(node, len(paths)), 20, "the images in the ledger")
        files = list(node.spool.glob("??/*.dcm"))
        with fault_at(node.pid, "openat", error, files[1:2]):
            wait_until(lambda: "system_faults" in standing(node), 30, "the alarm")
            assert "search of study 1: " in standing(node)["system_faults"]
            assert unsearched(node)
            assert unreadable(node) == []
            assert books.jobs(node.ledger_path) == []
        [job] = wait_until(lambda: books.jobs(node.ledger_path), 70, "the job")
        assert job["slices"] == len(paths)
        wait_until(lambda: "system_faults" not in standing(node), 10, "the end of the alarm")


@pytest.mark.slow
def test_a_job_whose_spool_or_results_go_away_uses_up_no_attempt(tmp_path):
    with Node(tmp_path, study=STUDY, segment={"workers": 1, "device": "cpu", "threads": 1}) as node:
        paths = study(tmp_path / "lge")
        send(node, paths)
        wait_until(lambda: books.jobs(node.ledger_path), 60, "the job", poll=0.01)
        node.spool.rename(tmp_path / "away")
        node.results.rename(tmp_path / "results away")
        wait_until(lambda: {"absent_spool", "absent_results"} <= set(standing(node)), 10, "the alarms")
        time.sleep(8)
        [job] = books.jobs(node.ledger_path)
        assert job["state"] == "queued", job["reason"]
        assert not node.results.exists(), "it was made anew beside the disk"
        (tmp_path / "results away").rename(node.results)
        (tmp_path / "away").rename(node.spool)
        [job] = books.wait_for_jobs(node.ledger_path, timeout=120)
        assert (job["state"], job["attempts"]) == ("done", 1)
        wait_until(lambda: standing(node) == {}, 10, "the end of the alarms")


@pytest.mark.slow
def test_a_job_that_misses_an_image_for_good_fails_with_a_reason(tmp_path):
    """The spool is there, the file alone is not, look after look."""
    with Node(tmp_path, study=STUDY, segment={"workers": 1, "device": "cpu", "threads": 1}) as node:
        paths = study(tmp_path / "lge")
        send(node, paths)
        wait_until(lambda: books.jobs(node.ledger_path), 60, "the job", poll=0.01)
        next(node.spool.glob("??/*.dcm")).unlink()
        [job] = books.wait_for_jobs(node.ledger_path, timeout=180)
        assert job["state"] == "failed"
        assert job["reason"].startswith("a source image is gone from the spool: receive the study again")
        wait_until(lambda: "system_faults" not in standing(node), 10, "the end of the alarm")
