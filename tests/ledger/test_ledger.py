"""The ledger's promises: nothing twice, nothing stuck, every change with a reason."""

import stat
import subprocess
import sys
import time
from contextlib import closing, suppress

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from sqlalchemy import text

from scarnode.ledger import FINAL, JobState, queries
from scarnode.ledger.due import trust_no_clock
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import DeliveryReport
from scarnode.ledger.schema import MIGRATIONS, REVISIONS
from scarnode.ledger.tables import Base
from scarnode.util.errors import LedgerError
from tests.harness.clock import ManualClock

from .builders import STUDY, TO_PACS, analysed, correction, failure_report, open_ledger, plan, received, verdict


@pytest.fixture
def ledger(tmp_path, database):
    ledger = open_ledger(tmp_path)
    yield ledger
    ledger.close()


def close(ledger, *plans, numbers=range(1, 4)):
    """Register a study's instances and queue the planned jobs."""
    ledger.studies.add_instances([received(number) for number in numbers])
    [study] = ledger.studies.quiet_studies(0)
    newest, _ = ledger.studies.study_files(study)
    ledger.studies.close_study(study, newest, [verdict()], plans)
    return study


def state(ledger, job=1):
    return queries.get_job(ledger, job).state


def deliver(ledger, sent=True, retry_at=None, destination="pacs"):
    reports = [
        DeliveryReport(due.id, sent, "as it went", retry_at) for due in ledger.deliveries.due_deliveries(destination)
    ]
    ledger.deliveries.report_deliveries(reports)
    return len(reports)


def test_the_walk_of_a_job(ledger):
    close(ledger, plan("a"))
    assert state(ledger) == "queued"
    claimed = ledger.jobs.claim("host:0", 60)
    assert state(ledger) == "running"
    assert ledger.jobs.claim("host:1", 60) is None
    ledger.jobs.finish(claimed, analysed("a"), TO_PACS)
    assert state(ledger) == "delivering"
    assert deliver(ledger) == 3
    assert state(ledger) == "done"
    story = [event.to_state for event in queries.list_events(ledger, 1) if event.to_state]
    assert story == ["queued", "running", "delivering", "sent", "sent", "sent", "done"]
    summary = queries.get_job(ledger, 1)
    assert (summary.scar_volume_cm3, summary.lge_percent) == (12.0, 10.7)


def test_a_study_is_quiet_only_after_its_last_instance(tmp_path, database):
    clock = ManualClock()
    with closing(open_ledger(tmp_path, clock)) as ledger:
        ledger.studies.add_instances([received(1)])
        clock.later(95)
        ledger.studies.add_instances([received(2)])
        clock.later(5)
        assert ledger.studies.quiet_studies(6) == []
        assert len(ledger.studies.quiet_studies(5)) == 1


@pytest.mark.parametrize("stamp", [0.0, 9e9])
def test_the_time_of_a_file_says_nothing_about_quiet(ledger, stamp):
    ledger.studies.add_instances([received(1, at=stamp)])
    assert ledger.studies.quiet_studies(5) == []
    assert len(ledger.studies.quiet_studies(0)) == 1


def test_times_written_by_a_clock_that_was_set_back_since_hold_nothing_up(ledger):
    close(ledger, plan("a"))
    close(ledger, plan("b", range(11, 14)), numbers=range(11, 14))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a"), TO_PACS)
    ledger.studies.add_instances([received(9)])
    with ledger.store.engine.begin() as connection:
        for statement in (
            "UPDATE study SET last_received_at = last_received_at + 36000",
            "UPDATE job SET due_at = due_at + 36000",
            "UPDATE delivery SET due_at = due_at + 36000",
        ):
            connection.execute(text(statement))
    assert ledger.jobs.claim("host:0", 60) is None
    assert ledger.deliveries.due_deliveries("pacs") == ledger.studies.quiet_studies(0) == []
    trust_no_clock(ledger, longest_pause=3600)
    assert len(ledger.deliveries.due_deliveries("pacs")) == 3
    assert len(ledger.studies.quiet_studies(0)) == 1
    assert ledger.jobs.claim("host:0", 60) is not None


