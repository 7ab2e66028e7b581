"""Storage commitment on the wire: archives that keep their word, late, in part, never, or under a false name."""

from __future__ import annotations

import threading
import time
from functools import partial

import pytest
from pynetdicom import AE, build_role
from pynetdicom.sop_class import CTImageStorage, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
from sqlalchemy import select, update

from scarnode.config import DeliverSection
from scarnode.dicom.scp import CommitmentReport, Reporters, Spool, listen
from scarnode.dicom.scu import DimseDestination, RemoteAE
from scarnode.ledger import queries
from scarnode.ledger.commitments import MOST_RESENDS
from scarnode.ledger.deliveries import settled
from scarnode.ledger.tables import Commitment, Delivery
from scarnode.node.tasks.outbox import ask_commitments, deliver_due, resend_delay
from tests.harness import Orthanc, free_port, wait_until
from tests.harness.archive import Archive
from tests.ledger.builders import TO_PACS, finished_job, open_ledger

pytestmark = pytest.mark.usefixtures("database")

PATIENCE = DeliverSection(first_delay_seconds=0.001, max_delay_seconds=0.002, commitment_wait_seconds=0.05)
LATER = DeliverSection(first_delay_seconds=0.001, max_delay_seconds=0.002)


class AppState:
    """A node without a worker: ledger, listener, results, and one destination that is asked for commitment."""

    def __init__(self, folder, ae_title="ARCHIVE"):
        self.ledger = open_ledger(folder)
        self.results, self.spool = folder / "results", Spool(folder / "spool")
        self.port = free_port()
        self.ae_title = ae_title
        reporters = Reporters(self.take, frozenset([ae_title]))
        self.server = listen(self.spool, lambda path: None, "SCARNODE", "127.0.0.1", self.port, reporters=reporters)

    def take(self, report, title):
        names = ["pacs"] if title == self.ae_title else []
        return self.ledger.commitments.take_commitment_report(report, names, partial(resend_delay, PATIENCE))

    def peer(self, archive, **settings):
        given = {"timeout": 5.0, **settings}
        return DimseDestination("pacs", RemoteAE("127.0.0.1", archive.port, archive.ae_title, **given), commitment=True)

    def job(self, number=1):
        return finished_job(self.ledger, self.results, TO_PACS, number)

    def send(self, archive, patience=PATIENCE):
        return deliver_due(self.ledger, self.results, self.peer(archive), "SCARNODE", patience)

    def ask(self, archive, patience=LATER):
        ask_commitments(self.ledger, "pacs", self.peer(archive).ae, "SCARNODE", patience, self.take)

    def ask_shortly(self, archive, patience=LATER):
        """Ask without staying for a report on the same association."""
        stopping = threading.Event()
        stopping.set()
        ask_commitments(self.ledger, "pacs", self.peer(archive).ae, "SCARNODE", patience, self.take, stopping)
        return self.state()

    def states(self, job=1):
        return [row.commitment for row in queries.list_deliveries(self.ledger, job)]

    def state(self, job=1):
        return queries.get_job(self.ledger, job).state

    def settled(self):
        with self.ledger.reading() as session:
            return len(session.scalars(select(Delivery.id).where(settled())).all())

    def close(self):
        self.server.shutdown()
        self.ledger.close()
        self.spool.close()


@pytest.fixture
def app_state(tmp_path):
    app_state = AppState(tmp_path)
    yield app_state
    app_state.close()


@pytest.mark.parametrize("early", [False, True])
def test_a_report_on_the_same_association(app_state, early):
    with Archive("same", early=early) as archive:
        uids = app_state.job()
        assert app_state.send(archive) == 3
        assert (app_state.state(), app_state.states(), app_state.settled()) == ("delivering", ["pending"] * 3, 0)
        started = time.monotonic()
        app_state.ask(archive)
        assert time.monotonic() - started < 3  # the wait ends with the report
        assert archive.answers == [0x0000]
    assert (app_state.state(), app_state.states(), app_state.settled()) == ("done", ["committed"] * 3, 3)
    [request] = archive.requests
    assert [item.ReferencedSOPInstanceUID for item in request.ReferencedSOPSequence] == uids
    assert request.TransactionUID.startswith("2.25.")
    assert "3 deliveries made, 3 committed" in queries.get_job(app_state.ledger, 1).reason


