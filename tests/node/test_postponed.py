"""What is put off for a fault of the machine: when it is tried again, what is gone, what the alarm says."""

from __future__ import annotations

import errno
import os

import pytest

from scarnode.node.postponed import JOB, SEARCH, PutOffs
from scarnode.util.errors import SystemFaultError


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def fault(number: int) -> SystemFaultError:
    return SystemFaultError(os.strerror(number), "one.dcm", number)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def put_offs(clock):
    return PutOffs(clock)


def test_pauses_grow_up_to_a_minute_and_begin_anew_after_success(put_offs, clock):
    pauses = [put_offs.note(SEARCH, 5, fault(errno.EIO), True) for _ in range(9)]
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert put_offs.waiting(SEARCH) == {5}
    assert put_offs.waiting(JOB) == set()
    clock.now += 60
    assert put_offs.waiting(SEARCH) == set()
    put_offs.over(SEARCH, 5)
    assert put_offs.note(SEARCH, 5, fault(errno.EIO), True) == 1


def test_who_found_no_room_does_not_compute_again_every_second(put_offs):
    assert put_offs.note(JOB, 1, fault(errno.ENOSPC), True) == 30
    assert put_offs.no_room()
    assert put_offs.in_words() == ""


def looks(put_offs, clock, number, there, times=10):
    for _ in range(times):
        clock.now += put_offs.note(JOB, 1, fault(number), there)
        if put_offs.is_gone(JOB, 1):
            return True
    return False


def test_only_a_file_missing_again_and_again_where_its_folder_is_is_gone(put_offs, clock):
    assert not looks(put_offs, clock, errno.EIO, True)
    assert not looks(put_offs, clock, errno.ENOENT, False)
    before = clock.now
    assert looks(put_offs, clock, errno.ENOENT, True)
    assert clock.now - before >= 15
    put_offs.note(JOB, 1, fault(errno.ENOENT), False)
    assert not put_offs.is_gone(JOB, 1), "the folder went away with it"


def test_the_alarm_names_what_waits_and_ends_with_it(put_offs):
    for number in range(7):
        put_offs.note(JOB, number, fault(errno.EMFILE), True)
    put_offs.note(SEARCH, 3, fault(errno.EIO), True)
    words = put_offs.in_words()
    assert words.startswith("put off by faults of the system: 8 (job 0: Too many open files, job 1")
    assert words.endswith(", ...)")
    put_offs.keep(JOB, lambda jobs: set())
    assert put_offs.in_words() == "put off by faults of the system: 1 (search of study 3: Input/output error)"
    put_offs.over(SEARCH, 3)
    assert put_offs.in_words() == ""
