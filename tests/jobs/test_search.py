"""From a quiet study to jobs, on files."""

import pytest

from scarnode.jobs import Ledger, queries
from scarnode.jobs.search import search_study
from scarnode.lab.phantom import PhantomSettings, make_phantom, write_dicom
from scarnode.receive import Incoming, Spool, describe
from scarnode.stack import Rules


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", "test")
    yield ledger
    ledger.close()


def receive(spool, ledger, paths):
    from pydicom import dcmread
    from pynetdicom.dsutils import split_dataset

    for path in paths:
        meta, offset = split_dataset(path)
        dataset = dcmread(path, stop_before_pixels=True)
        body = path.read_bytes()[offset:]
        incoming = Incoming(
            dataset.SOPClassUID, dataset.SOPInstanceUID, meta.TransferSyntaxUID, "SCANNER", "SCARNODE", body
        )
        ledger.add_instances([describe(spool.root, spool.store(incoming))])


def test_a_stack_becomes_a_job_whose_paths_are_the_spools(spool, ledger, tmp_path):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=5, component="magnitude"))
    receive(spool, ledger, write_dicom(phantom, tmp_path / "lge"))
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    [job] = queries.list_jobs(ledger)
    assert (job.state, job.slices) == ("queued", 5)
    stack = ledger.claim("host:0", 60).stack
    assert all(not frame.path.is_absolute() and (spool.root / frame.path).is_file() for frame in stack.frames)
    assert ledger.quiet_studies(0) == []


def test_another_model_makes_another_job_and_the_same_one_does_not(spool, ledger, tmp_path):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=5, component="magnitude"))
    receive(spool, ledger, write_dicom(phantom, tmp_path / "lge"))
    for model in ("a", "a", "b"):
        search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), model * 64, "settings")
    assert len(queries.list_jobs(ledger)) == 2


def test_a_search_that_fails_is_written_down_and_not_repeated_for_ever(spool, ledger, tmp_path, monkeypatch):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude"))
    receive(spool, ledger, write_dicom(phantom, tmp_path / "lge"))

    def fail(_paths, _rules):
        raise OSError("the disk does not answer")

    monkeypatch.setattr("scarnode.jobs.search.find_stacks", fail)
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    [row] = queries.list_series(ledger)
    assert row.reason == "SEARCH_FAILED"
    assert "the disk does not answer" in row.detail
    assert ledger.quiet_studies(0) == []
