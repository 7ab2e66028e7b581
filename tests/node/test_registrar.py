"""Between spool and ledger: what is in hand counts, what is none of ours does not hold up the rest."""

from __future__ import annotations

import errno
import os
import time
from dataclasses import replace

import pytest
from pydicom import dcmread
from pydicom.uid import ExplicitVRLittleEndian, RLELossless
from sqlalchemy.exc import OperationalError

import scarnode.node.tasks.registrar as room
from scarnode.dicom.scp import Incoming, Spool
from scarnode.node.postponed import PutOffs
from scarnode.node.tasks.registrar import Registrar
from tests.dicom.scp.builders import instance, write
from tests.harness.senders import dataset_bytes
from tests.harness.tools import wait_until
from tests.ledger.builders import open_ledger

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def ledger(tmp_path):
    ledger = open_ledger(tmp_path)
    yield ledger
    ledger.close()


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def store(spool, folder, number):
    [path] = write(folder, instance(number, value=number))
    header = dcmread(path)
    syntax = str(header.file_meta.TransferSyntaxUID)
    uids = (str(header.SOPClassUID), str(header.SOPInstanceUID), syntax)
    return spool.store(Incoming(*uids, "SCANNER", "SCARNODE", dataset_bytes(path)))


def test_a_strange_or_missing_file_does_not_keep_the_others_out_of_the_ledger(ledger, spool, tmp_path):
    (spool.root / "00" / "copied here.dcm").write_bytes(b"by an admin")
    damaged = store(spool, tmp_path / "in", 1)
    damaged.write_bytes(bytes(1000))  # a disk's fault
    kept = store(spool, tmp_path / "in", 2)
    registrar = Registrar(ledger, spool)
    registrar.add(spool.root / "00" / f"1.2.{'0' * 64}.dcm")
    assert registrar.recover() == 3
    wait_until(ledger.studies.known_paths, 10, "an instance in the ledger")
    registrar.stop()
    assert ledger.studies.known_paths() == {str(kept.relative_to(spool.root))}


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: b"",
        lambda whole: whole[:200],
        lambda whole: whole[: len(whole) // 2],
        lambda whole: whole[:-1],
        lambda whole: bytes(len(whole)),
        lambda whole: whole[:512] + bytes(len(whole) - 512),
        lambda whole: bytes(512) + whole[512:],
    ],
    ids=["empty", "in the head", "half", "a byte less", "zeros", "zeros but for a block", "a block of zeros"],
)
def test_a_file_that_a_crash_left_unsynced_is_told_and_never_registered(ledger, tmp_path, caplog, spoil):
    first = Spool(tmp_path / "spool")
    lost, kept = (store(first, tmp_path / "in", number) for number in (1, 2))
    first.close()
    whole = lost.read_bytes()
    lost.write_bytes(spoil(whole))
    spool = Spool(tmp_path / "spool")
    registrar = Registrar(ledger, spool)
    assert registrar.recover() == 2
    wait_until(lambda: (spool.root / "broken").exists() and ledger.studies.known_paths(), 10, "the registrar")
    assert ledger.studies.known_paths() == {str(kept.relative_to(spool.root))}
    assert list(spool) == [kept]
    assert "not yet answered with Success" in caplog.text
    assert [path.suffix for path in (spool.root / "broken").iterdir()] == [".part"]
    registrar.add(store(spool, tmp_path / "again", 1))  # the sender had no answer: it sends it again
    wait_until(lambda: len(ledger.studies.known_paths()) == 2, 10, "the instance in the ledger")
    assert lost.read_bytes() == whole
    registrar.stop()
    spool.close()


