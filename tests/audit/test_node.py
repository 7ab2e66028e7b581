"""What a node tells its audit repository (receptions, refusals, deliveries, people), and does not tell its log."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydicom import dcmread
from pynetdicom import AE
from pynetdicom.sop_class import MRImageStorage, SecondaryCaptureImageStorage, Verification

from scarnode.audit import AssociationAudit, AuditTrail, Repository, Source
from scarnode.audit.syslog import parse_url
from scarnode.config import DeliverSection, RetentionSection
from scarnode.dicom.reactor import held
from scarnode.dicom.scp import AccessPolicy, AllowedPeer, Limits, Spool, listen
from scarnode.dicom.scu import DimseDestination, RemoteAE
from scarnode.dicom.web import WebDestination
from scarnode.ledger import queries
from scarnode.ledger.ledger import Ledger
from scarnode.node.tasks.janitor import Janitor
from scarnode.node.tasks.outbox import deliver_due
from tests.harness import Node, free_port, query, storescp, storescu, wait_until
from tests.harness.peers import PATIENT, make_object
from tests.harness.repository import Received, Rsyslog, assert_valid
from tests.harness.web import http, web_server
from tests.ledger.builders import TO_PACS, analysed, plan, received, verdict
from tests.ledger.test_retention import House


@pytest.fixture
def server(tmp_path):
    with Rsyslog(tmp_path / "repository") as running:
        yield running


@pytest.fixture
def trail(server, tmp_path) -> AuditTrail:
    repository = Repository(*parse_url(server.url), None, server.ca_file, timeout=5)
    return AuditTrail(repository, Source("SCARNODE"), tmp_path / "spool" / "audit")


def sent(trail: AuditTrail, server: Rsyslog, count: int) -> list[Received]:
    trail.send_due()
    messages = server.wait_for(count)
    assert len(messages) == count
    return messages


def classes(message: Received) -> Counter[str]:
    """Give the SOP classes of a message's study, and how many instances."""
    [study] = message.objects("3")
    return Counter({c.get("UID"): int(c.get("NumberOfInstances")) for c in study.iter("SOPClass")})


def patient(message: Received) -> tuple[str, str]:
    [person] = message.objects("1")
    return person.get("ParticipantObjectID"), person.find("ParticipantObjectName").text


class FaultyDisk(Spool):
    """A spool whose disk can be full."""

    full = False

    def store(self, incoming):
        if self.full:
            raise OSError(28, "No space left on device")
        return super().store(incoming)


@contextmanager
def listening(spool: Spool, associations: AssociationAudit, callers: tuple[AllowedPeer, ...] = (), places: int = 25):
    access_policy = AccessPolicy(callers, Limits(max_associations=places), associations.rejected)
    listener = listen(spool, lambda path: None, "SCARNODE", "127.0.0.1", 0, access_policy, observer=associations)
    try:
        yield listener.port
    finally:
        listener.shutdown()


def send(port: int, files: list[Path], calling: str = "SCANNER", wait: bool = False):
    entity = AE(calling)
    for sop_class in (SecondaryCaptureImageStorage, MRImageStorage, Verification):
        entity.add_requested_context(sop_class)
    link = held(entity.associate("127.0.0.1", port, ae_title="SCARNODE"))
    for file in files:
        link.send_c_store(dcmread(file))
    if not wait:
        link.release()
    return link


def test_an_association_makes_one_message_for_each_study_and_outcome(tmp_path, server, trail):
    spool = FaultyDisk(tmp_path / "spool")
    associations = AssociationAudit(trail, spool.root)
    one = [make_object(tmp_path / f"{n}.dcm", study="1.2.1") for n in range(5)]
    one += [make_object(tmp_path / f"mr{n}.dcm", MRImageStorage, study="1.2.1") for n in range(3)]
    two = [make_object(tmp_path / f"two{n}.dcm", study="1.2.2") for n in range(2)]
    with listening(spool, associations) as port:
        link = send(port, [*one, *two], wait=True)
        associations.summarise()  # it is still open: nothing yet
        assert not list(trail.folder.glob("*.msg"))
        spool.full = True
        assert link.send_c_store(dcmread(one[0])).Status == 0xA700
        link.release()
        wait_until(lambda: associations.summarise() or list(trail.folder.glob("*.msg")), 5, "messages")
    messages = sent(trail, server, 3)
    assert [(message.event, message.outcome) for message in messages] == [
        ("transferred", "0"),
        ("transferred", "0"),
        ("transferred", "4"),
    ]
    assert [message.objects("3")[0].get("ParticipantObjectID") for message in messages] == ["1.2.1", "1.2.2", "1.2.1"]
    assert classes(messages[0]) == {SecondaryCaptureImageStorage: 5, MRImageStorage: 3}
    assert [sum(classes(message).values()) for message in messages] == [8, 2, 1]
    assert {patient(message) for message in messages} == {("4711", PATIENT)}
    assert {message.root.find("ActiveParticipant").get("NetworkAccessPointID") for message in messages} == {"127.0.0.1"}
    assert "A700" in messages[2].xml
    assert not list((trail.folder / "associations").iterdir())
    assert_valid([message.xml for message in messages], tmp_path / "xml")


