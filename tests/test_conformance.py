"""docs/conformance.md is true to the code: its tables against the wire, the settings and the objects."""

from __future__ import annotations

import re
import threading
from datetime import time, timedelta
from pathlib import Path
from typing import Any

import pynetdicom
import pytest
from pydantic import SecretStr
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import AllTransferSyntaxes, ExplicitVRLittleEndian, UID_dictionary
from pynetdicom import AE, AllStoragePresentationContexts, build_context, evt
from pynetdicom.sop_class import Verification

from scarnode.config import SECTIONS, DestinationSection, PullSection, SourceSection, WebDestinationSection
from scarnode.dicom.query import Archive, Wanted, find_series, find_studies
from scarnode.dicom.query.model import Unit
from scarnode.dicom.query.retrieve import PASSING, PERMANENT, get, move
from scarnode.dicom.reactor import held
from scarnode.dicom.scp import listen
from scarnode.dicom.scu import About, RemoteAE, echo, send
from scarnode.dicom.scu.commitment import PERMANENT_ANSWERS
from scarnode.dicom.web import WebDestination
from scarnode.dicom.web.stow import DUPLICATES, PERMANENT_HTTP, PERMANENT_REASONS
from scarnode.ledger.commitments import FINAL_REASONS
from scarnode.pipeline.report import KINDS, USUAL, build_results
from tests.harness.peers import make_object
from tests.harness.web import http, item, response, web_server
from tests.pipeline.report.sources import Spec, make_case

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "conformance.md").read_text()


def table(title: str) -> list[list[str]]:
    """Give the cells of the first table below a heading, without its head."""
    _, _, below = TEXT.partition(f" {title}")
    assert below, f"there is no {title}"
    lines = re.search(r"\n((?:\|.*\n)+)", below).group(1).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def ticked(cell: str) -> list[str]:
    """Give what stands between backticks."""
    return re.findall(r"`([^`]+)`", cell)


