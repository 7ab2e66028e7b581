"""A spool that several machines use: nobody clears, or deletes, what another has just stored."""

from __future__ import annotations

import os
import time

import pytest

from scarnode.dicom.scp import Spool
from scarnode.dicom.spool.spool import ABANDONED, ASIDE
from scarnode.util.errors import SpoolError

from .test_spool import incoming


@pytest.fixture
def spools(tmp_path):
    opened = [Spool(tmp_path / "spool", shared=True) for _ in range(2)]
    yield opened
    for spool in opened:
        spool.close()


def test_nodes_that_share_a_spool_and_one_that_does_not_keep_off_each_other(spools):
    root = spools[0].root
    with pytest.raises(SpoolError, match="another scarnode"):
        Spool(root)
    for spool in spools:
        spool.close()
    alone = Spool(root)
    with pytest.raises(SpoolError, match="another scarnode"):
        Spool(root, shared=True)
    alone.close()


def test_what_others_are_writing_stays_what_nobody_writes_any_more_goes(spools):
    partial = spools[0].root / "partial"
    fresh, old = partial / "fresh", partial / "old"
    for path in (fresh, old):
        path.touch()
    then = time.time() - ABANDONED - 60
    os.utime(old, (then, then))
    Spool(spools[0].root, shared=True).close()
    assert (fresh.exists(), old.exists()) == (True, False)


def test_bytes_come_before_the_name(spools, monkeypatch):
    done = []
    real = os.fsync
    monkeypatch.setattr(os, "fsync", lambda number: (done.append(len(list(spools[1]))), real(number)))
    spools[0].store(incoming())
    assert done == [0, 1]


def test_an_image_is_deleted_unless_it_came_again(spools):
    first, second = spools
    path = first.store(incoming())
    stored_at = path.stat().st_mtime
    time.sleep(0.01)
    assert second.store(incoming()) == path
    assert not first.remove(path, stored_at)
    assert second.is_whole(path)
    assert first.remove(path, path.stat().st_mtime)
    assert not path.exists()
    assert first.remove(path, 0.0), "gone already"
    assert list((first.root / "partial").iterdir()) == []


def test_an_image_whose_deletion_was_cut_off_is_put_back(spools):
    path = spools[0].store(incoming())
    aside = spools[0].root / "partial" / f"{ASIDE}0123-{path.name}"
    path.rename(aside)
    then = time.time() - ABANDONED - 60
    os.utime(aside, (then, then))
    Spool(spools[0].root, shared=True).close()
    assert spools[0].is_whole(path)
    assert not aside.exists()
