"""Destinations that misbehave, job by job: what waits, what goes on, and what an admin sees of it."""

from __future__ import annotations

import errno
import threading
import time
from collections import Counter

import pytest
from pynetdicom import AE, AllStoragePresentationContexts, evt
from sqlalchemy import text

from scarnode.config import DeliverSection
from scarnode.dicom.scu import DimseDestination, RemoteAE
from scarnode.dicom.web import WebDestination
from scarnode.ledger import queries
from scarnode.node.postponed import PutOffs
from scarnode.node.tasks.outbox import deliver_due
from tests.harness import free_port
from tests.harness.peers import raw_peer
from tests.harness.web import http, item, response, web_server
from tests.ledger.builders import TO_PACS, finished_job, open_ledger

pytestmark = pytest.mark.usefixtures("database")

SOON = DeliverSection(first_delay_seconds=0.001, max_delay_seconds=0.002, max_attempts=5)
LATER = DeliverSection(first_delay_seconds=60, max_delay_seconds=600, max_attempts=5)


class AppState:
    """A ledger with three jobs on their way to one destination."""

    def __init__(self, folder, jobs=3):
        self.ledger = open_ledger(folder)
        self.results = folder / "results"
        self.uids = [uid for number in range(jobs) for uid in finished_job(self.ledger, self.results, TO_PACS, number)]
        self.jobs = jobs

    def send(self, destination, patience=LATER):
        return deliver_due(self.ledger, self.results, destination, "SCARNODE", patience)

    def rows(self):
        return [row for job in range(1, self.jobs + 1) for row in queries.list_deliveries(self.ledger, job)]

    def states(self):
        return [queries.get_job(self.ledger, job).state for job in range(1, self.jobs + 1)]

    def due(self):
        return len(self.ledger.deliveries.due_deliveries("pacs"))

    def stories(self):
        return [
            [e.why for e in queries.list_events(self.ledger, n) if "pacs:" in e.why] for n in range(1, 1 + self.jobs)
        ]


@pytest.fixture
def app_state(tmp_path):
    app_state = AppState(tmp_path)
    yield app_state
    app_state.ledger.close()


@pytest.fixture
def pacs():
    """Give a function that starts a PACS; it counts associations and C-STOREs by SOP Instance UID."""
    servers = []

    def start(on_store=lambda event: 0x0000, reject=None):
        seen = Counter()

        def requested(event):
            seen["associations"] += 1
            if reject:
                event.assoc.acse.send_reject(*reject)
                event.assoc.is_rejected = True
                event.assoc.kill()

        def store(event):
            seen[event.request.AffectedSOPInstanceUID] += 1
            return on_store(event)

        ae = AE("PACS")
        ae.supported_contexts = AllStoragePresentationContexts
        handlers = [(evt.EVT_C_STORE, store), (evt.EVT_REQUESTED, requested)]
        servers.append(ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers))
        return to(servers[-1].server_address[1]), seen

    yield start
    for server in servers:
        threading.Thread(target=server.shutdown, daemon=True).start()


def to(port, timeout=5.0):
    return DimseDestination("pacs", RemoteAE("127.0.0.1", port, "PACS", timeout=timeout))


@pytest.mark.parametrize(
    ("reject", "words", "state"),
    [
        ((2, 3, 1), "Temporary congestion", "delivering"),
        ((1, 1, 3), "Calling AE title not recognised", "failed"),
    ],
)
def test_a_rejection_is_met_once_for_all_that_is_due(app_state, pacs, reject, words, state):
    destination, seen = pacs(reject=reject)
    assert app_state.send(destination) == 0
    assert app_state.send(destination) == 0
    assert seen["associations"] == 1
    assert (app_state.due(), app_state.states()) == (0, [state] * 3)
    assert all(words in row.detail and row.attempts == 1 for row in app_state.rows())


def test_nobody_there_is_found_out_once_and_all_go_together_when_it_is_back(app_state, pacs):
    away = to(free_port())
    for _ in range(3):
        app_state.send(away, SOON)
        time.sleep(0.01)
    assert {row.attempts for row in app_state.rows()} == {3}
    assert [len(story) for story in app_state.stories()] == [1, 1, 1]  # told once, counted in the row
    destination, _ = pacs()
    assert app_state.send(destination, SOON) == 9
    assert app_state.states() == ["done"] * 3