def test_a_report_on_an_association_of_its_own(app_state):
    with Archive("new", report_to=app_state.port) as archive:
        app_state.job(1)
        app_state.job(2)
        app_state.send(archive)
        before = archive.associations
        app_state.ask(archive)
        wait_until(lambda: archive.answers == [0, 0], 5, "two reports")
        assert archive.associations == before + 1  # both jobs were asked for at once
    assert [app_state.state(1), app_state.state(2)] == ["done", "done"]


def test_a_real_orthanc_commits_itself(tmp_path):
    app_state = AppState(tmp_path, "ORTHANC")
    node = {"AET": "SCARNODE", "Host": "127.0.0.1", "Port": app_state.port}
    with Orthanc(tmp_path / "orthanc", DicomModalities={"scarnode": node}) as orthanc:
        uids = app_state.job()
        app_state.send(orthanc)
        [gone] = orthanc.rest("POST", "/tools/find", {"Level": "Instance", "Query": {"SOPInstanceUID": uids[0]}})
        orthanc.rest("DELETE", f"/instances/{gone}")  # somebody deleted it before it was asked for
        app_state.ask(orthanc)
        wait_until(lambda: app_state.states().count("committed") == 2, 10, "Orthanc's report")
        [row] = [row for row in queries.list_deliveries(app_state.ledger, 1) if row.commitment != "committed"]
        assert (row.state, row.failure_reason, row.sop_instance_uid) == ("pending", 0x0112, uids[0])
        assert app_state.send(orthanc) == 1
        app_state.ask(orthanc)
        wait_until(lambda: app_state.state() == "done", 10, "Orthanc's second report")
        assert len(orthanc.instances()) == 3
    app_state.close()


def test_a_report_that_never_comes_is_asked_for_again_then_given_up(app_state):
    with Archive("never") as archive:
        app_state.job()
        app_state.send(archive)
        patience = PATIENCE.model_copy(update={"commitment_max_requests": 2, "commitment_wait_seconds": 0.01})
        wait_until(lambda: app_state.ask_shortly(archive, patience) == "failed", 10, "the end", poll=0.02)
        assert len({request.TransactionUID for request in archive.requests}) == 2
    assert "3 of 3 sent but not committed (pacs)" in queries.get_job(app_state.ledger, 1).reason
    row = queries.list_deliveries(app_state.ledger, 1)[0]
    assert (row.state, row.commitment) == ("sent", "failed")
    assert "did not report on 2 requests" in row.commitment_detail
    assert app_state.settled() == 0
    with Archive("same") as archive:  # a person fixed the archive
        app_state.ledger.jobs.retry(1, TO_PACS)
        assert app_state.send(archive) == 3
        app_state.ask(archive)
    assert app_state.state() == "done"


def test_a_report_that_comes_after_it_was_given_up_is_taken(app_state):
    with Archive("never", report_to=app_state.port) as archive:
        app_state.job()
        app_state.send(archive)
        patience = PATIENCE.model_copy(update={"commitment_max_requests": 1, "commitment_wait_seconds": 0.01})
        wait_until(lambda: app_state.ask_shortly(archive, patience) == "failed", 10, "the end", poll=0.02)
        assert archive.report(archive.requests[0]) == 0x0000
        assert (app_state.state(), app_state.states()) == ("done", ["committed"] * 3)


def test_a_late_report_on_the_first_of_two_requests_counts(app_state):
    with Archive("never", report_to=app_state.port) as archive:
        app_state.job()
        app_state.send(archive)
        for _ in range(2):
            app_state.ask_shortly(archive, LATER)
            with app_state.ledger.store.engine.begin() as connection:
                connection.execute(update(Commitment).values(due_at=0.0))
        first, second = archive.requests
        assert archive.report(first) == 0x0000
        assert app_state.state() == "done"
        assert [archive.report(second), archive.report(first)] == [0x0000, 0x0000]  # said twice, changes nothing
        assert (app_state.state(), app_state.states()) == ("done", ["committed"] * 3)


