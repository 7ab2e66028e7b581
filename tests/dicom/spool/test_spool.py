"""The spool keeps what it was given, whole or not at all."""

import errno
import os
import stat
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import dcmread
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian, JPEGLSLossless, MRImageStorage, RLELossless

from scarnode.dicom.scp import Incoming, Spool, describe
from scarnode.dicom.spool.partial import BUFFER
from scarnode.util.errors import SpoolError


def incoming(uid: str = "1.2.3", dataset: bytes = b"") -> Incoming:
    return Incoming(str(MRImageStorage), uid, str(ExplicitVRLittleEndian), "SCANNER", "SCARNODE", dataset)


STUDY_ELEMENT = b"\x20\x00\x0d\x00UI\x04\x001.2\x00"


@pytest.fixture
def spool(tmp_path):
    spool = Spool(tmp_path / "spool")
    yield spool
    spool.close()


def test_bytes_lie_as_they_came_behind_a_file_meta_group(spool):
    path = spool.store(incoming(dataset=STUDY_ELEMENT))
    assert path.read_bytes().endswith(STUDY_ELEMENT)
    dataset = dcmread(path)
    assert dataset.StudyInstanceUID == "1.2"
    assert dataset.file_meta.MediaStorageSOPInstanceUID == "1.2.3"
    assert dataset.file_meta.SourceApplicationEntityTitle == "SCANNER"
    assert list(spool) == [path]


def test_a_resend_is_one_file_and_other_content_under_the_same_uid_is_two(spool):
    first = spool.store(incoming(dataset=STUDY_ELEMENT))
    assert spool.store(incoming(dataset=STUDY_ELEMENT)) == first
    other = spool.store(incoming(dataset=STUDY_ELEMENT.replace(b"1.2", b"1.3")))
    assert other != first
    assert sorted(spool) == sorted([first, other])


@pytest.fixture(params=[False, True], ids=["alone", "shared"])
def either(request, tmp_path):
    """A spool that one node uses, and one that several share."""
    spool = Spool(tmp_path / "spool", shared=request.param)
    yield spool
    spool.close()


def big(dataset: bytes) -> bytes:
    """Give a dataset that went to disk before it was whole."""
    return dataset + b"\xe0\x7f\x10\x00OW\0\0" + (2 * BUFFER).to_bytes(4, "little") + bytes(2 * BUFFER)


@pytest.mark.parametrize("dataset", [STUDY_ELEMENT, big(STUDY_ELEMENT)], ids=["small", "large"])
def test_a_resend_by_another_sender_changes_no_byte_and_is_newer(either, dataset):
    """Retention keeps what came again since it was looked at: by the file's time."""
    path = either.store(incoming(dataset=dataset))
    before, stored_at = path.read_bytes(), path.stat().st_mtime_ns
    other = replace(
        incoming(dataset=dataset), calling_ae="ANOTHER_SENDER", called_ae="X", sop_class_uid="1.2.840.10008.5"
    )
    assert either.store(other) == path
    assert path.read_bytes() == before
    assert path.stat().st_mtime_ns > stored_at
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(either) == [path]
    assert list((either.root / "partial").iterdir()) == []
    assert describe(either.root, path).calling_ae == "SCANNER"


@pytest.mark.parametrize("dataset", [STUDY_ELEMENT, big(STUDY_ELEMENT)], ids=["small", "large"])
def test_the_same_bytes_in_another_transfer_syntax_are_a_file_of_their_own(either, dataset):
    first = incoming(dataset=dataset)
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless]
    versions = [replace(first, transfer_syntax_uid=str(syntax)) for syntax in syntaxes]
    paths = [either.store(version) for version in versions]
    assert len(set(paths)) == 3
    kept = {path: path.read_bytes() for path in paths}
    for version, path in zip([*reversed(versions), *versions], [*reversed(paths), *paths], strict=True):
        assert either.store(replace(version, calling_ae="ANOTHER")) == path
    assert {path: path.read_bytes() for path in either} == kept
    for path, syntax in zip(paths, syntaxes, strict=True):
        assert either.is_whole(path)
        assert not either.set_aside(path)
        assert read_file_meta_info(path).TransferSyntaxUID == syntax
    rows = [describe(either.root, path) for path in (paths[0], paths[2])]
    assert [(row.sop_instance_uid, row.study_instance_uid) for row in rows] == [("1.2.3", "1.2")] * 2
    damaged = paths[1].read_bytes()[:-1] + b"!"
    paths[1].write_bytes(damaged)
    assert not either.is_whole(paths[1])


def test_versions_that_come_at_once_are_all_kept(either):
    """Two senders, or a sender and an archive that coerces, over associations of their own."""
    syntaxes = [ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless, JPEGLSLossless]
    for number in range(10):
        data = STUDY_ELEMENT + bytes([number])
        versions = [replace(incoming(dataset=data), transfer_syntax_uid=str(syntax)) for syntax in syntaxes * 2]
        with ThreadPoolExecutor(8) as senders:
            paths = list(senders.map(either.store, versions))
        for version, path in zip(versions, paths, strict=True):
            assert read_file_meta_info(path).TransferSyntaxUID == version.transfer_syntax_uid
            assert either.is_whole(path)
    assert len(list(either)) == 40


