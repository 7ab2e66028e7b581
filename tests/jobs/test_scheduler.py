"""Tasks keep their pace whatever the system's clock does."""

import threading
import time
from datetime import datetime, timedelta

import pytest
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers

from scarnode.jobs import scheduler as ours
from scarnode.jobs.scheduler import EVERY, Scheduler


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
