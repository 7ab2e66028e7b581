"""Several processes on one ledger: turns, signs of life, one clock, and many hands at once."""

from __future__ import annotations

import random
import threading
import time
from contextlib import suppress

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from scarnode.ledger import queries
from scarnode.ledger.due import trust_no_clock
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import DeliveryReport
from scarnode.ledger.nodes import LEASE
from scarnode.ledger.task_locks import TaskLocks
from scarnode.node.cluster.heartbeat import LOST, Heartbeat
from scarnode.util import clock
from tests.harness.clock import ShiftedClock

from .builders import TO_PACS, analysed, open_ledger, plan, received, verdict
from .test_ledger import close, state


@pytest.fixture
def clock_of_ledgers():
    return ShiftedClock()


@pytest.fixture
def ledgers(shared_url, clock_of_ledgers):
    opened = [Ledger(shared_url, f"test {number}", clock=clock_of_ledgers) for number in range(2)]
    yield opened
    for ledger in opened:
        ledger.close()


def kill_connections(ledger):
    """Cut every other connection to the database, as a server that restarts does."""
    others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = "
    with suppress(DBAPIError), ledger.store.engine.begin() as connection:
        connection.execute(text(others + "current_database()"))


def test_on_sqlite_a_turn_is_one_threads(tmp_path):
    ledger = open_ledger(tmp_path)
    task_locks = TaskLocks(ledger.store.engine)
    with task_locks.turn("a") as one, task_locks.turn("a") as two, task_locks.turn("b") as three:
        assert (one is not None, two, three is not None) == (True, None, True)
        assert not one.is_lost()
    with task_locks.turn("a") as again:
        assert again is not None
    ledger.close()


@pytest.mark.slow
def test_a_turn_is_one_processes_and_ends_with_its_connection(ledgers):
    first, second = (TaskLocks(ledger.store.engine) for ledger in ledgers)
    with first.turn("a") as one, second.turn("a") as two, first.turn("a") as three:
        assert (one is not None, two, three) == (True, None, None)
        assert not one.is_lost()
        kill_connections(ledgers[1])
        with second.turn("a"):  # its own line was cut too: asked once more it has a new one
            pass
        with second.turn("a") as four:
            assert four is not None
            assert one.is_lost()
    with first.turn("a") as five:
        assert five is not None
    first.close()
    with second.turn("a") as six:
        assert six is not None


@pytest.mark.slow
def test_the_jobs_of_a_process_that_gives_no_sign_of_life_are_given_to_others(ledgers, clock_of_ledgers, monkeypatch):
    ledger = ledgers[0]
    close(ledger, plan("a"), plan("b", range(11, 14)))
    ledger.nodes.beat("host-10", "work")
    ledger.nodes.beat("host-1", "work")
    ledger.jobs.claim("host-1:0", 600)
    ledger.jobs.claim("host-10:0", 600)
    ledger.alarms.set_alarm("worker_0_host-1", "no memory")
    assert ledger.nodes.end_lost() == []
    clock_of_ledgers.ahead = LEASE + 1
    ledger.nodes.beat("host-10", "work")
    assert ledgers[1].nodes.end_lost() == ["host-1"]
    assert ledgers[1].nodes.end_lost() == []
    assert (state(ledger, 1), state(ledger, 2)) == ("queued", "running")
    assert "crashed" in queries.get_job(ledger, 1).reason
    assert ledger.alarms.standing_alarms() == set()
    assert [row.name for row in ledger.nodes.members() if row.lost_at is None] == ["host-10"]
    assert [row.name for row in ledger.nodes.missed()] == ["host-1"]
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("scarnode.ledger.nodes.HOST", "elsewhere")
        ledger.nodes.beat("elsewhere-1", "work")
    assert ledger.nodes.missed() != [], "that one is not its successor"
    ledger.nodes.beat("host-11", "work")
    assert ledger.nodes.missed() == []


@pytest.mark.slow
def test_a_dead_process_is_an_alarm_until_it_is_started_again(ledgers, clock_of_ledgers, monkeypatch):
    ledger = ledgers[0]
    ledger.nodes.beat("host-1", "work")
    monkeypatch.setattr("scarnode.node.cluster.heartbeat.GRACE", -1.0)
    other = Heartbeat(ledger, "host-2", ["deliver"], None, lambda: 60.0)
    clock_of_ledgers.ahead = LEASE + 1
    other.beat()
    clock_of_ledgers.ahead = 0.0
    assert LOST in ledger.alarms.standing_alarms()
    Heartbeat(ledger, "host-3", ["work"], None, lambda: 60.0)
    other._next = 0.0
    other.beat()
    assert ledger.alarms.standing_alarms() == set()
    ledger.nodes.leave("host-2")
    assert {row.name for row in ledger.nodes.members()} == {"host-1", "host-3"}


@pytest.mark.slow
def test_after_an_outage_nobody_is_declared_dead_before_he_could_speak(ledgers, monkeypatch):
    ledger = ledgers[0]
    ledger.nodes.beat("host-1", "work")
    heartbeat = Heartbeat(ledger, "host-2", ["work"], None, lambda: 60.0)
    heartbeat._back -= 3600
    now = time.monotonic()
    heartbeat.beat()
    assert heartbeat.sure()
    monkeypatch.setattr("scarnode.node.cluster.heartbeat.time.monotonic", lambda: now + 600)  # no beat for ten minutes
    assert not heartbeat.sure()
    heartbeat.beat()
    assert not heartbeat.sure()