def test_instances_that_come_during_the_search_reopen_the_study(ledger):
    ledger.studies.add_instances([received(1)])
    [study] = ledger.studies.quiet_studies(0)
    newest, paths = ledger.studies.study_files(study)
    assert len(paths) == 1
    ledger.studies.add_instances([received(2)])
    ledger.studies.close_study(study, newest, [], [])
    assert ledger.studies.quiet_studies(0) == [study]


def test_a_search_that_comes_late_changes_nothing_that_a_later_one_found(ledger):
    """Cut off from the ledger, its study was searched by another, with more images."""
    ledger.studies.add_instances([received(1), received(2)])
    [study] = ledger.studies.quiet_studies(0)
    seen, _ = ledger.studies.study_files(study)
    ledger.studies.add_instances([received(3)])
    newest, _ = ledger.studies.study_files(study)
    ledger.studies.close_study(study, newest, [verdict()], [plan("all")])
    ledger.studies.close_study(study, seen, [], [plan("part", range(1, 3))])
    assert [(job.state, job.slices) for job in queries.list_jobs(ledger)] == [("queued", 3)]
    assert len(queries.list_series(ledger)) == 1
    assert ledger.studies.quiet_studies(0) == []


def test_a_resend_makes_no_second_instance_and_no_second_job(ledger):
    close(ledger, plan("a"))
    ledger.studies.add_instances([received(1)])
    [study] = ledger.studies.quiet_studies(0)
    newest, paths = ledger.studies.study_files(study)
    assert len(paths) == 3
    ledger.studies.close_study(study, newest, [verdict()], [plan("a")])
    assert len(queries.list_jobs(ledger)) == 1
    assert ledger.studies.quiet_studies(0) == []


def test_late_images_supersede_a_waiting_job_and_name_a_delivered_one(ledger):
    close(ledger, plan("a"))
    close(ledger, plan("b", range(1, 5)), numbers=[4])
    assert state(ledger, 1) == "superseded"
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("b"), TO_PACS)
    deliver(ledger)
    close(ledger, plan("c", range(1, 6)), numbers=[5])
    claimed = ledger.jobs.claim("host:0", 60)
    assert claimed.predecessor == ("9.b.2", "9.b.2.0")
    assert queries.get_job(ledger, 3).revises == 2
    assert state(ledger, 2) == "done"


def test_a_running_job_that_was_superseded_can_not_finish(ledger):
    close(ledger, plan("a"))
    claimed = ledger.jobs.claim("host:0", 60)
    close(ledger, plan("b", range(1, 5)), numbers=[4])
    ledger.jobs.finish(claimed, analysed("a"), TO_PACS)
    assert state(ledger, 1) == "superseded"
    assert deliver(ledger) == 0


def test_a_correction_waits_for_the_network_and_revises_it(ledger):
    close(ledger, plan("a"), correction("c"))
    network = ledger.jobs.claim("host:0", 60)
    assert network.correction is None
    assert ledger.jobs.claim("host:1", 60) is None
    ledger.jobs.finish(network, analysed("a"), TO_PACS)
    claimed = ledger.jobs.claim("host:1", 60)
    assert claimed.correction.sop_instance_uid == "8.c"
    assert (claimed.predecessor, claimed.revises_correction) == (("9.a.2", "9.a.2.0"), False)
    ledger.jobs.finish(claimed, analysed("c"), TO_PACS)
    deliver(ledger)
    close(ledger, correction("d"), numbers=[9])
    again = ledger.jobs.claim("host:1", 60)
    assert (again.predecessor, again.revises_correction) == (("9.c.2", "9.c.2.0"), True)
    assert [job.origin for job in queries.list_jobs(ledger)] == ["correction", "correction", "network"]


@pytest.mark.parametrize("end", ["held", "failed"])
def test_a_correction_takes_the_place_of_a_result_that_was_not_sent(ledger, end):
    close(ledger, plan("a"), correction("c"))
    network = ledger.jobs.claim("host:0", 60)
    if end == "held":
        ledger.jobs.finish(network, analysed("a", ("X",)), TO_PACS, ("X",))
    else:
        ledger.jobs.fail(network, "trouble", 1)
    assert state(ledger) == end
    claimed = ledger.jobs.claim("host:0", 60)
    assert claimed.predecessor is None
    assert state(ledger) == "superseded"
    assert "correction" in queries.get_job(ledger, 1).reason


