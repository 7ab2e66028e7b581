"""Tasks keep their pace whatever the system's clock does."""

import threading
import time
from datetime import datetime, timedelta

import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers

from scarnode.node import scheduler as ours
from scarnode.node.scheduler import EVERY, Scheduler


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


@pytest.mark.parametrize("days", [-9000, -0.2, 0.2, 9000])
def test_a_jump_of_the_clock_delays_no_task_for_long(clock, days):
    ran = threading.Semaphore(0)
    scheduler = Scheduler({"task": ran.release})
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
    scheduler = Scheduler({name: ran[name].release for name in ("stays", "goes")})
    scheduler.start()
    try:
        for name in ("stays", "goes"):
            assert ran[name].acquire(timeout=3 * EVERY)
        scheduler.change({name: ran[name].release for name in ("stays", "comes")})
        assert ran["comes"].acquire(timeout=3 * EVERY)
        while ran["goes"].acquire(blocking=False):  # one may have been under way
            pass
        while ran["stays"].acquire(blocking=False):
            pass
        assert ran["stays"].acquire(timeout=3 * EVERY)
        assert not ran["goes"].acquire(blocking=False)
        scheduler.wake("goes")
        assert not ran["goes"].acquire(timeout=0.2)
    finally:
        scheduler.stop()


def test_a_task_that_comes_later_runs_at_the_same_moments():
    times: dict[str, list[float]] = {"first": [], "later": []}
    scheduler = Scheduler({"first": lambda: times["first"].append(time.monotonic())})
    scheduler.start()
    try:
        time.sleep(0.4 * EVERY)
        scheduler.change({name: lambda name=name: times[name].append(time.monotonic()) for name in times})
        while len(times["later"]) < 4:
            time.sleep(0.1)
    finally:
        scheduler.stop()
    apart = [min(abs(at - other) for other in times["first"]) for at in times["later"]]
    assert sorted(apart)[1] < 0.1 * EVERY