@pytest.mark.parametrize(
    ("reason", "sends", "requests"),
    [
        (0x0112, 1 + MOST_RESENDS, 1 + MOST_RESENDS),  # no such object instance
        (0x4711, 1 + MOST_RESENDS, 1 + MOST_RESENDS),  # a reason of the peer's own
        (0x0122, 1, 1),  # SOP class not supported
        (0x0119, 1, 1),  # class/instance conflict
        (0x0131, 1, 4),  # duplicate transaction UID: another one, no object again
    ],
)
def test_what_a_failure_reason_leads_to(app_state, reason, sends, requests):
    uids = app_state.job()
    with Archive("same", failed={uids[0]: reason}) as archive:
        patience = LATER.model_copy(update={"commitment_max_requests": 4})

        def turn():
            app_state.send(archive)
            app_state.ask(archive, patience)
            return app_state.state() == "failed"

        wait_until(turn, 20, "the end", poll=0.01)
        assert archive.stored.count(uids[0]) == sends
        assert archive.stored.count(uids[1]) == 1  # the others were committed at once
        assert len(archive.requests) == requests
    rows = {row.sop_instance_uid: row for row in queries.list_deliveries(app_state.ledger, 1)}
    assert rows[uids[0]].failure_reason == reason
    assert [rows[uid].commitment for uid in uids] == ["failed", "committed", "committed"]
    assert app_state.settled() == 2
    with Archive("same") as archive:
        app_state.ledger.jobs.retry(1, TO_PACS)
        assert app_state.send(archive) == 1
        app_state.ask(archive)
    assert app_state.state() == "done"


def test_a_report_on_what_was_sent_before_says_nothing_of_what_was_sent_again(app_state):
    uids = app_state.job()
    with Archive("never", report_to=app_state.port, failed={uids[0]: 0x0112}) as archive:
        app_state.send(archive)
        for _ in range(2):
            app_state.ask_shortly(archive)
            with app_state.ledger.store.engine.begin() as connection:
                connection.execute(update(Commitment).values(due_at=0.0))
        first, second = archive.requests
        assert archive.report(second) == 0x0000
        time.sleep(0.01)
        assert app_state.send(archive) == 1
        archive.failed = lambda uid: None
        assert archive.report(first) == 0x0000  # it was there once
        rows = {row.sop_instance_uid: row.commitment for row in queries.list_deliveries(app_state.ledger, 1)}
        assert [rows[uid] for uid in uids] == ["pending", "committed", "committed"]


def test_an_object_that_was_sent_again_is_asked_for_as_a_new_one(app_state):
    """Requests that were reported on do not count as unanswered; the limit is on those in a row."""
    uids = app_state.job()
    with Archive(
        "same", failed=lambda uid: 0x0112 if uid == uids[0] and len(archive.requests) < 3 else None
    ) as archive:
        patience = LATER.model_copy(update={"commitment_max_requests": 1})

        def turn():
            app_state.send(archive)
            app_state.ask(archive, patience)
            return app_state.state() == "done"

        wait_until(turn, 20, "the third commitment", poll=0.01)
        assert archive.stored.count(uids[0]) == 3


@pytest.mark.parametrize("status", [0x0211, 0x0124])
def test_an_archive_that_refuses_the_request_for_good(app_state, status):
    app_state.job()
    with Archive(action_status=status) as archive:
        app_state.send(archive)
        app_state.ask(archive)
    assert app_state.state() == "failed"
    assert f"0x{status:04X}" in queries.list_deliveries(app_state.ledger, 1)[0].commitment_detail


def test_an_archive_without_storage_commitment(app_state):
    app_state.job()
    with Archive(commitment=False) as archive:
        app_state.send(archive)
        app_state.ask(archive)
    assert (app_state.state(), app_state.states()) == ("failed", ["failed"] * 3)
    detail = queries.list_deliveries(app_state.ledger, 1)[0].commitment_detail
    assert "does not take Storage Commitment Push Model SOP Class: SOP class not supported" in detail


def test_an_archive_that_is_busy_or_away_is_asked_again(app_state):
    app_state.job()
    with Archive(action_status=0x0213) as archive:
        app_state.send(archive)
        app_state.ask(archive)
        assert app_state.states() == ["pending"] * 3
        time.sleep(0.01)
        archive.action_status = 0x0000
        app_state.ask(archive)
        assert app_state.state() == "done"
    app_state.job(2)
    with Archive() as archive:
        app_state.send(archive)
    app_state.ask(archive)  # it is gone now
    assert app_state.states(2) == ["pending"] * 3
    assert "onnection" in queries.list_deliveries(app_state.ledger, 2)[0].commitment_detail