def test_another_models_result_comes_before_its_correction(ledger):
    close(ledger, plan("a"))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a"), TO_PACS)
    close(ledger, plan("a"), correction("c"), numbers=[8])
    close(ledger, plan("b"), correction("d"), numbers=[9])
    assert [job.state for job in queries.list_jobs(ledger)] == ["queued", "queued", "superseded", "delivering"]
    assert ledger.jobs.claim("host:0", 60).key == "b"
    assert ledger.jobs.claim("host:0", 60) is None


def test_a_correction_of_nothing_ends_without_a_result(ledger):
    close(ledger, correction("c"))
    ledger.jobs.drop(ledger.jobs.claim("host:0", 60), "nothing was corrected")
    assert state(ledger) == "superseded"
    assert deliver(ledger) == 0


def test_attempts_are_capped(ledger, monkeypatch):
    monkeypatch.setattr("scarnode.ledger.attempts.FIRST_RETRY_SECONDS", 0.0)
    close(ledger, plan("a"))
    for attempt in range(1, 4):
        ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "the worker process ended", 3)
        assert state(ledger) == ("failed" if attempt == 3 else "queued")
    assert ledger.jobs.claim("host:0", 60) is None
    assert "attempt 3 of 3" in queries.get_job(ledger, 1).reason


def test_a_failed_attempt_waits_before_the_next(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "no memory", 3)
    assert ledger.jobs.claim("host:0", 60) is None
    assert state(ledger) == "queued"


def test_a_permanent_failure_is_not_repeated(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "pixel data can not be decoded", 3, permanent=True)
    assert state(ledger) == "failed"


def tell(ledger, destinations=TO_PACS):
    told = ledger.failures.unreported_failures()
    for job in told:
        ledger.failures.report_failure(job.id, failure_report(job.key), destinations)
    return told


def test_a_failure_for_good_is_told_once_and_the_job_stays_failed(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "pixel data can not be decoded", 3, permanent=True)
    (job,) = tell(ledger, {"pacs": ("seg", "sr", "sc"), "numbers": ("sr",)})
    assert (job.key, job.predecessor, len(job.stack.frames)) == ("a", None, 3)
    assert "pixel data can not be decoded" in job.reason
    assert tell(ledger) == []
    assert deliver(ledger, destination="numbers") == 1
    assert deliver(ledger) == 2
    assert deliver(ledger) == 0
    assert state(ledger) == "failed"


def test_a_job_with_attempts_left_or_with_a_result_is_no_failure_to_tell(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "no memory", 3)
    assert tell(ledger) == []
    close(ledger, plan("b", range(11, 14)), numbers=range(11, 14))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("b"), TO_PACS)
    deliver(ledger, sent=False)
    assert state(ledger, 2) == "failed"
    assert tell(ledger) == []


def test_a_result_after_all_names_the_report_of_the_failure(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "trouble", 1)
    tell(ledger)
    deliver(ledger)
    assert ledger.jobs.retry(1, TO_PACS) is JobState.QUEUED
    claimed = ledger.jobs.claim("host:0", 60)
    assert claimed.predecessor == ("8.a.1", "8.a.1.0")
    ledger.jobs.finish(claimed, analysed("a"), TO_PACS)
    assert deliver(ledger) == 3
    assert state(ledger) == "done"
    assert ledger.jobs.retry(1, TO_PACS) is JobState.DELIVERING
    assert deliver(ledger) == 3, "the report of the failure is not sent again"


def test_a_report_of_failure_that_nobody_got_is_taken_back_by_the_result(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "trouble", 1)
    tell(ledger)
    deliver(ledger, sent=False, retry_at=time.time() - 1)
    ledger.jobs.retry(1, TO_PACS)
    assert deliver(ledger) == 0
    claimed = ledger.jobs.claim("host:0", 60)
    assert claimed.predecessor is None
    ledger.jobs.finish(claimed, analysed("a"), TO_PACS)
    assert deliver(ledger) == 3
    assert state(ledger) == "done"


def test_a_report_given_up_is_sent_after_a_second_failure(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "trouble", 1)
    tell(ledger)
    deliver(ledger, sent=False)
    assert deliver(ledger) == 0
    ledger.jobs.retry(1, TO_PACS)
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "trouble", 1)
    assert tell(ledger) == []
    assert deliver(ledger) == 2