def codes(cell: str, base: int = 16) -> list[int]:
    """Give the codes of a cell; of a range its two ends and one between."""
    found: list[int] = []
    for first, last in re.findall(r"`([0-9A-F]{3,4})`(?:-`([0-9A-F]{4})`)?", cell):
        found.append(int(first, base))
        if last:
            found += [(int(first, base) + int(last, base)) // 2, int(last, base)]
    return found


# --- STORAGE-SCP


class Disk:
    """A spool that does what the test says."""

    closed_for = ""

    def __init__(self) -> None:
        self.fault: Exception | None = None

    def store(self, incoming: Any) -> Path:
        if self.fault:
            raise self.fault
        return Path("stored")


@pytest.fixture(scope="module")
def disk() -> Disk:
    return Disk()


@pytest.fixture(scope="module")
def scp(disk):
    server = listen(disk, lambda path: None, "SCARNODE", "127.0.0.1", 0)
    yield server.socket.getsockname()[1]
    server.shutdown()


def accepted(port: int, contexts: list) -> dict[str, set[str]]:
    """Ask for presentation contexts, over as many associations as it takes, and give what was accepted."""
    found: dict[str, set[str]] = {}
    for start in range(0, len(contexts), 128):
        link = AE("ASKER").associate("127.0.0.1", port, contexts[start : start + 128], ae_title="SCARNODE")
        for context in link.accepted_contexts:
            found.setdefault(context.abstract_syntax, set()).update(context.transfer_syntax)
        link.release() if link.is_established else link.abort()
    return found


def test_storage_classes_and_transfer_syntaxes_are_those_accepted(scp):
    syntaxes = [ticked(row[1])[0] for row in table("Table 4")]
    classes = {ticked(row[1])[0] for row in table("8.7 Storage SOP classes")}
    storage = {uid for uid, entry in UID_dictionary.items() if entry[1] == "SOP Class" and "Storage" in entry[0]}
    storage |= {context.abstract_syntax for context in AllStoragePresentationContexts}
    found = accepted(scp, [build_context(uid, syntax) for uid in sorted(storage) for syntax in syntaxes])
    assert classes <= found.keys()
    if f"With pynetdicom {pynetdicom.__version__}" in TEXT:  # a later one may add classes
        assert found.keys() == classes
    assert all(taken == set(syntaxes) for taken in found.values())
    some = next(iter(classes))
    assert accepted(scp, [build_context(some, syntax) for syntax in AllTransferSyntaxes]) == {some: set(syntaxes)}
    assert accepted(scp, [build_context(Verification, syntax) for syntax in AllTransferSyntaxes]) == {
        Verification: set(syntaxes[:4])
    }
    assert accepted(scp, [build_context(Verification, syntaxes[:4])]) == {Verification: {syntaxes[1]}}
    for number in range(len(syntaxes)):  # the first of the table is preferred
        context = build_context(some, list(reversed(syntaxes[number:])))
        assert accepted(scp, [context]) == {some: {syntaxes[number]}}


def test_policies_of_the_scp(scp):
    policies = {row[0]: (ticked(row[1]) or [""])[0] for row in table("Table 3")}
    link = AE("ASKER").associate("127.0.0.1", scp, [build_context(Verification)], ae_title="SCARNODE")
    link.release()
    assert_policies(policies, link.acceptor)
    for name, ticks in policies.items():
        if ticks.startswith("[node]"):
            assert ticks.split()[1] in SECTIONS["node"].model_fields, name


def assert_policies(policies: dict[str, str], peer: Any) -> None:
    assert policies["Application context name"] == peer.primitive.application_context_name
    assert int(policies["Maximum PDU length received"]) == peer.maximum_length
    assert policies["Implementation Class UID"] == peer.implementation_class_uid
    assert policies["Implementation Version Name"] == peer.implementation_version_name
    assert {int(policies["Outstanding asynchronous operations"])} == set(peer.asynchronous_operations)


def test_status_of_the_scp(scp, disk, tmp_path, monkeypatch):
    path = make_object(tmp_path / "a.dcm")
    answered = []
    ae = AE("ASKER")
    ae.add_requested_context(dcmread(path).SOPClassUID, ExplicitVRLittleEndian)
    link = held(ae.associate("127.0.0.1", scp, ae_title="SCARNODE"))
    for fault in (None, OSError("full")):
        disk.fault = fault
        answered.append(link.send_c_store(path).Status)
    with monkeypatch.context() as wire:
        wire.setattr("pynetdicom.association.encode", lambda *_: b"\x02\x00\x10\x00UI\x04\x001.2\x00")
        answered.append(link.send_c_store(dcmread(path)).Status)
    disk.fault = ValueError("a mistake")
    answered.append(link.send_c_store(path).Status)
    disk.fault = None
    link.release()
    assert answered == [code for row in table("Table 5") for code in codes(row[2])]


# --- STORAGE-SCU


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> dict[str, Path]:
    """Give the file of every kind of result object."""
    folder = tmp_path_factory.mktemp("results")
    made = build_results(*make_case(folder, Spec(slices=3)).arguments, kinds=KINDS)
    files = {}
    for kind, dataset in made.items():
        files[kind] = folder / f"{kind}.dcm"
        dataset.save_as(files[kind], enforce_file_format=True)
    return files


def test_sop_classes_and_contexts_that_are_proposed(results):
    rows = {ticked(row[0])[0]: (ticked(row[2])[0], row[3]) for row in table("Table 6")}
    assert list(rows) == list(KINDS)
    assert {kind for kind, (_, made) in rows.items() if made == "always"} == set(USUAL)
    for kind, path in results.items():
        assert dcmread(path).SOPClassUID == rows[kind][0]
    syntaxes = set(ticked(table("Table 8")[0][1]))
    for_echo = set(ticked(table("Table 8")[1][1]))
    proposed: list = []
    peers: list = []

    def requested(event: evt.Event) -> None:
        peers.append(event.assoc.requestor)
        proposed.append(
            [(c.abstract_syntax, tuple(c.transfer_syntax)) for c in event.assoc.requestor.requested_contexts]
        )

    ae = AE("PACS")
    ae.supported_contexts = [*AllStoragePresentationContexts, build_context(Verification)]
    handlers = [(evt.EVT_REQUESTED, requested), (evt.EVT_C_STORE, lambda event: 0), (evt.EVT_C_ECHO, lambda event: 0)]
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    destination = RemoteAE("127.0.0.1", server.server_address[1], "PACS")
    assert all(outcome.ok for outcome in send(list(results.values()), destination, "SCARNODE"))
    assert echo(destination, "SCARNODE").ok
    server.shutdown()
    sent = {rows[kind][0] for kind in results}
    assert sorted(proposed[0]) == sorted((uid, (syntax,)) for uid in sent for syntax in syntaxes)
    [(uid, taken)] = proposed[1]
    assert (uid, set(taken)) == (Verification, for_echo)
    for peer in peers:
        assert_policies({row[0]: (ticked(row[1]) or [""])[0] for row in table("Table 7")}, peer)
        assert not (peer.role_selection or peer.sop_class_extended or peer.user_identity)


OUTCOMES = {"sent": (True, False), "failed": (False, True), "tried again": (False, False)}


def outcome_of(cell: str) -> tuple[bool, bool]:
    return OUTCOMES[cell.split(":", maxsplit=1)[0]]


def test_what_a_status_leads_to(tmp_path):
    path = make_object(tmp_path / "a.dcm")
    expected = [(code, outcome_of(row[2])) for row in table("Table 9") for code in codes(row[1])]
    answers = iter([code for code, _ in expected])
    ae = AE("PACS")
    ae.add_supported_context(dcmread(path).SOPClassUID)
    server = ae.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda e: next(answers))])
    destination = RemoteAE("127.0.0.1", server.server_address[1], "PACS")
    outcomes = send([path] * len(expected), destination, "SCARNODE")
    server.shutdown()
    assert [(o.status, (o.ok, o.permanent)) for o in outcomes] == expected


