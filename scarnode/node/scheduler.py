"""Everything timed: APScheduler runs each task at a steady pace, and at once when another task made work for it."""

from __future__ import annotations

import logging
import random
import threading
import traceback
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.base import BaseTrigger
from sqlalchemy.exc import OperationalError

log = logging.getLogger(__name__)

MOST_AT_ONCE = 1000
"""Tasks that may run at the same time: all of them. A thread is made when it is first needed."""

EVERY = 1.0
"""Seconds between looks for work, should a wake-up ever be missed."""


class _Pace(BaseTrigger):
    """Fires every `EVERY` seconds, all tasks of a process at the same moment: it wakes once, and not once for each.

    The moment is another one in each process: several share a ledger. APScheduler's interval trigger counts on from the
    last time it fired, second by second: a clock set right by years after a boot keeps it busy for hours.
    """

    def __init__(self) -> None:
        self._moment = random.uniform(0, EVERY)

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime:
        left = EVERY - (now.timestamp() - self._moment) % EVERY
        # Who ran just now, a hair before the moment, has the next one: APScheduler would loop on a pause of zero.
        return now + timedelta(seconds=left if left > EVERY / 10 else left + EVERY)


class Scheduler:
    """Runs named tasks, each in one thread at most, until stopped.

    Parameters
    ----------
    tasks : mapping of str to callable
        A task that raises is logged and runs again at its next time.
    """

    def __init__(self, tasks: Mapping[str, Callable[[], object]]) -> None:
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it reports every skipped second of a busy task
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            executors={"default": ThreadPoolExecutor(MOST_AT_ONCE)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        self._stopped = threading.Event()
        self._heartbeat = threading.Thread(target=self._keep_pace, name="pulse", daemon=True)
        self._names: set[str] = set()
        self._pace = _Pace()
        self.change(tasks)

    def change(self, tasks: Mapping[str, Callable[[], object]]) -> None:
        """Replace the tasks; one of a name that was there goes on as it is, one that runs may end."""
        for name in self._names - tasks.keys():
            self._scheduler.remove_job(name)
        for name in tasks.keys() - self._names:
            self._scheduler.add_job(_guarded(name, tasks[name]), self._pace, id=name)
        self._names = set(tasks)

    @property
    def names(self) -> frozenset[str]:
        """Of the tasks that there are."""
        return frozenset(self._names)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()
        self._heartbeat.start()

    def wake(self, name: str, seconds: float = 0.0) -> None:
        """Run a task now, or in so many seconds, instead of at its next time."""
        try:
            self._scheduler.modify_job(name, next_run_time=datetime.now(timezone.utc) + timedelta(seconds=seconds))
        except JobLookupError:  # between stopping and stopped
            log.debug("no task %s to wake", name)

    def stop(self) -> None:
        """Wait for the running tasks and begin no more."""
        self._stopped.set()
        self._scheduler.shutdown(wait=True)

    def _keep_pace(self) -> None:
        """Wake what waits for an hour that the system's clock went back: APScheduler plans by that clock alone."""
        while not self._stopped.wait(EVERY):
            far = datetime.now(timezone.utc) + timedelta(seconds=2 * EVERY)
            for job in self._scheduler.get_jobs():
                if job.next_run_time is not None and job.next_run_time > far:
                    self.wake(job.id)


def _guarded(name: str, task: Callable[[], object]) -> Callable[[], None]:
    last: list[str] = [""]

    def run() -> None:
        try:
            task()
            last[0] = ""
        except Exception as error:
            where = f"{type(error).__name__} {traceback.extract_tb(error.__traceback__)[-1]}"
            if where != last[0]:  # a cause that lasts (a full disk, a database away) is told once
                told = None if isinstance(error, OperationalError) else error  # where it came up says nothing
                log.error(
                    "task %s failed (%s); it runs again in %g s", name, type(error).__name__, EVERY, exc_info=told
                )
            last[0] = where

    return run
