"""From a quiet study to jobs, on files."""

import errno
import os
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import scarnode.node.tasks.search as room
from scarnode.dicom.scp import Incoming, Spool, describe
from scarnode.ledger import queries
from scarnode.ledger.model import Analysed, ResultFile
from scarnode.node.tasks.search import search_study
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.measure import Measurements, measure
from scarnode.pipeline.report import Provenance, build_results
from scarnode.pipeline.segment import ModelIdentity, Segmentation
from scarnode.pipeline.stack import Rules, find_stacks, read_volume
from scarnode.util.errors import SystemFaultError
from tests.harness.viewer import edited, save
from tests.ledger.builders import open_ledger
from tests.training.segs import foreign_seg

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


@pytest.fixture
def ledger(tmp_path):
    ledger = open_ledger(tmp_path)
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
        ledger.studies.add_instances([describe(spool.root, spool.store(incoming))])


def test_a_stack_becomes_a_job_whose_paths_are_the_spools(spool, ledger, tmp_path):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=5, component="magnitude"))
    receive(spool, ledger, write_dicom(phantom, tmp_path / "lge"))
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    [job] = queries.list_jobs(ledger)
    assert (job.state, job.slices) == ("queued", 5)
    stack = ledger.jobs.claim("host:0", 60).stack
    assert all(not frame.path.is_absolute() and (spool.root / frame.path).is_file() for frame in stack.frames)
    assert ledger.studies.quiet_studies(0) == []


def test_a_study_that_ends_the_node_does_so_a_few_times_and_is_then_left_alone(spool, ledger, tmp_path, monkeypatch):
    """What kills the node from within (memory, a crash in native code) would do so again at every start."""
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude"))
    paths = write_dicom(phantom, tmp_path / "lge")
    receive(spool, ledger, paths[:2])

    def death(*_):
        raise SystemExit  # passes by everything that catches errors, as a real end would

    monkeypatch.setattr(room, "find_stacks", death)
    starts = 0
    while ledger.studies.quiet_studies(0):
        starts += 1
        assert starts <= 20, "it is searched for ever"
        with suppress(SystemExit):
            search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    assert starts == room.MAX_UNENDED + 1
    [row] = queries.list_series(ledger)
    assert row.reason == "SEARCH_FAILED"
    assert "the node ended 10 times while it was searched" in row.detail
    monkeypatch.undo()
    receive(spool, ledger, paths[2:])  # more of the study, or the study again, has it searched again
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    assert len(queries.list_jobs(ledger)) == 1


def test_another_model_makes_another_job_and_the_same_one_does_not(spool, ledger, tmp_path):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=5, component="magnitude"))
    receive(spool, ledger, write_dicom(phantom, tmp_path / "lge"))
    for model in ("a", "a", "b"):
        search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), model * 64, "settings")
    assert len(queries.list_jobs(ledger)) == 2


def test_a_search_that_fails_is_written_down_and_not_repeated_for_ever(spool, ledger, tmp_path, monkeypatch):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude"))
    receive(spool, ledger, write_dicom(phantom, tmp_path / "lge"))

    def fail(*_):
        raise OSError("the disk does not answer")

    monkeypatch.setattr("scarnode.node.tasks.search.find_stacks", fail)
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    [row] = queries.list_series(ledger)
    assert row.reason == "SEARCH_FAILED"
    assert "the disk does not answer" in row.detail
    assert ledger.studies.quiet_studies(0) == []


def lge(spool, ledger, tmp_path, slices=5):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=slices, component="magnitude"))
    receive(spool, ledger, write_dicom(phantom, tmp_path / "lge"))


def put_off(spool, ledger, tmp_path, number):
    """Search, and hold it to having left everything as it was."""
    with pytest.raises(SystemFaultError) as caught:
        search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    assert caught.value.number == number
    assert ledger.studies.quiet_studies(0) == [1], "it counts as searched"
    assert queries.list_series(ledger) == []
    assert queries.list_unreadable(ledger) == []
    assert queries.list_jobs(ledger) == []


def test_a_spool_that_is_away_puts_the_search_off(spool, ledger, tmp_path):
    lge(spool, ledger, tmp_path)
    spool.root.rename(tmp_path / "away")
    for _ in range(room.MAX_UNENDED + 2):  # however often
        put_off(spool, ledger, tmp_path, errno.ENOENT)
    (tmp_path / "away").rename(spool.root)
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    [job] = queries.list_jobs(ledger)
    assert (job.state, job.slices) == ("queued", 5)
    told = [event.why for event in queries.list_events(ledger, job.job) if "the search waits" in event.why]
    assert told == ["the search waits: No such file or directory (a fault of the system)"], "told once"


@pytest.mark.parametrize("name", ["EIO", "EMFILE", "ENFILE", "ESTALE", "EACCES", "ENOMEM", "EROFS", "ENOTCONN"])
def test_a_fault_of_the_system_at_one_file_puts_the_search_off(spool, ledger, tmp_path, monkeypatch, name):
    lge(spool, ledger, tmp_path)
    number, opened = getattr(errno, name), []
    real = Path.open

    def fail_at_the_third(self, *arguments, **named):
        if self.suffix == ".dcm":
            opened.append(self)
            if len(opened) == 3:
                raise OSError(number, os.strerror(number), str(self))
        return real(self, *arguments, **named)

    monkeypatch.setattr(Path, "open", fail_at_the_third)
    put_off(spool, ledger, tmp_path, number)
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    assert [job.slices for job in queries.list_jobs(ledger)] == [5]