def test_no_instance_is_forgotten_while_messages_are_made(tmp_path, server, trail):
    """Associations begin and end all the time while another thread looks for those that have ended."""
    spool = Spool(tmp_path / "spool")
    associations = AssociationAudit(trail, spool.root)
    file = make_object(tmp_path / "a.dcm", study="1.2.1")
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            associations.summarise()
            time.sleep(0.0005)

    looking = threading.Thread(target=look)
    with listening(spool, associations) as port:
        looking.start()
        for _ in range(20):
            send(port, [file, file])
        wait_until(lambda: len(list(trail.folder.glob("*.msg"))) >= 20, 10, "20 messages")
        done.set()
        looking.join()
    assert [sum(classes(message).values()) for message in sent(trail, server, 20)] == [2] * 20


def test_an_association_that_stays_open_is_told_when_it_is_quiet(tmp_path, server, trail, monkeypatch):
    monkeypatch.setattr("scarnode.audit.associations.QUIET", 0.2)
    spool = Spool(tmp_path / "spool")
    associations = AssociationAudit(trail, spool.root)
    file = make_object(tmp_path / "a.dcm", study="1.2.1")
    with listening(spool, associations) as port:
        link = send(port, [file], wait=True)
        time.sleep(0.3)
        associations.summarise()
        link.send_c_store(dcmread(file))
        link.abort()
        wait_until(lambda: associations.summarise() or len(list(trail.folder.glob("*.msg"))) == 2, 5, "messages")
    assert [sum(classes(message).values()) for message in sent(trail, server, 2)] == [1, 1]


def test_refused_associations_are_alerts_and_no_flood(tmp_path, server, trail):
    spool = Spool(tmp_path / "spool")
    associations = AssociationAudit(trail, spool.root)
    with listening(spool, associations, (AllowedPeer("SCANNER"),), places=1) as port:
        for _ in range(5):
            assert not send(port, [], "STRANGER", wait=True).is_established
        wrong = AE("SCANNER")
        wrong.add_requested_context(Verification)
        assert not wrong.associate("127.0.0.1", port, ae_title="OTHER").is_established
        first = send(port, [], wait=True)
        assert not wrong.associate("127.0.0.1", port, ae_title="SCARNODE").is_established
        first.release()
        wait_until(lambda: len(list(trail.folder.glob("*.msg"))) == 3, 5, "three alerts")
    messages = sent(trail, server, 3)
    assert {message.event for message in messages} == {"alert"}
    assert [(message.kind, message.outcome) for message in messages] == [
        ("110126", "8"),
        ("110126", "8"),
        ("ASSOCIATION_REFUSED", "4"),
    ]
    assert ["calling" in messages[0].xml, "called" in messages[1].xml, "too many" in messages[2].xml] == [True] * 3
    assert [m.root.findall("ActiveParticipant")[1].get("UserID") for m in messages] == [
        "STRANGER",
        "SCANNER",
        "SCANNER",
    ]
    assert_valid([message.xml for message in messages], tmp_path / "xml")


@pytest.fixture
def ledger(tmp_path):
    """One analysed job whose three objects are due at the destination pacs."""
    opened = Ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}", "test")
    opened.studies.add_instances([received(number) for number in range(1, 4)])
    opened.studies.close_study(1, 3, [verdict()], [plan("a", range(1, 4))], {})
    outcome = analysed("a")
    opened.jobs.finish(opened.jobs.claim("h:0", 60), outcome, TO_PACS)
    for file in outcome.files:
        path = tmp_path / "results" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        make_object(path, study="1.2.3")
    yield opened
    opened.close()