def test_versions_of_an_instance_in_two_transfer_syntaxes_are_found_by_a_start_and_removed_alone(ledger, tmp_path):
    """The ledger knows them by their files' names."""
    spool = Spool(tmp_path / "spool")
    [path] = write(tmp_path / "in", instance(1, value=1))
    header = dcmread(path)
    uids = str(header.SOPClassUID), str(header.SOPInstanceUID)
    versions = [
        Incoming(*uids, str(syntax), "SCANNER", "SCARNODE", dataset_bytes(path))
        for syntax in (ExplicitVRLittleEndian, RLELossless)
    ]
    paths = [spool.store(version) for version in versions]
    spool.close()
    spool = Spool(tmp_path / "spool")
    registrar = Registrar(ledger, spool)
    assert registrar.recover() == 2
    wait_until(lambda: len(ledger.studies.known_paths()) == 2, 10, "both")
    assert registrar.recover() == 0
    [study] = ledger.studies.quiet_studies(0)
    ledger.studies.close_study(study, ledger.studies.study_files(study)[0], [], [])
    removal = ledger.retention.mark_removed(study, time.time() + 1, None, "a test")
    assert {name for name, _ in removal.sources} == {str(path.relative_to(spool.root)) for path in paths}
    assert spool.store(replace(versions[1], calling_ae="ANOTHER")) == paths[1]
    assert registrar.recover() == 1, "the one that was removed goes, the one that came again does not"
    assert list(spool) == [paths[1]]
    registrar.stop()
    spool.close()


def test_what_is_not_yet_in_the_ledger_is_accounted_for(ledger, spool, tmp_path, monkeypatch):
    """A study whose last images wait for a slow database is not quiet."""
    paths = [store(spool, tmp_path / "in", number) for number in (1, 2)]
    an_hour_ago = time.time() - 3600
    os.utime(paths[0], (an_hour_ago, an_hour_ago))
    real, locked = ledger.studies.add_instances, [True]

    def add_instances(received):
        if locked[0]:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        real(received)

    monkeypatch.setattr(ledger.studies, "add_instances", add_instances)
    registrar = Registrar(ledger, spool)
    assert registrar.caught_up_to() == pytest.approx(time.time(), abs=5)
    assert registrar.recover() == 2
    assert registrar.caught_up_to() == pytest.approx(an_hour_ago, abs=1)
    locked[0] = False
    wait_until(lambda: len(ledger.studies.known_paths()) == 2, 10, "the instances in the ledger")
    wait_until(lambda: time.time() - registrar.caught_up_to() < 5, 5, "the registrar's rest")
    registrar.stop()


def test_what_came_before_the_disk_went_away_is_registered_when_it_is_back(ledger, spool, tmp_path):
    """It was "taken out of the spool: lost", until a restart."""
    paths = [store(spool, tmp_path / "in", number) for number in (1, 2)]
    spool.root.rename(tmp_path / "away")
    put_offs = PutOffs()
    registrar = Registrar(ledger, spool, put_offs)
    before = time.time()
    for path in paths:
        registrar.add(path)
    wait_until(put_offs.in_words, 10, "the alarm's words")
    assert "registration of image 1: No such file or directory" in put_offs.in_words()
    time.sleep(1.5)
    assert ledger.studies.known_paths() == set()
    assert registrar.caught_up_to() < before + 1, "a study whose images wait is not quiet"
    (tmp_path / "away").rename(spool.root)
    wait_until(lambda: len(ledger.studies.known_paths()) == 2, 20, "the instances in the ledger")
    wait_until(lambda: put_offs.in_words() == "", 5, "the end of the alarm")
    registrar.stop()


def test_one_file_that_the_disk_can_not_read_does_not_hold_up_the_others(ledger, spool, tmp_path, monkeypatch):
    bad, good = (store(spool, tmp_path / "in", number) for number in (1, 2))
    real = room.describe

    def describe(root, path):
        if path == bad:
            raise OSError(errno.EIO, "Input/output error")
        return real(root, path)

    monkeypatch.setattr(room, "describe", describe)
    monkeypatch.setattr(room, "HOLDS", 2.0)
    put_offs = PutOffs()
    registrar = Registrar(ledger, spool, put_offs)
    registrar.add(bad)
    registrar.add(good)
    wait_until(ledger.studies.known_paths, 10, "the good one in the ledger")
    assert put_offs.in_words() == "put off by faults of the system: 1 (registration of image 1: Input/output error)"
    wait_until(lambda: time.time() - registrar.caught_up_to() < 1, 10, "the searches of other studies")
    monkeypatch.undo()
    wait_until(lambda: len(ledger.studies.known_paths()) == 2, 20, "the other")
    registrar.stop()