def test_a_fault_after_the_headers_were_read_puts_the_search_off_too(spool, ledger, tmp_path, monkeypatch):
    """The digest of a stack is made of its files, read anew."""
    lge(spool, ledger, tmp_path)

    def fail(_stack):
        raise MemoryError

    monkeypatch.setattr(room, "input_digest", fail)
    put_off(spool, ledger, tmp_path, 0)


def test_a_file_that_is_gone_for_good_has_a_reason_and_the_others_are_searched(spool, ledger, tmp_path):
    lge(spool, ledger, tmp_path)
    next(iter(spool)).unlink()
    put_off(spool, ledger, tmp_path, errno.ENOENT)
    search = partial(search_study, ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    search(without_missing=True)
    [row] = queries.list_unreadable(ledger)
    assert row.problem == "UNREADABLE: the file is gone from the spool"
    assert [job.slices for job in queries.list_jobs(ledger)] == [4]
    assert ledger.studies.quiet_studies(0) == []


def test_a_seg_that_the_machine_can_not_read_puts_the_search_off(spool, ledger, tmp_path, seg, monkeypatch):
    """It was a correction that could not be understood, for good."""
    paths, own = seg
    receive(spool, ledger, [*paths, save(edited(own, lambda labels: None), tmp_path / "edited.dcm")])

    def fail(*_arguments, **_named):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("scarnode.pipeline.correct.recognise.read", fail)
    put_off(spool, ledger, tmp_path, errno.EIO)


@pytest.fixture
def seg(tmp_path):
    """Files of a stack, and the node's own SEG of it."""
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=5, component="magnitude", scar_fraction=0.2))
    paths = write_dicom(phantom, tmp_path / "lge")
    [stack] = find_stacks(paths).stacks
    found, volume = Segmentation(phantom.label, None, ModelIdentity("n", "1", "f" * 64, "")), read_volume(stack)
    provenance = Provenance("k" * 64, "d" * 64, "1", datetime(2026, 1, 1))
    return paths, build_results(stack, volume, found, measure(stack, volume, found), provenance).seg


def reasons(ledger):
    return {row.reason for row in queries.list_series(ledger)}


def origins(ledger):
    return [job.origin for job in queries.list_jobs(ledger)]


def search(ledger, spool, tmp_path):
    [study] = ledger.studies.quiet_studies(0)
    search_study(ledger, spool.root, tmp_path / "results", study, Rules(), "f" * 64, "settings")


def test_a_correction_that_comes_before_its_images_is_taken_up_with_them(spool, ledger, tmp_path, seg):
    paths, ours = seg
    receive(spool, ledger, [save(edited(ours, lambda labels: None), tmp_path / "edited.dcm")])
    search(ledger, spool, tmp_path)
    assert reasons(ledger) == {"CORRECTION_WAITS"}
    receive(spool, ledger, paths)
    search(ledger, spool, tmp_path)
    assert reasons(ledger) == {"CORRECTION", "LGE_SHORT_AXIS"}
    assert origins(ledger) == ["correction", "network"]
    receive(spool, ledger, paths[:1])  # sent again: searched again, nothing new
    search_study(ledger, spool.root, tmp_path / "results", 1, Rules(), "f" * 64, "settings")
    assert len(origins(ledger)) == 2


def test_a_foreign_seg_is_kept_and_listed(spool, ledger, tmp_path, seg):
    paths, _ = seg
    masks = {"Liver": np.ones((5, 96, 96), bool)}
    receive(spool, ledger, [*paths, foreign_seg(tmp_path / "liver.dcm", paths, masks)])
    search(ledger, spool, tmp_path)
    assert reasons(ledger) == {"FOREIGN_SEG", "LGE_SHORT_AXIS"}
    assert origins(ledger) == ["network"]
    [row] = [row for row in queries.list_series(ledger) if row.reason == "FOREIGN_SEG"]
    assert (row.modality, row.verdict, row.instances) == ("SEG", "rejected", 1)


def test_our_own_seg_is_known_and_a_change_under_its_uid_is_refused(spool, ledger, tmp_path, seg):
    paths, ours = seg
    receive(spool, ledger, paths)
    search(ledger, spool, tmp_path)
    (tmp_path / "results").mkdir()
    own = save(ours, tmp_path / "results" / "seg.dcm")
    numbers = Measurements(1.0, 2.0, 3.0, 3.0, 1.1, 3.2, 33.3, None, None, ())
    file = ResultFile("seg", ours.SOPClassUID, ours.SOPInstanceUID, ours.SeriesInstanceUID, own.name)
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), Analysed((file,), numbers, (), 1.0), {})
    receive(spool, ledger, [own])
    search(ledger, spool, tmp_path)
    assert reasons(ledger) == {"OWN_RESULT", "LGE_SHORT_AXIS"}
    changed = edited(ours, lambda labels: [label.fill(0) for label in list(labels.values())[:2]])
    changed.SOPInstanceUID = changed.file_meta.MediaStorageSOPInstanceUID = ours.SOPInstanceUID
    receive(spool, ledger, [save(changed, tmp_path / "changed.dcm")])
    search(ledger, spool, tmp_path)
    assert reasons(ledger) == {"OWN_RESULT", "CORRECTION_REFUSED", "LGE_SHORT_AXIS"}
    assert origins(ledger) == ["network"]
