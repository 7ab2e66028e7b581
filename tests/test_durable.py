"""A file is whole or absent."""

import stat

import pytest

from scarnode.durable import write_durably


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