def test_a_crash_between_writing_and_asking_is_made_good(app_state):
    app_state.job()
    with Archive("same") as archive:
        app_state.send(archive)
        [due] = app_state.ledger.commitments.due_commitments("pacs")
        app_state.ledger.commitments.open_commitment(due, "pacs", 0.01)  # and then the power went
        time.sleep(0.02)
        app_state.ask(archive)
        assert len(archive.requests) == 1
    assert app_state.state() == "done"


def test_reports_that_nobody_asked_for_change_nothing(app_state):
    app_state.job()
    with Archive("never", report_to=app_state.port) as archive, Archive("never", "OTHER", app_state.port) as other:
        app_state.send(archive)
        app_state.ask_shortly(archive, LATER)
        [request] = archive.requests
        assert other.report(request) is None  # a stranger is refused the SOP class
        assert archive.report(request, role=False) is None  # and who wants to be its user
        assert archive.report(request, event_type=3) == 0x0113
        assert archive.report(request, instance="1.2.3") == 0x0112
        assert archive.report(request, drop="TransactionUID") == 0x0115
        known, request.TransactionUID = request.TransactionUID, "2.25.4711"
        assert archive.report(request) == 0x0115
        assert app_state.states() == ["requested"] * 3
        request.TransactionUID = known
        assert archive.report(request) == 0x0000
    assert app_state.state() == "done"


def test_the_report_of_another_destination_is_not_taken(tmp_path):
    """It may use the SOP class, but knows of another's request."""
    app_state = AppState(tmp_path, "OTHER")
    app_state.job()
    with Archive("never", "OTHER", app_state.port) as archive:
        app_state.send(archive)
        app_state.ask_shortly(archive, LATER)
        app_state.take = None
        report = archive.requests[0]
        with app_state.ledger.store.engine.begin() as connection:
            connection.exec_driver_sql("UPDATE commitment_request SET destination = 'elsewhere'")
        app_state.server.shutdown()
    uids = frozenset(item.ReferencedSOPInstanceUID for item in report.ReferencedSOPSequence)
    taken = app_state.ledger.commitments.take_commitment_report(
        CommitmentReport(report.TransactionUID, uids), ["pacs"], float
    )
    assert (taken, app_state.states()) == (False, ["requested"] * 3)
    app_state.ledger.close()


def test_a_scanner_gets_no_promise(app_state):
    """Its images are taken, the request to keep them is refused: this node is no archive."""
    scanner = AE("ARCHIVE")  # even under the title of a destination
    scanner.add_requested_context(StorageCommitmentPushModel)
    scanner.add_requested_context(CTImageStorage)
    for roles in ([], [build_role(StorageCommitmentPushModel, scu_role=True)]):
        link = scanner.associate("127.0.0.1", app_state.port, ae_title="SCARNODE", ext_neg=roles)
        assert [context.abstract_syntax for context in link.accepted_contexts] == [CTImageStorage]
        [refused] = link.rejected_contexts
        assert refused.result == 3  # abstract syntax not supported
        link.release()
    both = [build_role(StorageCommitmentPushModel, scu_role=True, scp_role=True)]
    link = scanner.associate("127.0.0.1", app_state.port, ae_title="SCARNODE", ext_neg=both)
    with pytest.raises(ValueError, match="role"):  # what is accepted is to report, not to ask
        link.send_n_action(None, 1, StorageCommitmentPushModel, StorageCommitmentPushModelInstance)
    link.release()


def test_a_destination_that_is_no_longer_asked_keeps_no_job_open(app_state):
    app_state.job()
    with Archive("never") as archive:
        app_state.send(archive)
        app_state.ask_shortly(archive, LATER)
    app_state.ledger.commitments.end_unasked_commitments(["pacs"])
    assert app_state.state() == "delivering"
    app_state.ledger.commitments.end_unasked_commitments([])
    assert (app_state.state(), app_state.settled()) == ("done", 3)
