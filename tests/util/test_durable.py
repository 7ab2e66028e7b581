"""A file is whole or absent."""

import os
import stat
from pathlib import Path

import pytest

from scarnode.dicom.scp import Spool
from scarnode.pipeline.analyse import write_objects
from scarnode.util.durable import make_folder, replace_durably, write_durably
from tests.dicom.scp.builders import instance


def test_a_file_is_written_replaced_and_private(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    write_durably(path, tmp_path / "part", (b"new ", b"bytes"))
    assert path.read_bytes() == b"new bytes"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_no_part(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def parts():
        yield b"new"
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write_durably(path, tmp_path / "part", parts())
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_killed_process_left_of_a_file_goes_when_it_is_written_again(tmp_path):
    left_over, other = tmp_path / f".seg.dcm-{'0a' * 16}", tmp_path / f".sr.dcm-{'0a' * 16}"
    left_over.write_bytes(b"half of i")
    other.write_bytes(b"another's")
    replace_durably(tmp_path / "seg.dcm", (b"all of it",))
    assert sorted(tmp_path.iterdir()) == [other, tmp_path / "seg.dcm"]
    assert (tmp_path / "seg.dcm").read_bytes() == b"all of it"


def test_the_names_of_new_folders_are_on_disk_before_anything_relies_on_them(tmp_path, monkeypatch):
    """A file's fsync does not keep the folder it lies in: after a power loss the file would be nowhere."""
    synced, real = [], os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    make_folder(tmp_path / "results" / "key" / "failed")
    assert {tmp_path, tmp_path / "results", tmp_path / "results" / "key"} <= set(synced)
    synced.clear()
    Spool(tmp_path / "spool")
    assert {tmp_path, tmp_path / "spool"} <= set(synced)
    synced.clear()
    write_objects({"seg": instance()}, tmp_path / "out" / "key")
    assert {tmp_path, tmp_path / "out", tmp_path / "out" / "key"} <= set(synced)