@pytest.mark.slow
def test_what_a_receiver_has_in_hand_keeps_studies_from_being_quiet(ledgers):
    ledger = ledgers[0]
    assert ledger.nodes.receivers_behind() == 0
    ledger.nodes.beat("host-1", "receive", clock.monotonic_time() - 20)
    ledger.nodes.beat("host-2", "receive", clock.monotonic_time())
    assert ledger.nodes.receivers_behind() == pytest.approx(20, abs=2)


@pytest.mark.slow
def test_every_process_goes_by_the_servers_clock(shared_url, monkeypatch):
    monkeypatch.setattr(clock, "_start", clock._start + 5000)  # this machine's clock is wrong
    ledger = Ledger(shared_url, "test")
    assert clock.monotonic_time() == pytest.approx(time.time(), abs=2)
    close(ledger, plan("a"))
    monkeypatch.setattr(clock, "_start", clock._start - 5000)
    Heartbeat(ledger, "host-1", ["work"], None, lambda: 60.0).beat()  # found while it runs
    assert clock.monotonic_time() == pytest.approx(time.time(), abs=2)
    assert ledger.jobs.claim("host-1:0", 60) is not None
    ledger.close()


@pytest.mark.slow
def test_a_start_does_not_hold_up_what_others_do(ledgers):
    ledger = ledgers[0]
    ledger.studies.add_instances([received(1)])
    time.sleep(0.2)
    trust_no_clock(ledgers[1], 60, anew=False)
    assert len(ledger.studies.quiet_studies(0.2)) == 1


@pytest.mark.slow
def test_text_that_the_database_does_not_take_is_stored_without_it(ledgers):
    close(ledgers[0], plan("a"))
    claimed = ledgers[0].jobs.claim("host:0", 60)
    ledgers[0].jobs.fail(claimed, "bytes \0 and \ud800 of a header", 1)
    assert queries.get_job(ledgers[0], 1).reason.startswith("bytes  and ? of a header")


@pytest.mark.slow
def test_an_error_does_not_quote_a_row(ledgers):
    with pytest.raises(DBAPIError) as error, ledgers[0].store.engine.begin() as connection:
        connection.execute(text("INSERT INTO study (patient_name) VALUES (:name)"), {"name": "Secret^Patient"})
    assert "Secret" not in str(error.value) + str(error.value.orig)


@pytest.mark.slow
def test_many_hands_make_every_result_once(shared_url):
    """Receivers, searchers, workers and senders at once, cut off again and again: all studies end, each once."""
    studies, stop = 12, threading.Event()
    faults: list[BaseException] = []

    def hand(work):
        ledger = Ledger(shared_url, work.__name__)
        while not stop.is_set():
            try:
                work(ledger)
            except DBAPIError:  # cut off
                time.sleep(0.01)
            except BaseException as error:
                faults.append(error)
                raise
            time.sleep(random.uniform(0, 0.01))
        ledger.close()

    def receive(ledger):
        for number in random.sample(range(studies), 3):
            some = [received(number * 10 + image, f"1.2.{number}") for image in random.sample(range(4), 2)]
            known = ledger.studies.known_among([one.path for one in some])
            ledger.studies.add_instances([one for one in some if one.path not in known])

    def search(ledger):
        for study in ledger.studies.quiet_studies(0):
            newest, paths = ledger.studies.study_files(study)
            ledger.studies.close_study(study, newest, [verdict()], [plan(f"{study}-{len(paths)}")])

    def work(ledger):
        if claimed := ledger.jobs.claim("host:0", 0.5):
            time.sleep(random.uniform(0, 0.02))
            ledger.jobs.finish(claimed, analysed(claimed.key), TO_PACS)

    def send(ledger):
        due = ledger.deliveries.due_deliveries("pacs")
        ledger.deliveries.report_deliveries([DeliveryReport(one.id, True, "as it went", None) for one in due])

    def look(ledger):
        ledger.jobs.fail_expired(1000)
        queries.list_jobs(ledger)

    hands = [
        threading.Thread(target=hand, args=[one])
        for one in (receive, receive, search, search, work, work, send, send, look)
    ]
    for one in hands:
        one.start()
    admin = Ledger(shared_url, "admin")
    for _ in range(4):
        time.sleep(1)
        kill_connections(admin)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not faults:
        with admin.reading() as session:  # one state of it
            states = set(session.scalars(text("SELECT DISTINCT state FROM job")))
            images = session.scalar(text("SELECT count(*) FROM instance"))
            waiting = session.scalar(text("SELECT count(*) FROM study WHERE newest_instance > searched_instance"))
        if images == 4 * studies and not waiting and states <= {"done", "superseded"}:
            break
        time.sleep(0.2)
    stop.set()
    for one in hands:
        one.join(20)
    assert faults == []
    assert states <= {"done", "superseded"}, states
    with admin.reading() as session:
        jobs = session.execute(text("SELECT key FROM job WHERE state = 'done' AND key LIKE '%-4'")).all()
        lost = "SELECT id FROM study WHERE newest_instance <> (SELECT max(id) FROM instance WHERE study_id = study.id)"
        twice = "SELECT job_id FROM event WHERE to_state = 'done' GROUP BY job_id HAVING count(*) > 1"
        assert len(jobs) == studies, "a job of all four images for each"
        assert session.execute(text(lost)).all() == session.execute(text(twice)).all() == []
    admin.close()