def test_late_images_name_the_report_of_the_failure_that_was_sent(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "trouble", 1)
    tell(ledger)
    deliver(ledger)
    close(ledger, plan("b", range(1, 5)), numbers=[4])
    assert state(ledger, 1) == "superseded"
    assert ledger.jobs.claim("host:0", 60).predecessor == ("8.a.1", "8.a.1.0")


def test_a_job_that_is_asked_for_again_while_its_report_is_built_has_none(ledger):
    close(ledger, plan("a"))
    ledger.jobs.fail(ledger.jobs.claim("host:0", 60), "trouble", 1)
    (job,) = ledger.failures.unreported_failures()
    ledger.jobs.retry(1, TO_PACS)
    ledger.failures.report_failure(job.id, failure_report("a"), TO_PACS)
    assert deliver(ledger) == 0
    assert queries.list_deliveries(ledger, 1) == []


def test_a_crash_of_the_node_is_not_the_jobs_fault_but_is_capped(tmp_path, database):
    """The job waits longer after each crash: what flaps for minutes can not use up its chances."""
    clock = ManualClock()
    start, waits = clock.now, []
    with closing(open_ledger(tmp_path, clock)) as ledger:
        close(ledger, plan("a"))
        while state(ledger) == "queued":
            before = clock.now
            while ledger.jobs.claim("host:0", 60) is None:
                clock.later(10)
            waits.append(clock.now - before)
            assert ledger.jobs.requeue_interrupted("other") == 0
            assert ledger.jobs.requeue_interrupted("host") == 1
            trust_no_clock(ledger, 60)  # at every start
        assert state(ledger) == "failed"
    assert len(waits) == 21
    assert waits[:2] == [0, 0], "the first crash costs nothing"
    assert clock.now - start > 3600
    assert max(waits) <= 610


def test_stopping_the_node_costs_a_job_nothing_however_often(ledger):
    close(ledger, plan("a"))
    for _ in range(50):
        ledger.jobs.interrupt(ledger.jobs.claim("host:0", 60))
    assert state(ledger) == "queued"
    assert ledger.jobs.claim("host:0", 60).attempt == 1


def test_of_two_jobs_the_one_that_crashes_the_node_lets_the_other_through(ledger):
    close(ledger, plan("a"), plan("b", range(11, 14)))
    for _ in range(2):
        assert ledger.jobs.claim("host:0", 60).key == "a"
        ledger.jobs.requeue_interrupted("host")
    assert ledger.jobs.claim("host:0", 60).key == "b"


def test_an_outcome_of_a_former_attempt_is_dropped(ledger):
    close(ledger, plan("a"))
    former = ledger.jobs.claim("host:0", 60)
    ledger.jobs.requeue_interrupted("host")
    current = ledger.jobs.claim("host:0", 60)
    ledger.jobs.fail(former, "late", 1)
    assert state(ledger) == "running"
    ledger.jobs.finish(former, analysed("a"), TO_PACS)
    assert state(ledger) == "running"
    ledger.jobs.finish(current, analysed("a"), TO_PACS)
    assert state(ledger) == "delivering"


def test_a_lost_lease_is_taken_back(ledger):
    close(ledger, plan("a"))
    ledger.jobs.claim("elsewhere:0", -1)
    ledger.jobs.fail_expired(3)
    assert state(ledger) == "queued"


def test_a_flagged_result_is_held_until_a_person_sends_it(ledger):
    close(ledger, plan("a"))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a", ("FEW_SLICES",)), TO_PACS, ("FEW_SLICES",))
    assert state(ledger) == "held"
    assert deliver(ledger) == 0
    assert ledger.jobs.retry(1, TO_PACS) is JobState.DELIVERING
    assert deliver(ledger) == 3
    assert state(ledger) == "done"


