"""The doctor: a synthetic study through a real node; and of everything that is broken, what to do about it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest
from pydicom import dcmread

from scarnode.doctor import selftest
from scarnode.ledger.ledger import Ledger
from scarnode.pipeline.segment.card import shipped_weights
from tests.dicom.query.archive import fake_archive
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.senders import small_studies
from tests.harness.tools import free_port, wait_until


def told(done) -> dict[str, dict]:
    return {finding["what"]: finding for finding in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    with Orthanc(tmp_path_factory.mktemp("orthanc"), DicomAlwaysAllowFind=True, DicomAlwaysAllowMove=True) as running:
        yield running


@pytest.fixture(scope="module")
def node(tmp_path_factory, orthanc):
    where = {"host": orthanc.host, "port": orthanc.port, "ae_title": orthanc.ae_title}
    spool = {"min_free_gigabytes": 0}
    folder = tmp_path_factory.mktemp("node")
    study = {"quiet_seconds": 1, "hold_flags": ""}
    with Node(folder, {"pacs": orthanc}, spool=spool, study=study, **{"source:archive": where}) as running:
        yield running


@pytest.mark.slow
def test_a_synthetic_study_goes_through_the_node_and_nowhere_else(scarnode, node, orthanc, monkeypatch):
    ask = selftest._job

    def slow_answer(ledger, uid):
        """No job yet: an answer that comes back when there is one."""
        if (job := ask(ledger, uid)) is None:
            wait_until(lambda: ask(ledger, uid) is not None, 60, "the study to be found")
        return job

    monkeypatch.setattr(selftest, "_job", slow_answer)
    done = scarnode("doctor", "-c", node.config_path, "--json")
    assert "1 s of quiet ([study] quiet_seconds)" in done.stderr
    found = told(done)
    assert [one for one in found.values() if one["state"] == "fail"] == []
    assert "nothing was sent anywhere" in found["self-test: report"]["detail"]
    assert "synthetic" in found["self-test: numbers"]["detail"]
    assert found["self-test: analysis"]["detail"].endswith(" s")
    assert "takes seg, sr, sc" in found["destination pacs"]["detail"]
    assert "C-MOVE" in found["source archive"]["detail"]
    assert "the node answers" in found["port"]["detail"]

    def forgotten() -> bool:
        rows = [
            books.query(node.ledger_path, f"SELECT * FROM {table}") for table in ("study", "job", "instance", "event")
        ]
        return not any(rows) and not list(node.spool.glob("*/*.dcm")) and not list(node.results.glob("*/*.dcm"))

    wait_until(forgotten, 20, "the self-test to be deleted")
    [mark] = books.query(node.ledger_path, "SELECT * FROM self_test")
    assert mark["ended_at"]
    assert orthanc.instances() == []


def test_what_the_network_says_makes_no_self_test(node, tmp_path):
    """Only a study that was written into the ledger before is one, whatever its header says."""
    study = next(small_studies(tmp_path, "doctor"))
    for path in study.paths:
        image = dcmread(path)
        image.PatientID, image.PatientName = "SCARNODE-SELF-TEST", "SELF-TEST^SYNTHETIC"
        image.save_as(path)
    done = storescu(node.host, node.port, study.paths, node.ae_title)
    assert done.returncode == 0, done.stderr
    [job] = books.wait_for_jobs(node.ledger_path, study.uid, timeout=120)
    assert job["state"] == "done"
    sent = books.query(node.ledger_path, "SELECT * FROM delivery WHERE job_id = ?", (job["id"],))
    assert {row["state"] for row in sent} == {"sent"}
    assert len(sent) == 3


# --- without a running node; each broken in one way


@pytest.fixture
def broken(tmp_path, scarnode):
    """Run the doctor on a node that does not run, with these sections."""

    def run(code: int = 1, words: tuple[str, ...] = ("--no-self-test",), **sections) -> dict[str, dict]:
        sections.setdefault("spool", {})
        sections["spool"].setdefault("min_free_gigabytes", 0)
        node = Node(tmp_path / "node", **sections)
        return told(scarnode("doctor", "-c", node.write_config(), "--json", *words, code=code))

    return run


def assert_fails(finding: dict, detail: str, todo: str, state: str = "fail") -> None:
    assert finding["state"] == state, finding
    assert detail in finding["detail"]
    assert todo in finding["todo"]


@pytest.mark.slow
def test_without_a_node_the_study_is_analysed_here(broken):
    found = broken(0, words=())
    assert_fails(found["port"], "the node does not run", "scarnode serve", "warning")
    assert found["self-test: numbers"]["state"] == "ok"
    assert "network loaded" in found["self-test: analysis"]["detail"]


def test_a_config_that_can_not_be_used(tmp_path, scarnode):
    path = tmp_path / "config.ini"
    path.write_text("[node]\nport = many\n")
    done = scarnode("doctor", "-c", path, code=1)
    assert "[node] port = 'many': allowed:" in done.stdout
    assert "-> Correct the file" in done.stdout
    path.write_text("[destination:a]\nurl = http://127.0.0.1:1\nuser = u\npassword = p\n")
    path.chmod(0o644)
    assert "chmod 600" in scarnode("doctor", "-c", path, "--no-self-test", code=1).stdout


def test_a_port_that_another_program_has(broken):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        found = broken(node={"port": port})
    assert_fails(found["port"], "the node does not answer there", f"ss -ltnp 'sport = :{port}'")


def test_ledgers(broken, tmp_path):
    (tmp_path / "node").mkdir()
    path = tmp_path / "node" / "ledger.sqlite"
    path.write_bytes(b"no database" * 1000)
    assert_fails(broken()["ledger"], "can not be read", "put back the copy")
    path.unlink()
    Ledger(f"sqlite:///{path}", actor="test").close()
    for version, todo, state in (("0003", "scarnode db upgrade", "warning"), ("9999", "newer scarnode again", "fail")):
        with closing(sqlite3.connect(path)) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (version,))
            database.commit()
        assert_fails(broken(1 if state == "fail" else 0)["ledger"], version, todo, state)


def test_folders(broken, tmp_path):
    spool = tmp_path / "open"
    spool.mkdir(mode=0o755)
    spool.chmod(0o755)
    assert_fails(broken(0, spool={"path": spool})["folder of spool"], "others may read", "chmod 700", "warning")
    full = broken(spool={"path": spool, "min_free_percent": 90, "min_free_gigabytes": 10**6})
    assert_fails(full["folder of spool"], "free of", "images are refused until then")
    file = tmp_path / "file"
    file.touch()
    assert_fails(broken(results={"path": file})["folder of results"], "can not be written", "chown -R")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_of_another_user(broken, tmp_path):
    spool = tmp_path / "closed"
    spool.mkdir(mode=0o500)
    assert_fails(broken(spool={"path": spool})["folder of spool"], "can not be written", "sudo -u scarnode")


def test_weights_that_are_damaged_or_gone(broken, tmp_path):
    assert_fails(
        broken(segment={"weights": tmp_path / "none.safetensors"})["weights"], "is missing", "[segment] weights"
    )
    shipped = shipped_weights()
    for path in shipped.parent.glob(shipped.stem + "*"):
        shutil.copy(path, tmp_path / path.name)
    with (tmp_path / shipped.name).open("ab") as file:
        file.write(b"x")
    found = broken(words=(), segment={"weights": tmp_path / shipped.name})
    assert_fails(found["weights"], "the card says", "copy both again")
    assert_fails(found["self-test"], "not tried", "First see to: weights", "warning")


def test_a_device_that_is_not_there(broken):
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert_fails(broken(segment={"device": "cuda"})["device"], "finds no GPU", "device = auto")


def test_a_clock_that_went_back(broken, tmp_path):
    spool = tmp_path / "spool"
    spool.mkdir(mode=0o700)
    (spool / "lock").touch()
    os.utime(spool / "lock", (4e9, 4e9))
    assert_fails(broken(spool={"path": spool})["clock"], "newer than the clock", "timedatectl")


def test_a_certificate_that_ends_soon(broken, authority):
    own = authority.issue("node", days=10)
    keys = {"certificate": own.certificate, "private_key": own.private_key}
    assert_fails(broken(0, tls=keys)["certificate of [tls]"], "ends on", "renewed", "warning")


def test_destinations_and_archives_that_are_not_there_or_refuse(broken, orthanc):
    nobody = {"host": "127.0.0.1", "port": free_port(), "ae_title": "GONE", "timeout_seconds": 2}
    wrong = {"host": orthanc.host, "port": orthanc.port, "ae_title": "WRONG"}
    url = {"url": f"http://127.0.0.1:{free_port()}/dicom-web", "timeout_seconds": 2}
    sections = {"destination:gone": nobody, "destination:wrong": wrong, "destination:web": url, "source:gone": nobody}
    with fake_archive(find=lambda event: iter([(0xC001, None)])) as strange, fake_archive() as mute:
        for name, archive in (("strange", strange), ("mute", mute)):
            sections[f"source:{name}"] = {"host": "127.0.0.1", "port": archive.peer.port, "ae_title": "ARCHIVE"}
        sections["destination:mute"] = sections["source:mute"]
        found = broken(**sections)
    assert_fails(found["destination gone"], "No connection to GONE", "Check host, port and ae_title of gone")
    assert_fails(found["destination wrong"], "rejected the association", "ae_title of wrong")
    assert_fails(found["destination web"], "", "Check url")
    assert_fails(found["destination mute"], "does not take seg (Segmentation Storage)", "[destination:mute] objects")
    assert_fails(found["source gone"], "No connection to GONE", "ae_title of gone")
    assert_fails(found["source strange"], "0xC001", "Ask its administrator")
    assert_fails(found["source mute"], "does not take", "Allow Query/Retrieve there")


def test_an_archive_that_does_not_move(broken):
    with fake_archive(find=lambda event: iter(())) as archive:
        where = {"host": "127.0.0.1", "port": archive.peer.port, "ae_title": "ARCHIVE"}
        assert_fails(broken(**{"source:a": where})["source a"], "does not do C-MOVE", "how = get")


@pytest.mark.soak
def test_a_network_that_makes_wrong_numbers(broken, monkeypatch):
    from scarnode.doctor import selftest

    truth = selftest.truth_of
    monkeypatch.setattr(selftest, "truth_of", lambda phantom: selftest.Truth(8, 60.0, truth(phantom).myocardium))
    found = broken(words=())
    assert_fails(found["self-test: numbers"], "expected: myocardium within", "Check [segment] weights")


def test_lines_for_people(scarnode, tmp_path):
    config = Node(tmp_path / "node", spool={"min_free_gigabytes": 0}).write_config()
    lines = scarnode("doctor", "-c", config, "--no-self-test").stdout.splitlines()
    assert lines[0].startswith("ok      config.ini:")
    assert any(line.startswith("warning port:") for line in lines)
    assert stat.S_ISREG(Path(config).stat().st_mode)