def test_a_delivery_is_announced_and_its_outcome_told(tmp_path, server, trail, ledger):
    patience = DeliverSection(first_delay_seconds=0.01, max_delay_seconds=0.02)
    closed = DimseDestination("pacs", RemoteAE("127.0.0.1", free_port(), "PACS", timeout=2))
    deliver_due(ledger, tmp_path / "results", closed, "SCARNODE", patience, audit=trail)
    time.sleep(0.05)
    with storescp(tmp_path / "pacs") as port:
        there = DimseDestination("pacs", RemoteAE("127.0.0.1", port, "STORESCP", timeout=5))
        assert deliver_due(ledger, tmp_path / "results", there, "SCARNODE", patience, audit=trail) == 3
    messages = sent(trail, server, 4)
    assert [(message.event, message.outcome) for message in messages] == [
        ("sending", "0"),
        ("transferred", "4"),
        ("sending", "0"),
        ("transferred", "0"),
    ]
    assert [sum(classes(message).values()) for message in messages] == [3, 3, 3, 3]
    ours, theirs = messages[3].root.findall("ActiveParticipant")
    assert (ours.get("UserIsRequestor"), theirs.get("UserIsRequestor")) == ("true", "false")
    assert (theirs.get("UserID"), theirs.get("NetworkAccessPointID")) == ("STORESCP", "127.0.0.1")
    assert {patient(message) for message in messages} == {("4711", PATIENT)}
    assert_valid([message.xml for message in messages], tmp_path / "xml")


def test_a_delivery_that_is_given_up_is_a_serious_failure(tmp_path, server, trail, ledger):
    with web_server(http(403)) as port:
        web = WebDestination("pacs", f"http://127.0.0.1:{port}/dicom-web", timeout=5)
        deliver_due(ledger, tmp_path / "results", web, "SCARNODE", DeliverSection(), audit=trail)
    begun, ended = sent(trail, server, 2)
    assert (begun.event, ended.event, ended.outcome) == ("sending", "transferred", "8")
    assert ended.root.findall("ActiveParticipant")[1].get("UserID") == f"http://127.0.0.1:{port}/dicom-web"


def test_a_study_that_retention_deletes_is_told(tmp_path, server, trail):
    house = House(tmp_path)
    house.receive(range(1, 4))
    house.search()  # nothing in it is analysed
    janitor = Janitor(
        house.ledger,
        house.spool,
        house.results,
        house.disks,
        RetentionSection(sources_days=1e-9),
        house.task_locks,
        trail,
    )
    time.sleep(0.01)
    janitor.look()
    house.close()
    assert not list(house.spool)
    [message] = sent(trail, server, 1)
    assert (message.event, message.objects("3")[0].get("ParticipantObjectID")) == ("deleted", "1.2.3")
    assert sum(classes(message).values()) == 3
    assert_valid([message.xml], tmp_path / "xml")


def config_with(ledger: Ledger, server: Rsyslog, folder: Path) -> Path:
    file = folder / "config.ini"
    file.write_text(
        f"[spool]\npath = spool\n[ledger]\nurl = sqlite:///ledger.sqlite\n"
        f"[audit]\nurl = {server.url}\nca_file = {server.ca_file}\nsource_id = node-7\n"
    )
    return file


def test_the_command_line_leaves_a_trace_before_it_shows_a_patient(tmp_path, server, trail, ledger, scarnode):
    config = config_with(ledger, server, tmp_path)
    for words in (
        ["jobs", "list"],
        ["jobs", "list", "--json", "--state", "queued"],  # shows nobody
        ["jobs", "show", "1"],
        ["series", "list"],
        ["series", "show", "1.2.3.0"],
        ["jobs", "export", "-o", tmp_path / "jobs.csv"],
    ):
        scarnode(*words, "-c", config)
    messages = sent(trail, server, 5)
    assert [message.event for message in messages] == ["accessed"] * 4 + ["exported"]
    assert {message.objects("1")[0].get("ParticipantObjectID") for message in messages} == {"SYN-1"}
    assert {message.objects("3")[0].get("ParticipantObjectID") for message in messages} == {"1.2.3"}
    people = [message.root.find("ActiveParticipant") for message in messages]
    assert {person.get("UserIsRequestor") for person in people} == {"true"}
    assert all("@" in person.get("UserID") for person in people)
    assert {message.root.find("AuditSourceIdentification").get("AuditSourceID") for message in messages} == {"node-7"}
    assert_valid([message.xml for message in messages], tmp_path / "xml")
    for path in (trail.folder, trail.folder / "partial"):
        for left in path.iterdir():
            left.unlink() if left.is_file() else None
    (trail.folder / "partial").rmdir()
    (trail.folder / "partial").touch()  # no trace can be left: nothing is shown
    done = scarnode("jobs", "list", "-c", config, code=2)
    assert "SYN-1" not in done.stdout
    assert "no audit message can be kept" in done.stderr