def test_a_destination_that_is_down_delays_only_itself(ledger):
    close(ledger, plan("a"))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a"), {"pacs": ("seg", "sr"), "down": ("sc",)})
    assert deliver(ledger, destination="pacs") == 2
    assert deliver(ledger, sent=False, retry_at=time.time() + 60, destination="down") == 1
    assert ledger.deliveries.due_deliveries("down") == []
    assert state(ledger) == "delivering"
    assert ledger.jobs.retry(1, {"pacs": ("seg", "sr"), "down": ("sc",)}) is JobState.DELIVERING
    assert len(ledger.deliveries.due_deliveries("down")) == 1
    assert ledger.deliveries.due_deliveries("pacs") == []


def test_a_delivery_given_up_is_a_failed_job_that_can_be_retried(ledger):
    close(ledger, plan("a"))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a"), TO_PACS)
    deliver(ledger, sent=False)
    assert state(ledger) == "failed"
    assert ledger.jobs.retry(1, TO_PACS) is JobState.DELIVERING
    deliver(ledger)
    assert state(ledger) == "done"


def test_a_done_job_can_be_sent_again_also_to_a_new_destination(ledger):
    close(ledger, plan("a"))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a"), {})
    assert state(ledger) == "done"
    ledger.jobs.retry(1, TO_PACS)
    assert deliver(ledger) == 3
    ledger.jobs.retry(1, TO_PACS)
    assert deliver(ledger) == 3


def test_a_destination_no_longer_configured_does_not_keep_a_job_open(ledger):
    close(ledger, plan("a"))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a"), TO_PACS)
    ledger.deliveries.fail_unknown_destinations(["other"])
    assert state(ledger) == "failed"
    assert "no longer" in queries.list_deliveries(ledger, 1)[0].detail


def test_nobody_waits_for_an_object_that_was_never_made(ledger):
    close(ledger, plan("a"))
    wants = {"pacs": ("seg", "pdf"), "pages": ("pdf", "labelmap")}
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), analysed("a"), wants)
    deliver(ledger)
    assert state(ledger) == "done"
    story = [event.why for event in queries.list_events(ledger, 1)]
    assert "pacs: not sent, for it was not made when the job was analysed: pdf" in story
    assert "pages: not sent, for it was not made when the job was analysed: pdf, labelmap" in story
    assert ledger.jobs.retry(1, {"pages": ("pdf",)}) is JobState.DONE


def test_what_can_not_be_done_says_why(ledger):
    with pytest.raises(LedgerError, match="no such job"):
        ledger.jobs.retry(5, {})
    close(ledger, plan("a"))
    with pytest.raises(LedgerError, match="queued already"):
        ledger.jobs.retry(1, {})
    ledger.jobs.cancel(1)
    with pytest.raises(LedgerError, match="superseded already"):
        ledger.jobs.cancel(1)


def test_verdicts_and_unreadable_files_are_listed(ledger):
    study = close(ledger)
    ledger.studies.close_study(
        study, 3, [verdict(accepted=False)], [], {f"00/{STUDY}.2.dcm": "pixel data is cut short"}
    )
    [row] = queries.list_series(ledger, queries.SeriesFilter(accession="A1"))
    assert (row.verdict, row.reason) == ("rejected", "CINE")
    assert queries.list_series(ledger, queries.SeriesFilter(accession="A2")) == []
    [problem] = queries.list_unreadable(ledger)
    assert problem.problem == "pixel data is cut short"


def test_schema_and_migrations_agree(ledger):
    with ledger.store.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_name": lambda name, *_: name != "study_name"})
        assert compare_metadata(context, Base.metadata) == []


def test_the_revisions_are_those_of_the_migrations():
    scripts = ScriptDirectory(str(MIGRATIONS))
    assert tuple(reversed([script.revision for script in scripts.walk_revisions()])) == REVISIONS


def test_a_ledger_of_this_version_is_opened_without_alembic(tmp_path):
    url = f"sqlite:///{tmp_path / 'ledger.sqlite'}"
    Ledger(url, "test").close()
    imports = "import sys; from scarnode.ledger.ledger import Ledger"
    program = f"{imports}; Ledger({url!r}, 'test'); print('alembic' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_a_newer_ledger_is_refused(tmp_path, database):
    ledger = open_ledger(tmp_path)
    with ledger.store.engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    ledger.close()
    with pytest.raises(LedgerError, match="newer scarnode"):
        open_ledger(tmp_path)