def test_attempts_are_capped_and_a_person_may_try_again(app_state, pacs):
    away = to(free_port())
    for _ in range(SOON.max_attempts):
        app_state.send(away, SOON)
        time.sleep(0.01)
    assert app_state.states() == ["failed"] * 3
    assert all(row.state == "failed" and "Given up after attempt 5" in row.detail for row in app_state.rows())
    assert "3 of 3 deliveries failed (pacs)" in queries.get_job(app_state.ledger, 1).reason
    destination, _ = pacs()
    for job in (1, 2, 3):
        app_state.ledger.jobs.retry(job, TO_PACS)
    assert app_state.send(destination) == 9
    assert app_state.states() == ["done"] * 3


@pytest.mark.parametrize("how", ["hang", "abort", "close"])
def test_an_object_that_breaks_the_association_holds_up_no_other(app_state, pacs, how):
    bad, over = app_state.uids[0], threading.Event()

    def on_store(event):
        if event.request.AffectedSOPInstanceUID == bad:
            if how == "hang":
                over.wait(30)
            elif how == "abort":
                event.assoc.abort()
            else:
                event.assoc.dul.socket.close()
        return 0x0000

    destination, seen = pacs(on_store)
    destination = to(destination.ae.port, timeout=2 if how == "hang" else 10)
    app_state.send(destination)
    assert app_state.states() == ["delivering", "done", "done"]  # the other jobs went at once
    assert app_state.due() == 2  # the bad object waits, those behind it do not
    app_state.send(destination)
    [waiting] = [row for row in app_state.rows() if row.state == "pending"]
    assert (waiting.sop_instance_uid, waiting.attempts, app_state.due()) == (bad, 1, 0)
    assert seen[bad] == 1
    over.set()


def test_a_peer_that_hangs_up_after_it_accepted_is_not_asked_without_end(app_state):
    """Nothing is ever sent, so no object is to blame: the destination is."""
    accept = AE("PACS")
    accept.supported_contexts = AllStoragePresentationContexts
    handlers = [(evt.EVT_ESTABLISHED, lambda event: event.assoc.abort())]
    server = accept.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    for _ in range(5):
        app_state.send(to(server.server_address[1], timeout=1))
    assert app_state.due() == 0
    assert all(row.attempts <= 1 for row in app_state.rows())
    server.shutdown()


def test_a_refusal_of_one_object_is_that_objects_alone(app_state, pacs):
    bad = {app_state.uids[0]: 0xA900, app_state.uids[4]: 0xC000}
    destination, _ = pacs(lambda event: bad.get(event.request.AffectedSOPInstanceUID, 0x0000))
    assert app_state.send(destination) == 7
    rows = {row.sop_instance_uid: row for row in app_state.rows()}
    assert [rows[uid].state for uid in bad] == ["failed", "pending"]
    assert app_state.states() == ["failed", "delivering", "done"]


def test_a_destination_that_is_gone_burns_no_older_jobs_attempts(app_state):
    """New results come while it is away: their first, short pauses are not those of what waits for long."""
    away = to(free_port())
    for _ in range(3):
        app_state.send(away, SOON)
        time.sleep(0.01)
    app_state.send(away, LATER)
    assert {row.attempts for row in app_state.rows()} == {4}
    finished_job(app_state.ledger, app_state.results, TO_PACS, 9)
    app_state.send(away, LATER)
    assert {row.attempts for row in app_state.rows()} == {4}
    assert {row.attempts for row in queries.list_deliveries(app_state.ledger, 4)} == {1}


# --- by STOW-RS


@pytest.mark.parametrize("status", [429, 503])
def test_a_web_service_that_wants_a_pause_gets_it(app_state, status):
    seen = []
    with web_server(http(status, Retry_After="500"), requests=seen) as port:
        destination = WebDestination("pacs", f"http://127.0.0.1:{port}", timeout=5)
        before = time.time()
        for _ in range(3):
            app_state.send(destination)
    assert len(seen) == 1
    assert all(row.due_at - before > 450 for row in app_state.rows())  # not after the 60 s that it would be
    assert all(f"HTTP {status}" in row.detail and row.attempts == 1 for row in app_state.rows())


def test_a_pause_is_capped_and_may_be_a_date_or_nonsense(app_state):
    for value, least, most in (
        ("999999999", 599, 602),
        ("Fri, 31 Dec 2100 23:59:59 GMT", 599, 602),
        ("Fri, 31 Dec 1999 23:59:59 GMT", 29, 62),
        ("soon", 29, 62),
        ("-5", 29, 62),
    ):
        for job in (1, 2, 3):
            app_state.ledger.jobs.retry(job, TO_PACS)
        with web_server(http(503, Retry_After=value)) as port:
            before = time.time()
            app_state.send(WebDestination("pacs", f"http://127.0.0.1:{port}", timeout=5))
        assert all(least < row.due_at - before < most for row in app_state.rows()), value