@pytest.mark.parametrize("left", [lambda whole: whole[:40], lambda whole: whole[:-3], lambda whole: bytes(len(whole))])
def test_a_file_that_a_power_cut_left_gives_way_to_the_whole_one(either, left):
    path = either.store(incoming(dataset=STUDY_ELEMENT))
    path.write_bytes(left(path.read_bytes()))
    assert either.store(replace(incoming(dataset=STUDY_ELEMENT), calling_ae="ANOTHER")) == path
    assert either.is_whole(path)
    assert dcmread(path).StudyInstanceUID == "1.2"


def test_a_copy_that_does_not_fit_leaves_the_acknowledged_file_and_nothing_else(spool):
    path = spool.store(incoming(dataset=big(STUDY_ELEMENT)))
    before = path.read_bytes()
    asked = iter([1 << 30] + [0] * 9)
    spool.floor = SimpleNamespace(usage=lambda _folder: SimpleNamespace(spare=next(asked)))
    with pytest.raises(OSError, match="floor"):
        spool.store(replace(incoming(dataset=big(STUDY_ELEMENT)), calling_ae="ANOTHER"))
    assert next(asked) == 0
    assert path.read_bytes() == before
    assert list((spool.root / "partial").iterdir()) == []


def test_files_and_folders_are_readable_by_the_owner_alone(spool):
    path = spool.store(incoming(dataset=STUDY_ELEMENT))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(uid=st.one_of(st.text(max_size=80), st.sampled_from(["../../etc/passwd", "..", ".", "/", "a\0b", "1.2\n3"])))
def test_no_uid_leaves_the_spool(spool, uid):
    path = spool.store(incoming(uid, STUDY_ELEMENT))
    assert path.resolve().is_relative_to(spool.root.resolve())
    assert path.is_file()
    assert path in set(spool)


def test_a_full_disk_leaves_no_part_of_a_file(spool, monkeypatch):
    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        spool.store(incoming(dataset=STUDY_ELEMENT))
    assert list(spool) == []
    assert [path for path in spool.root.rglob("*") if path.is_file()] == [spool.root / "lock"]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(dataset=st.binary(min_size=1, max_size=9000), data=st.data())
def test_what_a_power_cut_left_under_a_name_is_told_from_a_whole_file(spool, dataset, data):
    path = spool.store(incoming(dataset=dataset))
    whole = path.read_bytes()
    assert spool.is_whole(path)
    start = data.draw(st.integers(0, len(whole) - 1))
    left = data.draw(
        st.sampled_from(
            (whole[:start], whole[:start] + bytes(len(whole) - start), bytes(start) + whole[start:], whole + b"\0")
        )
    )
    path.write_bytes(left)
    # a page of zeros over the group's other elements is no business of the dataset; pages end later than that
    assert spool.is_whole(path) == (left[len(whole) - len(dataset) :] == dataset and left.startswith(whole[:144]))
    path.unlink()


def test_a_new_name_is_given_before_the_syncs_and_an_old_one_only_to_synced_bytes(spool, monkeypatch):
    """Bytes that are not synced must not take the place of those that were answered with Success."""
    done, sync = [], os.fsync

    def fsync(descriptor):
        there = Path(f"/proc/self/fd/{descriptor}").readlink()
        done.append("folder" if there.is_dir() else "partial" if there.parent.name == "partial" else "named")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = spool.store(incoming(dataset=STUDY_ELEMENT))
    assert sorted(done) == ["folder", "named"]  # at once
    done.clear()
    assert spool.store(incoming(dataset=STUDY_ELEMENT)) == path
    assert done == ["partial", "folder"]
    assert spool.is_whole(path)


def test_what_is_whole_by_now_is_not_set_aside(spool):
    path = spool.store(incoming(dataset=STUDY_ELEMENT))
    assert not spool.set_aside(path)
    assert list(spool) == [path]


def test_parts_left_by_a_crash_are_removed_at_start(tmp_path):
    Spool(tmp_path).close()
    (tmp_path / "partial" / "left").write_bytes(b"half")
    spool = Spool(tmp_path)
    assert list((tmp_path / "partial").iterdir()) == []
    spool.close()


def test_a_second_node_may_not_use_the_spool(tmp_path):
    spool = Spool(tmp_path)
    with pytest.raises(SpoolError, match="another scarnode"):
        Spool(tmp_path)
    spool.close()
    Spool(tmp_path).close()


def test_a_spool_that_can_not_be_written_says_what_to_do(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SpoolError, match=r"\[spool\] path"):
        Spool(tmp_path / "file" / "spool")


def test_describe_reads_what_the_ledger_wants(spool):
    row = describe(spool.root, spool.store(incoming(dataset=STUDY_ELEMENT)))
    assert row.study_instance_uid == "1.2"
    assert row.sop_instance_uid == "1.2.3"
    assert row.calling_ae == "SCANNER"
    assert row.problem == ""


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(junk=st.binary(max_size=300))
def test_describe_takes_any_bytes_for_a_fact(spool, junk):
    row = describe(spool.root, spool.store(incoming(dataset=junk)))
    assert row.study_instance_uid or row.problem
    assert row.sop_instance_uid == "1.2.3"


def test_describe_lives_through_a_spoilt_file_meta_group(spool):
    """Found by fuzzing: a dataset that begins with group 0002 runs on from the group written before it."""
    row = describe(spool.root, spool.store(incoming(dataset=b"\x02\x00\x00\x00UL\x01\x00\x00")))
    assert row.sop_instance_uid == "1.2.3"
    assert row.problem
