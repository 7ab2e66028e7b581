"""Everything timed: APScheduler runs each task at its interval, and at once when there is news for it."""

from __future__ import annotations

import logging
import random
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.job import Job
from apscheduler.jobstores.base import JobLookupError
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.interval import IntervalTrigger
from sqlalchemy.exc import OperationalError

log = logging.getLogger(__name__)

MOST_AT_ONCE = 1000
"""Tasks that may run at the same time: all of them. A thread is made when it is first needed."""


LONGEST_WAIT = timedelta(seconds=1.0)
"""After this time the scheduler looks at the clock again."""


@dataclass(frozen=True)
class Task:
    """What is to be done again and again.

    Attributes
    ----------
    run : callable
        One that raises is logged and runs again at its next time.
    seconds : float
        Interval from start to start; a run that takes longer makes none begin beside it.
    """

    run: Callable[[], object]
    seconds: float = 1.0


Tasks = Mapping[str, Task]


class _Interval(IntervalTrigger):
    """An interval trigger that counts from its start date, and not from the last run.

    APScheduler's own adds interval to interval until it reaches the time of day: after a clock that was set right by
    years it computes for minutes. This one asks it each time for the first moment after now.
    """

    def get_next_fire_time(self, _previous: datetime | None, now: datetime) -> datetime | None:
        # Now itself does not count: the scheduler would ask again and again for the same moment.
        return super().get_next_fire_time(None, now + timedelta(milliseconds=1))


class _JobStore(MemoryJobStore):
    """Jobs in memory, which run at once when the system's clock was set back: else they wait for their former times.

    APScheduler waits by a clock that nobody sets, so it asks at the latest one interval after the clock was set.
    """

    def __init__(self) -> None:
        super().__init__()
        self._latest = datetime.min.replace(tzinfo=timezone.utc)

    def get_due_jobs(self, now: datetime) -> list[Job]:
        """Return the jobs that are due, the earliest first."""
        set_back, self._latest = now < self._latest, now
        if set_back:
            for job in self.get_all_jobs():
                job.modify(next_run_time=now)
        return super().get_due_jobs(now)

    def get_next_run_time(self) -> datetime | None:
        """Return when the first job is due, but a moment at most `LONGEST_WAIT` away.

        APScheduler reads the clock again for the time to wait. A clock that is set back by hours while a task begins
        would else make it wait for these hours.
        """
        first = super().get_next_run_time()
        return None if first is None else min(first, datetime.now(timezone.utc) + LONGEST_WAIT)


class Scheduler:
    """Runs named tasks, each in one thread at most, until stopped. A task runs first when it comes."""

    def __init__(self) -> None:
        logging.getLogger("apscheduler").setLevel(logging.CRITICAL)  # it reports every skipped second of a busy task
        self._scheduler = BackgroundScheduler(
            timezone=timezone.utc,
            jobstores={"default": _JobStore()},
            executors={"default": ThreadPoolExecutor(MOST_AT_ONCE)},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        # All tasks of a process run at the same moments: it wakes once, and not once for each. Several processes that
        # share a ledger look at other moments.
        self._start = datetime(2000, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=random.random())
        self._names: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """Of the tasks that there are."""
        return self._names

    def change(self, tasks: Tasks) -> None:
        """Replace the tasks; one of a name that was there goes on as it is, but runs now. One that runs may end."""
        for name in self._names - tasks.keys():
            self._scheduler.remove_job(name)
        for name in self._names & tasks.keys():
            self.wake(name)
        for name in tasks.keys() - self._names:
            task = tasks[name]
            trigger = _Interval(seconds=task.seconds, start_date=self._start)
            self._scheduler.add_job(_guarded(name, task.run), trigger, id=name, next_run_time=_in(0.0))
        self._names = frozenset(tasks)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def wake(self, name: str, seconds: float = 0.0) -> bool:
        """Run a task now, or in so many seconds, instead of at its next time; return whether there is such a task."""
        try:
            self._scheduler.modify_job(name, next_run_time=_in(seconds))
        except JobLookupError:  # between stopping and stopped, or gone with its destination
            return False
        return True

    def stop(self) -> None:
        """Wait for the running tasks and begin no more."""
        self._scheduler.shutdown(wait=True)


def _in(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def _guarded(name: str, task: Callable[[], object]) -> Callable[[], None]:
    last = ""

    def run() -> None:
        nonlocal last
        try:
            task()
            last = ""
        except Exception as error:
            where = f"{type(error).__name__} {traceback.extract_tb(error.__traceback__)[-1]}"
            if where != last:  # a cause that lasts (a full disk, a database away) is logged once
                trace = None if isinstance(error, OperationalError) else error  # where it came up says nothing
                log.error("task %s failed (%s); it will run again", name, type(error).__name__, exc_info=trace)
            last = where

    return run