def test_the_file_is_private_and_a_bad_url_is_explained(tmp_path):
    Ledger(f"sqlite:///{tmp_path / 'a.sqlite'}", "test").close()
    assert stat.S_IMODE((tmp_path / "a.sqlite").stat().st_mode) == 0o600
    for url in ("nonsense", "sqlite:////proc/no/ledger.sqlite", "mysql://host/ledger"):
        with pytest.raises(LedgerError, match=r"\[ledger\] url"):
            Ledger(url, "test")


class Walk(RuleBasedStateMachine):
    """Whatever happens in whatever order: no job is stuck, none runs twice at once, none ends twice."""

    def __init__(self):
        super().__init__()
        self.ledger = Ledger("sqlite://", "test")
        self.images = self.corrections = 0
        self.claims = []

    @rule()
    def images_arrive(self):
        self.images += 1
        self.ledger.studies.add_instances([received(self.images)])

    @rule()
    def study_goes_quiet(self):
        for study in self.ledger.studies.quiet_studies(0):
            newest, _ = self.ledger.studies.study_files(study)
            self.ledger.studies.close_study(study, newest, [], [plan(str(newest), range(1, newest + 1))])

    @precondition(lambda self: self.images)
    @rule()
    def a_person_corrects(self):
        newest, _ = self.ledger.studies.study_files(1)
        self.corrections += 1
        planned = correction(f"c{self.corrections}", range(1, newest + 1))
        self.ledger.studies.close_study(1, newest, [], [plan(str(newest), range(1, newest + 1)), planned])

    @rule()
    def claim(self):
        if claimed := self.ledger.jobs.claim("host:0", 60):
            self.claims.append(claimed)

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), what=st.sampled_from(["finish", "hold", "fail", "permanent", "interrupt", "drop"]))
    def outcome(self, data, what):
        claimed = data.draw(st.sampled_from(self.claims))
        if what in ("finish", "hold"):
            self.ledger.jobs.finish(claimed, analysed(claimed.key, ("X",)), TO_PACS, ("X",) if what == "hold" else ())
        elif what == "interrupt":
            self.ledger.jobs.interrupt(claimed)
        elif what == "drop":
            self.ledger.jobs.drop(claimed, "nothing was corrected")
        else:
            self.ledger.jobs.fail(claimed, "trouble", 3, permanent=what == "permanent")

    @rule(sent=st.booleans())
    def deliveries(self, sent):
        deliver(self.ledger, sent, retry_at=0.0 if not sent else None)

    @rule()
    def failures_are_told(self):
        tell(self.ledger)

    @rule()
    def node_restarts(self):
        self.ledger.jobs.requeue_interrupted("host")

    @rule(job=st.integers(1, 4))
    def retry(self, job):
        with suppress(LedgerError):
            self.ledger.jobs.retry(job, TO_PACS)

    @invariant()
    def one_result_per_destination(self):
        with self.ledger.reading() as session:
            for table, columns in (("delivery", "result_id, destination"), ("result", "job_id, kind")):
                twice = f"SELECT {columns} FROM {table} GROUP BY {columns} HAVING count(*) > 1"
                assert session.execute(text(twice)).all() == []

    @invariant()
    def a_report_of_failure_goes_out_only_while_its_job_has_failed(self):
        states = {job.job: job.state for job in queries.list_jobs(self.ledger)}
        for due in self.ledger.deliveries.due_deliveries("pacs"):
            assert states[due.job_id] == ("failed" if "/failed/" in due.path else "delivering")

    def teardown(self):
        """Let the node work on in peace: everything must come to an end."""
        self.study_goes_quiet()
        self.ledger.jobs.requeue_interrupted("host")
        with self.ledger.store.engine.begin() as connection:
            connection.execute(text("UPDATE job SET due_at = 0"))
        while claimed := self.ledger.jobs.claim("host:0", 60):
            self.ledger.jobs.finish(claimed, analysed(claimed.key), TO_PACS)
        tell(self.ledger)
        deliver(self.ledger)
        assert {job.state for job in queries.list_jobs(self.ledger)} <= {end.value for end in FINAL}
        assert self.ledger.failures.unreported_failures() == []
        assert self.ledger.deliveries.due_deliveries("pacs") == []
        self.ledger.close()


Walk.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestWalk = Walk.TestCase
