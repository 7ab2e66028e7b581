"""Queued jobs run in order of arrival within their priority."""

from dataclasses import replace

import pytest
from sqlalchemy import text

from scarnode.ledger import queries
from tests.ledger.builders import open_ledger, plan, received, verdict

pytestmark = pytest.mark.usefixtures("database")


@pytest.fixture
def ledger(tmp_path):
    ledger = open_ledger(tmp_path)
    yield ledger
    ledger.close()


def study(ledger, number, callers=("MR1",), urgent=("MR9",)):
    uid = f"1.9.{number}"
    ledger.studies.add_instances([replace(received(n, uid), calling_ae=caller) for n, caller in enumerate(callers, 1)])
    [found] = ledger.studies.quiet_studies(0)
    newest, _ = ledger.studies.study_files(found)
    ledger.studies.close_study(found, newest, [verdict()], [plan(f"key{number}")], urgent=urgent)


def test_urgent_senders_first_then_the_oldest(ledger):
    for number, callers in enumerate([("MR1",), ("MR1", "MR9"), ("MR2",), ("MR9",)], 1):
        study(ledger, number, callers)
    assert [job.priority for job in queries.list_jobs(ledger)] == ["urgent", "routine", "urgent", "routine"]
    assert [ledger.jobs.claim("host:0", 60).key for _ in range(4)] == ["key2", "key4", "key1", "key3"]


def test_without_the_setting_all_are_routine(ledger):
    for number in (1, 2):
        study(ledger, number, ("MR9",), urgent=())
    assert [ledger.jobs.claim("host:0", 60).key for _ in range(2)] == ["key1", "key2"]


def test_the_next_job_is_found_by_an_index(ledger):
    if ledger.store.shared:
        return  # its planner goes by the number of rows, of which there are none here
    with ledger.reading() as session:
        query = "SELECT id FROM job WHERE state = 'queued' AND due_at <= 5 ORDER BY priority, id LIMIT 1"
        steps = [row[-1] for row in session.execute(text("EXPLAIN QUERY PLAN " + query))]
    assert steps == ["SEARCH job USING INDEX job_queue (state=?)"]