def test_the_command_line_tells_what_it_changes(tmp_path, server, trail, ledger, scarnode):
    config = config_with(ledger, server, tmp_path)
    scarnode("jobs", "retry", "1", "-c", config)
    scarnode("jobs", "cancel", "1", "-c", config)
    scarnode("jobs", "cancel", "1", "2", "-c", config, code=2)  # has ended, and there is none
    messages = sent(trail, server, 3)
    assert [(message.event, message.kind, message.outcome) for message in messages] == [
        ("accessed", "JOB_SENT_AGAIN", "0"),
        ("accessed", "JOB_CANCELLED", "0"),
        ("accessed", "JOB_CANCELLED", "8"),
    ]
    assert {message.root.find("EventIdentification").get("EventActionCode") for message in messages} == {"U"}
    assert {message.objects("1")[0].get("ParticipantObjectID") for message in messages} == {"SYN-1"}
    assert all("@" in message.root.find("ActiveParticipant").get("UserID") for message in messages)
    assert_valid([message.xml for message in messages], tmp_path / "xml")


def test_what_can_not_be_told_is_neither_changed_nor_written(tmp_path, server, trail, ledger, scarnode):
    config, file = config_with(ledger, server, tmp_path), tmp_path / "jobs.csv"
    file.write_text("of last month")
    (trail.folder / "partial").touch()
    before = [job.state for job in queries.list_jobs(ledger)]
    for words in (["retry", "1"], ["cancel", "1"], ["export", "-o", file]):
        assert "no audit message can be kept" in scarnode("jobs", *words, "-c", config, code=2).stderr
    assert file.read_text() == "of last month"
    assert [job.state for job in queries.list_jobs(ledger)] == before
    assert not [event for event in queries.list_events(ledger, 1) if event.actor.startswith("command line")]


def test_an_export_that_fails_is_told_as_such(tmp_path, server, trail, ledger, scarnode):
    config = config_with(ledger, server, tmp_path)
    scarnode("jobs", "export", "-o", tmp_path / "absent" / "jobs.csv", "-c", config, code=2)
    messages = sent(trail, server, 2)
    assert [(message.event, message.outcome) for message in messages] == [("exported", "0"), ("exported", "8")]


def test_files_sent_by_hand_are_told(tmp_path, server, trail, ledger, scarnode):
    config = config_with(ledger, server, tmp_path)
    file = make_object(tmp_path / "one.dcm", study="1.2.1")
    with storescp(tmp_path / "there") as port:
        scarnode("send", file, "--to", f"STORESCP@127.0.0.1:{port}", "-c", config)
    messages = sent(trail, server, 2)
    assert [message.event for message in messages] == ["sending", "transferred"]
    for message in messages:
        asking = [one for one in message.root.findall("ActiveParticipant") if one.get("UserIsRequestor") == "true"]
        assert len(asking) == 1
        assert "@" in asking[0].get("UserID")
        assert patient(message)[0] == "4711"
    assert_valid([message.xml for message in messages], tmp_path / "xml")


@pytest.mark.slow
def test_a_node_from_start_to_stop_with_a_kill_and_no_repository(tmp_path):
    """What was received and refused before kill -9, while the repository was away, arrives: in order, once."""
    server = Rsyslog(tmp_path / "repository")
    files = [make_object(tmp_path / f"{n}.dcm", study="1.2.1") for n in range(6)]
    audit = {"url": server.url, "ca_file": server.ca_file, "enterprise_site_id": "site"}
    node = Node(
        tmp_path / "node", audit=audit, node={"calling_ae_titles": "SCANNER, HARNESS"}, study={"quiet_seconds": 600}
    )
    with node:
        assert storescu(node.host, node.port, files[:2], node.ae_title).returncode == 0
        folder = node.spool / "audit"
        wait_until(lambda: len(list(folder.glob("*.msg"))) == 2, 10, "start and reception")
        assert storescu(node.host, node.port, files[2:3], node.ae_title, "STRANGER").returncode != 0
        wait_until(lambda: len(list(folder.glob("*.msg"))) == 3, 10, "the refusal")
        link = send(node.port, files[3:], wait=True)
        node.kill()  # in the middle of an association
        link.abort()
        with server:
            node.start()
            server.wait_for(5)
            assert node.terminate() == 0
            messages = server.wait_for(6)
    # what the killed node had received in its last association is told once the next one runs
    told = [(message.event, message.kind, message.outcome) for message in messages]
    assert told == [
        ("activity", "110120", "0"),
        ("transferred", "", "0"),
        ("alert", "110126", "8"),
        ("activity", "110120", "0"),
        ("transferred", "", "0"),
        ("activity", "110121", "0"),
    ]
    assert [sum(classes(message).values()) for message in messages if message.event == "transferred"] == [2, 3]
    assert not [path for path in folder.rglob("*") if path.is_file()]
    assert_valid([message.xml for message in messages], tmp_path / "xml")
    [alarm] = query(node.ledger_path, "SELECT cleared_at FROM alarm WHERE name = 'audit_repository'")
    assert alarm["cleared_at"] is not None
    assert "Secret" not in node.log()
    assert "4711" not in node.log()
    assert "1.2.1" not in node.log().replace("127.0.0.1", "")
