"""A task of the ledger is woken when somebody wrote to it or something came due, and not otherwise."""

from __future__ import annotations

import sqlite3
from contextlib import closing

import pytest

from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger.ledger import Ledger
from scarnode.node.ledger_news import EVERY, NAME, LedgerNews
from scarnode.util.clock import monotonic_time
from tests.harness.clock import ManualClock
from tests.ledger.history import received

QUIET = 30.0


class Tasks:
    """What is looked at, and a scheduler that runs what is woken at once; `later` has what is woken at a later time."""

    def __init__(self, ledger):
        self.later: list[tuple[str, float]] = []
        self.runs: dict[str, int] = {}
        self._tasks = {}
        self.news = LedgerNews(ledger, lambda: QUIET, self._wake)

    def add(self, name, outcome=lambda: None):
        """Add a task, which runs a first time, as the scheduler does it."""

        def run():
            self.runs[name] = self.runs.get(name, 0) + 1
            return outcome()

        self._tasks[name] = self.news.task(name, run)
        self._tasks[name].run()

    def remove(self, name):
        del self._tasks[name]

    def _wake(self, name, seconds):
        if seconds:
            self.later.append((name, seconds))
        elif name in self._tasks:
            self._tasks[name].run()
        return name in self._tasks


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'a folder' / 'ledger.sqlite'}", "test")
    yield ledger
    ledger.close()


@pytest.fixture
def tasks(ledger):
    return Tasks(ledger)


def by_another_process(ledger, statement):
    with closing(sqlite3.connect(ledger.store.engine.url.database)) as database, database:
        database.execute(statement)


def study(ledger, last_received_at):
    ledger.studies.add_instances([ReceivedInstance(**received(ManualClock(monotonic_time()), 1, 1, 1, "MR", 1))])
    by_another_process(ledger, f"UPDATE study SET last_received_at = {last_received_at}")


def test_tasks_rest_until_anyone_writes(ledger, tasks):
    tasks.add("task"), tasks.add("other")
    for _ in range(5):
        tasks.news.look()
    assert tasks.runs == {"task": 1, "other": 1}
    ledger.alarms.raise_alarm("disk_spool", "full")
    tasks.news.look(), tasks.news.look()
    assert tasks.runs == {"task": 2, "other": 2}
    by_another_process(ledger, "UPDATE alarm SET detail = 'by a command'")
    tasks.news.look(), tasks.news.look()
    assert tasks.runs == {"task": 3, "other": 3}
    ledger.alarms.standing_alarms()
    ledger.store.try_to_write()  # the lock alone changes nothing
    tasks.news.look()
    assert tasks.runs == {"task": 3, "other": 3}


def test_what_was_written_while_a_task_ran_is_looked_at(ledger, tasks):
    tasks.add("task", lambda: ledger.alarms.set_alarm("disk_spool", "full"))
    tasks.news.look(), tasks.news.look(), tasks.news.look()
    assert tasks.runs == {"task": 2}


def test_a_task_that_did_not_come_to_its_end_runs_again(tasks):
    outcomes = iter([False, ValueError("away"), None, None])

    def outcome():
        end = next(outcomes)
        if isinstance(end, Exception):
            raise end
        return end

    tasks.add("task", outcome)
    with pytest.raises(ValueError, match="away"):
        tasks.news.look()
    tasks.news.look(), tasks.news.look(), tasks.news.look()
    assert tasks.runs == {"task": 3}


def test_a_task_runs_every_time_while_something_is_due(ledger, tasks):
    study(ledger, monotonic_time() - QUIET - 1)
    tasks.add("task")
    tasks.news.look(), tasks.news.look()
    assert tasks.runs == {"task": 3}
    assert tasks.later == []


def test_the_next_look_is_at_the_moment_when_something_comes_due(ledger, tasks):
    study(ledger, monotonic_time() - QUIET + EVERY / 2)
    tasks.add("task")
    tasks.news.look(), tasks.news.look()
    assert tasks.runs == {"task": 1}
    assert [name for name, _ in tasks.later] == [NAME, NAME]
    assert all(EVERY / 4 < seconds < EVERY / 2 for _, seconds in tasks.later)


def test_what_is_due_much_later_wakes_nobody(ledger, tasks):
    study(ledger, monotonic_time())
    tasks.add("task")
    tasks.news.look(), tasks.news.look()
    assert (tasks.runs, tasks.later) == ({"task": 1}, [])


def test_of_a_ledger_of_which_nothing_can_be_told_every_task_is_woken_each_time(ledger, tasks, monkeypatch):
    monkeypatch.setattr(ledger.store.changes, "_file", "")
    tasks.add("task")
    tasks.news.look()
    assert tasks.runs == {"task": 2}


def test_a_task_that_is_gone_is_forgotten_and_may_come_back(ledger, tasks):
    tasks.add("deliver-pacs")
    tasks.remove("deliver-pacs")
    ledger.alarms.raise_alarm("disk_spool", "full")
    tasks.news.look()
    tasks.add("deliver-pacs")
    ledger.alarms.clear_alarm("disk_spool")
    tasks.news.look(), tasks.news.look()
    assert tasks.runs == {"deliver-pacs": 3}
