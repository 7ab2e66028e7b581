"""The floor of free space: the smaller of a share and an amount."""

import os
from types import SimpleNamespace

import pytest

from scarnode.util.disk import DiskUsage, FreeSpaceLimit


def disk(monkeypatch, size, free, files=0, free_files=0):
    """A file system of that many bytes."""
    status = SimpleNamespace(f_blocks=size // 4096, f_bavail=free // 4096, f_frsize=4096, f_files=files)
    status.f_favail = free_files
    monkeypatch.setattr(os, "statvfs", lambda folder: status)


@pytest.mark.parametrize(
    ("size", "floor"),
    [(10e9, 0.5e9), (40e9, 2e9), (4e12, 2e9), (64e6, 3.2e6)],
)
def test_the_smaller_of_share_and_amount_counts(monkeypatch, tmp_path, size, floor):
    disk(monkeypatch, int(size), int(size) // 2)
    usage = FreeSpaceLimit().usage(tmp_path)
    assert usage.floor == pytest.approx(floor, rel=1e-3)
    assert usage.spare == pytest.approx(size / 2 - floor, rel=1e-3)


def test_zero_means_no_floor(monkeypatch, tmp_path):
    disk(monkeypatch, 10**9, 0, files=100, free_files=0)
    for floor in (FreeSpaceLimit(0, 2), FreeSpaceLimit(5, 0)):
        assert floor.usage(tmp_path).spare == 0
        assert floor.usage(tmp_path).for_work


def test_jobs_may_use_half_of_the_reserve():
    assert DiskUsage(60, 1000, 100).for_work
    assert DiskUsage(60, 1000, 100).spare < 0
    assert not DiskUsage(49, 1000, 100).for_work


def test_a_disk_without_inodes_is_full_and_one_that_counts_none_is_not(monkeypatch, tmp_path):
    disk(monkeypatch, 10**12, 10**11, files=10**8, free_files=9_000)
    usage = FreeSpaceLimit().usage(tmp_path)
    assert usage.spare < 0
    assert not usage.for_work
    assert "inodes" in str(usage)
    disk(monkeypatch, 10**12, 10**11, files=10**8, free_files=11_000)
    assert FreeSpaceLimit().usage(tmp_path).spare > 0
    disk(monkeypatch, 10**12, 10**11)
    assert FreeSpaceLimit().usage(tmp_path).spare > 0
