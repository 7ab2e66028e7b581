"""Doubtful input through the wire: doubled, interleaved, contradictory, and no DICOM at all."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom import Dataset, dcmread
from pydicom.uid import MRImageStorage, generate_uid
from pynetdicom import AE
from pynetdicom.pdu_primitives import A_ASSOCIATE

from scarnode.dicom.reactor import held
from scarnode.dicom.scu import RemoteAE, send
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.node import Node
from tests.harness.tools import wait_until


@pytest.fixture(scope="module")
def node(tmp_path_factory):
    with Node(
        tmp_path_factory.mktemp("node"), node={"network_timeout_seconds": 3}, study={"quiet_seconds": 2}
    ) as running:
        yield running


@pytest.fixture(scope="module")
def lge(tmp_path_factory) -> list[Path]:
    phantom = make_phantom(41, PhantomSettings(matrix=(128, 128), slices=8, component="magnitude"))
    return write_dicom(phantom, tmp_path_factory.mktemp("lge"))


def a_study(
    lge: list[Path], folder: Path, change: Callable[[int, Dataset], None] = lambda number, ds: None
) -> tuple[str, list[Path]]:
    """Write the stack as a study of its own, each image changed."""
    study, series = generate_uid(), generate_uid()
    folder.mkdir()
    for number, path in enumerate(lge):
        ds = dcmread(path)
        ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
        ds.SOPInstanceUID = ds.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        change(number, ds)
        ds.save_as(folder / f"{number}.dcm", enforce_file_format=True)
    return study, sorted(folder.iterdir())


def push(node: Node, paths: list[Path]) -> None:
    outcomes = send(paths, RemoteAE(node.host, node.port, node.ae_title, timeout=30), "SCANNER")
    assert all(outcome.ok for outcome in outcomes), outcomes


def files(node: Node, study: str) -> list[dict]:
    statement = "SELECT instance.* FROM instance JOIN study ON study.id = study_id WHERE study_instance_uid = ?"
    return books.query(node.ledger_path, statement, [study])


def reasons(node: Node, study: str, count: int) -> list[str]:
    """Wait until all of a study was searched, and give the reasons of its verdicts."""
    searched = """SELECT reason FROM series JOIN study ON study.id = study_id
        WHERE study_instance_uid = ? AND searched_instance = newest_instance"""
    wait_until(lambda: len(files(node, study)) >= count, 60, f"{count} instances")
    rows = wait_until(lambda: books.query(node.ledger_path, searched, [study]), 60, "verdicts")
    return sorted(row["reason"] for row in rows)


@pytest.mark.slow
def test_eight_interleaved_associations_that_send_everything_twice_at_once(node, lge, tmp_path):
    study, paths = a_study(lge, tmp_path / "study")
    shares = [[path for path in paths[k::4] for _ in range(2)] for k in range(4)] * 2
    with ThreadPoolExecutor(8) as senders:
        list(senders.map(lambda share: push(node, share), shares))
    assert reasons(node, study, 8) == ["LGE_SHORT_AXIS"]
    [job] = books.wait_for_jobs(node.ledger_path, study, timeout=120)
    assert (job["state"], job["slices"]) == ("done", 8)
    assert len(files(node, study)) == 8
    named = [dcmread(path).SOPInstanceUID for path in paths]
    assert sum(path.name.startswith(tuple(named)) for path in node.spool.rglob("*.dcm")) == 8
    push(node, paths)  # once more, after the result
    wait_until(lambda: "the same input came again" in story(node, study), 60, "the search of what came again")
    assert len(books.jobs(node.ledger_path, study)) == 1


def story(node: Node, study: str) -> str:
    statement = "SELECT why FROM event JOIN study ON study.id = study_id WHERE study_instance_uid = ?"
    return "\n".join(row["why"] for row in books.query(node.ledger_path, statement, [study]))


@pytest.mark.slow
def test_two_images_under_one_uid_are_both_kept_and_hold_the_result(node, lge, tmp_path, scarnode):
    study, paths = a_study(lge, tmp_path / "study")
    other = dcmread(paths[3])
    other.PixelData = np.roll(other.pixel_array, 5).tobytes()
    other.save_as(tmp_path / "other.dcm")
    push(node, [*paths, tmp_path / "other.dcm"])
    assert reasons(node, study, 9) == ["CONFLICTING_CONTENT", "LGE_SHORT_AXIS"]
    [job] = books.wait_for_jobs(node.ledger_path, study, timeout=120)
    assert (job["state"], job["slices"]) == ("held", 7)
    doubtful = [row for row in files(node, study) if row["problem"]]
    assert len(doubtful) == 2
    assert all("different content" in row["problem"] and (node.spool / row["path"]).exists() for row in doubtful)
    shown = scarnode("series", "list", "-c", node.config_path, "--study", study).stdout
    assert "CONFLICTING_CONTENT" in "".join(shown.split())
    assert "CONFLICTING_CONTENT" in "".join(scarnode("jobs", "show", job["id"], "-c", node.config_path).stdout.split())


def test_two_patients_under_one_study_uid_make_no_result(node, lge, tmp_path, scarnode):
    def another_patient(number: int, ds: Dataset) -> None:
        if number % 2:
            ds.PatientID, ds.PatientName = "OTHER-1", "PHANTOM^OTHER"

    study, paths = a_study(lge, tmp_path / "study", another_patient)
    push(node, paths)
    assert reasons(node, study, 8) == ["PATIENT_MISMATCH"]
    assert books.jobs(node.ledger_path, study) == []
    assert all((node.spool / row["path"]).exists() for row in files(node, study))
    shown = scarnode("series", "files", study, "-c", node.config_path).stdout
    assert shown.count("OTHER-1") == 4


def associate_request() -> bytes:
    """An A-ASSOCIATE-RQ as pynetdicom sends it."""
    from pynetdicom.pdu import A_ASSOCIATE_RQ
    from pynetdicom.pdu_primitives import ImplementationClassUIDNotification, MaximumLengthNotification
    from pynetdicom.presentation import build_context

    asked = A_ASSOCIATE()
    asked.application_context_name = "1.2.840.10008.3.1.1.1"
    asked.calling_ae_title, asked.called_ae_title = "SCANNER", "SCARNODE"
    length, ours = MaximumLengthNotification(), ImplementationClassUIDNotification()
    length.maximum_length_received, ours.implementation_class_uid = 16384, "1.2.3"
    asked.user_information = [length, ours]
    context = build_context(MRImageStorage)
    context.context_id = 1
    asked.presentation_context_definition_list = [context]
    pdu = A_ASSOCIATE_RQ()
    pdu.from_primitive(asked)
    return pdu.encode()


REQUEST = associate_request()


def data(values: bytes, length: int | None = None) -> bytes:
    """A P-DATA-TF PDU."""
    return struct.pack(">BBI", 4, 0, len(values) if length is None else length) + values


@st.composite
def openings(draw) -> bytes:
    """First bytes of a peer: noise, or a request with some bytes changed, cut off, or of a false length."""
    kind = draw(st.sampled_from(["noise", "header", "mutated", "cut", "data"]))
    if kind == "noise":
        return draw(st.binary(max_size=300))
    if kind == "header":
        return struct.pack(">BBI", draw(st.integers(0, 8)), 0, draw(st.integers(0, 2**32 - 1))) + draw(
            st.binary(max_size=200)
        )
    if kind == "cut":
        return REQUEST[: draw(st.integers(0, len(REQUEST)))]
    if kind == "mutated":
        changed = bytearray(REQUEST)
        for at in draw(st.lists(st.integers(0, len(REQUEST) - 1), min_size=1, max_size=8)):
            changed[at] = draw(st.integers(0, 255))
        return bytes(changed)
    length = draw(st.one_of(st.none(), st.integers(0, 2**32 - 1)))
    values = draw(st.binary(max_size=300))
    if draw(st.booleans()):
        values = struct.pack(">IBB", draw(st.sampled_from([0, 1, 2, len(values) + 2, 2**31])), 1, 3) + values
    return REQUEST + data(values, length)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(openings())
def test_no_first_bytes_harm_the_node(node, opening):
    with socket.create_connection((node.host, node.port), timeout=5) as peer:
        peer.sendall(opening)
        peer.shutdown(socket.SHUT_WR)
        peer.settimeout(20)
        try:
            while peer.recv(4096):
                pass
        except ConnectionError:
            pass


def resident(pid: int) -> int:
    """Bytes of memory of a process."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) << 10


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc")
def test_promises_of_gigabytes_cost_nothing(node):
    """PDUs and fragments that never end: the node hangs up, and keeps what it has to itself."""
    assert node.echo()
    before = resident(node.pid)
    for start in (
        struct.pack(">BBI", 1, 0, 2**32 - 1),
        REQUEST + struct.pack(">BBI", 4, 0, 2**32 - 1),
        REQUEST + data(struct.pack(">IBB", 2**32 - 1, 1, 0)),
    ):
        with socket.create_connection((node.host, node.port), timeout=20) as peer:
            try:
                peer.sendall(start)
                for _ in range(200):  # what it still reads after hanging up, it throws away
                    peer.sendall(bytes(1 << 20))
                while peer.recv(4096):
                    pass
            except ConnectionError:
                pass
    assert resident(node.pid) - before < 100 << 20


def test_and_after_all_this_it_answers(node):
    ae = AE("SCANNER")
    ae.add_requested_context("1.2.840.10008.1.1")
    association = held(ae.associate(node.host, node.port, ae_title=node.ae_title))
    assert association.send_c_echo().Status == 0
    association.release()
    assert "Traceback" not in node.log()
