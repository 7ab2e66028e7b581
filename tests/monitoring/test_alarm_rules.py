"""Conditions of the ledger become alarms, and go when they are over."""

from __future__ import annotations

import time

import pytest
from sqlalchemy import text

from scarnode.config import DestinationSection, NotifySection, Settings, StudySection, TlsSection
from scarnode.ledger import queries
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import DeliveryReport
from scarnode.monitoring.alarm_rules import update_alarms
from tests.ledger.builders import TO_PACS, analysed, plan, received, verdict

PACS = {"pacs": DestinationSection(host="h", port=104, ae_title="PACS")}


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", actor="test")
    yield ledger
    ledger.close()


def settings(destinations=PACS, **notify) -> Settings:
    return Settings(
        notify=NotifySection(**notify), destinations=destinations, study=StudySection(quiet_seconds=1), tls=TlsSection()
    )


def queue(ledger: Ledger, number: int) -> None:
    study = f"1.2.{number}"
    ledger.studies.add_instances([received(n, study) for n in range(1, 4)])
    [found] = ledger.studies.quiet_studies(0)
    newest, _ = ledger.studies.study_files(found)
    ledger.studies.close_study(found, newest, [verdict()], [plan(f"job{number}")])


def run(ledger: Ledger, number: int, flags: tuple[str, ...] = (), hold: tuple[str, ...] = ()) -> int:
    queue(ledger, number)
    claimed = ledger.jobs.claim("host:0", 60)
    ledger.jobs.finish(claimed, analysed(f"job{number}", flags), TO_PACS, hold)
    return claimed.id


def fail(ledger: Ledger, number: int) -> int:
    queue(ledger, number)
    claimed = ledger.jobs.claim("host:0", 60)
    ledger.jobs.fail(claimed, "of no use", 1, True)
    return claimed.id


def standing(ledger: Ledger) -> dict[str, str]:
    return {row.name: row.detail for row in queries.list_alarms(ledger)}


def raised(ledger: Ledger, name: str) -> int:
    return sum(row.name == name for row in queries.list_alarms(ledger, past=True))


def age(ledger: Ledger, seconds: float) -> None:
    """Let all that is written down have happened earlier."""
    with ledger.store.writing() as session:
        for column in ("event.at", "job.created_at", "study.last_received_at"):
            table, _, name = column.partition(".")
            session.execute(text(f"UPDATE {table} SET {name} = {name} - :s"), {"s": seconds})


def test_a_ledger_in_which_all_is_well_has_no_alarm(ledger):
    run(ledger, 1)
    update_alarms(ledger, settings())
    assert standing(ledger) == {}


def test_every_failed_job_is_news_and_its_end_is_none(ledger):
    first = fail(ledger, 1)
    for _ in range(3):
        update_alarms(ledger, settings())
    assert standing(ledger) == {"failed_jobs": f"1 failed for good: job {first} (scarnode jobs list --state failed)"}
    assert raised(ledger, "failed_jobs") == 1
    second = fail(ledger, 2)
    update_alarms(ledger, settings())
    assert standing(ledger)["failed_jobs"].startswith(f"2 failed for good: job {second}, {first} ")
    assert raised(ledger, "failed_jobs") == 2
    ledger.jobs.cancel(first)
    update_alarms(ledger, settings())
    assert standing(ledger)["failed_jobs"].startswith(f"1 failed for good: job {second} ")
    assert raised(ledger, "failed_jobs") == 2
    ledger.jobs.cancel(second)
    update_alarms(ledger, settings())
    assert standing(ledger) == {}


def test_held_jobs_where_that_is_wanted(ledger):
    job = run(ledger, 1, ("NO_HEART",), ("NO_HEART",))
    update_alarms(ledger, settings())
    assert standing(ledger) == {}
    update_alarms(ledger, settings(held_jobs=True))
    assert standing(ledger)["held_jobs"].startswith(f"1 held for a person: job {job} ")
    update_alarms(ledger, settings(held_jobs=False))
    assert standing(ledger) == {}


