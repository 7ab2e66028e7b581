"""Tasks keep their pace whatever the system's clock does."""

import threading
import time
from datetime import datetime, timedelta

import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers

from scarnode.node import scheduler as ours
from scarnode.node.scheduler import Scheduler, Task

EVERY = 1.0


@pytest.fixture
def clock(monkeypatch):
    offset = [timedelta(0)]

    class FalseDatetime(datetime):
        @classmethod
        def now(cls, tz=None):
            return datetime.now(tz) + offset[0]

    for module in (executors, schedulers, ours):
        monkeypatch.setattr(module, "datetime", FalseDatetime)
    return offset


def tasks_of(runs):
    return {name: Task(run, EVERY) for name, run in runs.items()}


def scheduler_of(runs):
    scheduler = Scheduler()
    scheduler.change(tasks_of(runs))
    return scheduler


@pytest.mark.parametrize("days", [-9000, -0.2, 0.2, 9000])
def test_a_jump_of_the_clock_delays_no_task_for_long(clock, days):
    ran = threading.Semaphore(0)
    scheduler = scheduler_of({"task": ran.release})
    scheduler.start()
    try:
        assert ran.acquire(timeout=3 * EVERY)
        clock[0] = timedelta(days=days)
        start = time.monotonic()
        for _ in range(3):
            assert ran.acquire(timeout=10)
        assert time.monotonic() - start < 8 * EVERY
    finally:
        scheduler.stop()


def test_tasks_come_and_go_while_others_run_on():
    ran = {name: threading.Semaphore(0) for name in ("stays", "goes", "comes")}
    scheduler = scheduler_of({name: ran[name].release for name in ("stays", "goes")})
    scheduler.start()
    try:
        for name in ("stays", "goes"):
            assert ran[name].acquire(timeout=3 * EVERY)
        scheduler.change(tasks_of({name: ran[name].release for name in ("stays", "comes")}))
        assert ran["comes"].acquire(timeout=3 * EVERY)
        while ran["goes"].acquire(blocking=False):  # one may have been under way
            pass
        while ran["stays"].acquire(blocking=False):
            pass
        assert ran["stays"].acquire(timeout=3 * EVERY)
        assert not ran["goes"].acquire(blocking=False)
        assert not scheduler.wake("goes")
        assert not ran["goes"].acquire(timeout=0.2)
    finally:
        scheduler.stop()


def test_a_task_that_comes_later_runs_at_the_same_moments():
    times: dict[str, list[float]] = {"first": [], "later": []}
    scheduler = scheduler_of({"first": lambda: times["first"].append(time.monotonic())})
    scheduler.start()
    try:
        time.sleep(0.4 * EVERY)
        scheduler.change(tasks_of({name: lambda name=name: times[name].append(time.monotonic()) for name in times}))
        while len(times["later"]) < 4:
            time.sleep(0.1)
    finally:
        scheduler.stop()
    apart = [min(abs(at - other) for other in times["first"]) for at in times["later"]]
    assert sorted(apart)[1] < 0.1 * EVERY


def test_a_task_runs_at_once_then_at_its_own_interval_and_when_it_is_woken():
    times = {"often": [], "rarely": []}
    scheduler = Scheduler()
    often = Task(lambda: times["often"].append(time.monotonic()), 0.2)
    scheduler.change({"often": often, "rarely": Task(lambda: times["rarely"].append(time.monotonic()), 3600)})
    start = time.monotonic()
    scheduler.start()
    try:
        time.sleep(1.3)
        assert 5 <= len(times["often"]) <= 9
        assert len(times["rarely"]) == 1
        assert times["rarely"][0] - start < 0.2
        assert scheduler.wake("rarely")
        assert scheduler.wake("rarely", 0.4)
        time.sleep(0.2)
        assert len(times["rarely"]) <= 2
        time.sleep(0.5)
        assert len(times["rarely"]) in (2, 3)
    finally:
        scheduler.stop()


def test_a_clock_that_jumps_makes_no_task_run_more_often(clock):
    ran = []
    scheduler = scheduler_of({"task": lambda: ran.append(time.monotonic())})
    scheduler.start()
    try:
        for days in (1, 365, -365, 0):
            clock[0] = timedelta(days=days)
            time.sleep(1.0)
        assert len(ran) <= 2 * 4 + 2
    finally:
        scheduler.stop()


def test_a_task_that_still_runs_is_not_begun_again_beside_it():
    begun, go = [], threading.Event()
    scheduler = Scheduler()
    scheduler.change({"task": Task(lambda: (begun.append(1), go.wait(10)), 0.1)})
    scheduler.start()
    try:
        time.sleep(0.3)
        scheduler.wake("task")
        time.sleep(0.3)
        assert len(begun) == 1
    finally:
        go.set()
        scheduler.stop()