def test_a_web_service_that_refuses_our_credentials_is_asked_once(app_state):
    seen = []
    with web_server(http(401), requests=seen) as port:
        app_state.send(WebDestination("pacs", f"http://127.0.0.1:{port}", timeout=5))
    assert (len(seen), app_state.states()) == (1, ["failed"] * 3)


@pytest.mark.parametrize("trouble", ["no TLS", "nothing listens"])
def test_a_web_service_that_can_not_be_had_is_tried_once(app_state, trouble):
    seen = []
    with raw_peer(lambda connection: seen.append(connection.recv(100)) or connection.sendall(b"no")) as port:
        url = f"https://127.0.0.1:{port if trouble == 'no TLS' else free_port()}"
        for _ in range(2):
            app_state.send(WebDestination("pacs", url, timeout=2))
    assert len(seen) == (trouble == "no TLS")
    assert {row.attempts for row in app_state.rows()} == {1}
    assert app_state.states() == ["delivering"] * 3


def test_a_web_service_that_hangs_at_one_object_gets_the_others(app_state, tmp_path):
    files = sorted(app_state.results.rglob("*.dcm"))
    by_uid = {row.sop_instance_uid.encode(): None for row in app_state.rows()}
    assert len(files) == len(by_uid) == 9
    over = threading.Event()
    from tests.harness.web import read_request

    def talk(connection):
        request = read_request(connection)
        if app_state.uids[0].encode() in request:
            over.wait(30)
            return
        [path] = [path for path in files if path.read_bytes()[-256:] in request and _uid(path).encode() in request]
        connection.sendall(http(200, response(stored=[item(path)])))

    with raw_peer(talk) as port:
        destination = WebDestination("pacs", f"http://127.0.0.1:{port}", timeout=2)
        app_state.send(destination)
        assert app_state.states() == ["delivering", "done", "done"]
        app_state.send(destination)
        over.set()
    assert [row.sop_instance_uid for row in app_state.rows() if row.state == "pending"] == [app_state.uids[0]]


def _uid(path):
    from pydicom import dcmread

    return str(dcmread(path, stop_before_pixels=True).SOPInstanceUID)


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def kept_here(app_state, put_offs, destination, away=lambda: ""):
    """Try to deliver all that waits."""
    with app_state.ledger.store.engine.begin() as connection:
        connection.execute(text("UPDATE delivery SET due_at = 0"))
    return deliver_due(app_state.ledger, app_state.results, destination, "SCARNODE", LATER, None, None, put_offs, away)


def test_results_on_a_disk_that_is_away_use_up_no_attempt(app_state, pacs, tmp_path):
    destination, seen = pacs()
    put_offs = PutOffs(Clock())
    app_state.results.rename(tmp_path / "away")
    for _ in range(10):
        assert kept_here(app_state, put_offs, destination, lambda: "away") == 0
    assert seen["associations"] == 0
    assert {(row.state, row.attempts) for row in app_state.rows()} == {("pending", 0)}
    assert app_state.states() == ["delivering"] * 3
    assert put_offs.in_words().startswith("put off by faults of the system: 9 (delivery 1: No such file or directory")
    assert all(len(story) == 3 for story in app_state.stories()), "told once for each object"
    (tmp_path / "away").rename(app_state.results)
    assert kept_here(app_state, put_offs, destination) == 9
    assert app_state.states() == ["done"] * 3
    assert put_offs.in_words() == ""


def test_a_result_that_is_gone_for_good_fails_alone(app_state, pacs):
    destination, _ = pacs()
    clock = Clock()
    put_offs = PutOffs(clock)
    [gone] = sorted(app_state.results.rglob("sr.dcm"))[:1]
    gone.unlink()
    assert kept_here(app_state, put_offs, destination) == 8
    for _ in range(5):
        clock.now += 60
        kept_here(app_state, put_offs, destination)
    failed = [row for row in app_state.rows() if row.state == "failed"]
    assert ["The file is missing." in row.detail for row in failed] == [True]
    assert sorted(app_state.states()) == ["done", "done", "failed"]
    assert put_offs.in_words() == ""


def test_a_machine_without_a_free_descriptor_blames_no_destination(app_state, pacs, monkeypatch):
    destination, _ = pacs()
    put_offs = PutOffs(Clock())

    def no_socket(*_arguments, **_named):
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(AE, "associate", no_socket)
    assert kept_here(app_state, put_offs, destination) == 0
    assert {(row.state, row.attempts) for row in app_state.rows()} == {("pending", 0)}
    assert "delivery 1: Too many open files" in put_offs.in_words()
    monkeypatch.undo()
    assert kept_here(app_state, put_offs, destination) == 9
    assert {row.attempts for row in app_state.rows()} == {1}