def test_a_job_that_waits_too_long(ledger):
    queue(ledger, 1)
    age(ledger, 3000)
    update_alarms(ledger, settings())
    assert standing(ledger) == {}
    age(ledger, 1000)
    update_alarms(ledger, settings())
    assert standing(ledger)["queue_age"].startswith("job 1 waits to be analysed since 20")
    update_alarms(ledger, settings(queue_minutes=0))
    assert standing(ledger) == {}


def test_an_old_job_that_was_just_asked_for_again_waits_since_then(ledger):
    job = fail(ledger, 1)
    age(ledger, 10_000)
    ledger.jobs.retry(job, TO_PACS)
    update_alarms(ledger, settings())
    assert "queue_age" not in standing(ledger)


def test_a_study_that_is_not_searched(ledger):
    ledger.studies.add_instances([received(1)])
    age(ledger, 3000)
    update_alarms(ledger, settings())
    assert standing(ledger) == {}
    age(ledger, 1000)
    update_alarms(ledger, settings())
    assert "a study waits to be searched since 20" in standing(ledger)["queue_age"]


def refuse(ledger: Ledger) -> None:
    ledger.deliveries.report_deliveries(
        [
            DeliveryReport(due.id, False, "PACS: full. PATIENT^NAME", time.time() - 1)
            for due in ledger.deliveries.due_deliveries("pacs")
        ]
    )


def test_a_destination_that_does_not_take_results_for_long(ledger):
    job = run(ledger, 1)
    age(ledger, 4000)
    update_alarms(ledger, settings())
    assert standing(ledger) == {}, "nothing was tried yet"
    refuse(ledger)
    update_alarms(ledger, settings())
    assert standing(ledger)["destination_pacs"].startswith(f"results wait for pacs, those of job {job} since 20")
    assert "PATIENT" not in standing(ledger)["destination_pacs"], "what a peer says may hold patient data"
    update_alarms(ledger, settings(destination_minutes=120))
    assert standing(ledger) == {}
    update_alarms(ledger, settings())
    update_alarms(ledger, settings(destinations={}))
    assert standing(ledger) == {}, "a destination that is no longer named needs nothing"
    update_alarms(ledger, settings())
    ledger.deliveries.report_deliveries(
        [DeliveryReport(due.id, True, "", None) for due in ledger.deliveries.due_deliveries("pacs")]
    )
    update_alarms(ledger, settings())
    assert standing(ledger) == {}


def test_flags_over_a_rate_among_the_last_results(ledger):
    for number, flags in enumerate([("BAD_NULLING",), ("FEW_SLICES",), (), ("BAD_NULLING", "FEW_SLICES")]):
        run(ledger, number, flags)
    update_alarms(ledger, settings(flagged_results=5))
    assert standing(ledger) == {}, "there are not so many results yet"
    update_alarms(ledger, settings(flagged_results=4))
    assert standing(ledger) == {"flag_rate": "3 of the last 4 results have flags (limit: 50 %)"}
    update_alarms(ledger, settings(flagged_results=2))
    assert standing(ledger) == {}, "exactly at the limit"
    update_alarms(ledger, settings(flagged_results=4, flagged_percent=0))
    assert standing(ledger) == {}


def test_a_certificate_that_ends_soon(ledger, authority):
    soon, later = authority.issue("soon", days=10), authority.issue("later", days=20)
    for made, alarms in ((soon, {"certificate"}), (later, set())):
        tls = TlsSection(certificate=made.certificate, private_key=made.private_key)
        update_alarms(ledger, replace_tls(settings(), tls))
        assert set(standing(ledger)) == alarms


def replace_tls(given: Settings, tls: TlsSection) -> Settings:
    return given.model_copy(update={"tls": tls})