def test_what_refuses_storage_commitment_for_good():
    said = [row for row in table("Table 10a") if row[1].startswith("failed")]
    assert set(codes(said[0][0])) == PERMANENT_ANSWERS
    assert set(codes(said[1][0])) == FINAL_REASONS


# --- QUERY-SCU


def test_what_is_asked_of_an_archive():
    asked: dict[str, list] = {"FIND": [], "MOVE": [], "GET": []}
    proposed: list = []
    roles: list = []

    def requested(event: evt.Event) -> None:
        peer = event.assoc.requestor
        proposed.append({c.abstract_syntax: tuple(c.transfer_syntax) for c in peer.requested_contexts})
        roles.append(peer.role_selection)

    def find(event: evt.Event) -> Any:
        asked["FIND"].append(event.identifier)
        yield 0x0000, None

    ae = AE("ARCHIVE")
    rows = {row[0].rsplit(" ", 1)[1]: (ticked(row[1])[0], tuple(ticked(row[2]))) for row in table("Table 12a")[:3]}
    for uid, _ in rows.values():
        ae.add_supported_context(uid)
    server = ae.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_REQUESTED, requested), (evt.EVT_C_FIND, find)]
    )
    peer = RemoteAE("127.0.0.1", server.server_address[1], "ARCHIVE")
    archive, never = Archive("archive", peer), threading.Event()
    find_studies(archive, Wanted(accession="A"), "SCARNODE")
    find_series(archive, "1.2.3", "SCARNODE")
    node = RemoteAE("127.0.0.1", 1, "SCARNODE")
    for retrieve in (move, get):
        retrieve(archive, Unit("1.2.3"), node, "SCARNODE", lambda counts: None, never)
    server.shutdown()
    assert proposed[:3] == [dict([rows["FIND"]])] * 2 + [dict([rows["MOVE"]])]
    assert proposed[3].pop(rows["GET"][0]) == rows["GET"][1]
    assert set(proposed[3].values()) == {tuple(ticked(row[1])[0] for row in table("Table 4"))}
    said = next(row[0] for row in table("Table 12a")[3:])
    assert len(proposed[3]) == int(said.split()[0]) == len(roles[3])
    assert all(role.scp_role and not role.scu_role for role in roles[3].values())
    for question, row in zip(asked["FIND"], table("Table 12b"), strict=True):
        keys = {element.keyword for element in question} - {"QueryRetrieveLevel"}
        assert question.QueryRetrieveLevel == row[0]
        assert keys == {*ticked(row[1]), *ticked(row[2])}


