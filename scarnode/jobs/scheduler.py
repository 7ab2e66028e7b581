"""Everything timed: APScheduler runs each task at a steady pace, and at once when another task made work for it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timezone

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.base import JobLookupError
from apscheduler.schedulers.background import BackgroundScheduler

log = logging.getLogger(__name__)

EVERY = 1.0
"""Seconds between looks for work, should a wake-up ever be missed."""


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
            executors={"default": ThreadPoolExecutor(len(tasks))},
            job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
        )
        for name, task in tasks.items():
            self._scheduler.add_job(_guarded(name, task), "interval", seconds=EVERY, id=name)

    def start(self) -> None:
        """Begin."""
        self._scheduler.start()

    def wake(self, name: str) -> None:
        """Run a task now instead of at its next time."""
        try:
            self._scheduler.modify_job(name, next_run_time=datetime.now(timezone.utc))
        except JobLookupError:  # between stopping and stopped
            log.debug("no task %s to wake", name)

    def stop(self) -> None:
        """Wait for the running tasks and begin no more."""
        self._scheduler.shutdown(wait=True)


def _guarded(name: str, task: Callable[[], object]) -> Callable[[], None]:
    def run() -> None:
        try:
            task()
        except Exception:
            log.exception("task %s failed; it runs again in %g s", name, EVERY)

    return run