def test_what_ends_a_retrieval():
    rows = table("Table 12c")
    assert set(codes(rows[1][0])) == set(PERMANENT)
    assert set(PASSING) <= set(codes(rows[2][0]))


# --- STOW-RS


def test_what_a_store_response_leads_to(tmp_path):
    path = make_object(tmp_path / "a.dcm")
    rows = table("Table 11")[1:]
    expected = [(code, outcome_of(row[2])) for row in rows for code in codes(row[1])]
    answers = [http(409, response(failed=[item(path, reason=code)])) for code, _ in expected]
    lines = [row for row in table("Table 12") if "Retry-After" not in row[1]]
    statuses = [(status, outcome_of(row[1])) for row in lines for status in codes(row[0], base=10)]
    expected += statuses
    answers += [http(status) for status, _ in statuses]
    seen: list[bytes] = []
    with web_server(*answers, requests=seen) as port:
        destination = WebDestination("web", f"http://127.0.0.1:{port}/dicom-web", timeout=5)
        outcomes = [destination.send([path], "SCARNODE")[0] for _ in expected]
    assert [(o.status, (o.ok, o.permanent)) for o in outcomes] == expected
    waiting = {o.status for o in outcomes if o.about is About.DESTINATION}
    assert waiting == set(codes(next(row[0] for row in table("Table 12") if "Retry-After" in row[1]), base=10))
    named = {code for row in rows for code in codes(row[1])}
    assert {code for code in named if code in DUPLICATES} == DUPLICATES
    assert PERMANENT_REASONS - named == set(range(0xA900, 0xAA00)) - named
    assert {status for status, outcome in statuses if outcome == OUTCOMES["failed"]} == PERMANENT_HTTP
    assert b"POST /dicom-web/studies " in seen[0]
    assert b'multipart/related; type="application/dicom"' in seen[0]
    assert b"Content-Length" in seen[0]
    for media_type in ("application/dicom+json", "application/dicom+xml"):
        assert media_type.encode() in seen[0]
        assert f"`{media_type}`" in TEXT


# --- settings and objects


def test_parameters_and_their_defaults():
    kinds = {"C-STORE": DestinationSection, "STOW-RS": WebDestinationSection}
    written = {(row[0], ticked(row[1])[0]): (ticked(row[2]) or [row[2]])[0] for row in table("Table 13")}
    true = {
        (f"`[{section}]`", key): shown(field)
        for section, model in SECTIONS.items()
        for key, field in model.model_fields.items()
    }
    for kind, model in kinds.items():
        true |= {(f"`[destination:NAME]`, {kind}", key): shown(field) for key, field in model.model_fields.items()}
    for section, model in (("source", SourceSection), ("pull", PullSection)):
        true |= {(f"`[{section}:NAME]`", key): shown(field) for key, field in model.model_fields.items()}
    assert written == true


def shown(field: Any) -> str:
    """Give a default as config.ini writes it."""
    if field.is_required():
        return "required"
    value = field.default.get_secret_value() if isinstance(field.default, SecretStr) else field.default
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        value = ", ".join(value)
    if isinstance(value, timedelta):
        value = value.days
    if isinstance(value, time):
        value = f"{value:%H:%M}"
    return f"{value:g}" if isinstance(value, float) else str(value) if value not in (None, "") else "none"


def test_attributes_of_the_objects(results):
    common = [(ticked(row[0]), ticked(row[1])) for row in table("Table 14")]
    own = [(ticked(row[0])[0], ticked(row[1]), ticked(row[2])) for row in table("Table 15")]
    assert {kind for kind, _, _ in own} == set(KINDS)
    for kind, path in results.items():
        dataset = dcmread(path)
        for keywords, value in [*common, *(row[1:] for row in own if row[0] == kind)]:
            assert_holds(dataset, kind, keywords, value)
        assert dataset.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert not any(element.tag.is_private for element in dataset.iterall())


def assert_holds(dataset: Dataset, kind: str, keywords: list[str], value: list[str]) -> None:
    for keyword in keywords:
        assert keyword in dataset, f"{kind} has no {keyword}"
        if value:
            assert str(dataset.get(keyword)) == value[0], f"{kind}: {keyword}"
