"""A real node's SQLite ledger: commands and pages beside it, a second node, and a ledger that goes away under it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
import requests

from scarnode.dicom.scu import RemoteAE, send
from scarnode.web import Role, make_account
from tests.harness.commands import commands
from tests.harness.crowd import run_commands
from tests.harness.ledger import query, wait_for_jobs
from tests.harness.ledger_locks import deleted_files, locks_on
from tests.harness.node import Node
from tests.harness.senders import send_by_pynetdicom, small_studies
from tests.harness.tools import free_port, wait_until
from tests.harness.web import http, web_server

ELSEWHERE = {
    "serve", "segment", "demo", "phantom", "send", "pull", "train", "evaluate", "config init", "config unit",
    "web user", "jobs retry", "jobs cancel", "series take-out",
}  # fmt: skip
"""Commands that use no ledger, or change it."""

ROUNDS = int(os.environ.get("SCARNODE_COMMAND_ROUNDS", "100"))

PASSWORD = "correct horse battery"
PAGES = ("/", "/jobs", "/studies", "/jobs/1", "/settings", "/metrics", "/healthz", "/readyz", "/api/jobs")


def node_in(folder: Path, **sections) -> Node:
    account = make_account("ada", Role.ADMIN, PASSWORD)
    settings = {
        "web": {"port": free_port(), "users": str(account)},
        "study": {"quiet_seconds": 1, "hold_flags": "NONE"},
        "segment": {"device": "cpu", "threads": 1},
    }
    return Node(folder, **{**settings, **sections})


def address(node: Node) -> str:
    return f"http://127.0.0.1:{node._settings['web']['port']}"


def look_at_pages(node: Node) -> None:
    browser = requests.Session()
    browser.headers["Origin"] = address(node)
    done = browser.post(address(node) + "/login", data={"name": "ada", "password": PASSWORD}, timeout=20)
    assert done.status_code == 200, done.text
    answers = {page: browser.get(address(node) + page, timeout=20).status_code for page in PAGES}
    assert answers["/"] == 200
    assert not [page for page, status in answers.items() if status >= 500 and page != "/readyz"], answers


def reading_commands(node: Node, study: str, folder: Path) -> list[tuple[str, ...]]:
    """One line, or more, of every command that reads the ledger."""
    words = [
        ("jobs list",), ("jobs list", "--json"), ("jobs show", "1"), ("jobs export", "-o", folder / "jobs.csv"),
        ("series list",), ("series show", "--study", study), ("series files", study), ("alarms", "--all"),
        ("doctor", "--no-self-test"), ("db upgrade",), ("config check",), ("web login",),
    ]  # fmt: skip
    assert {name for name, _ in commands()} - ELSEWHERE == {command for command, *_ in words}
    return [(*command.split(), *map(str, rest), "-c", str(node.config_path)) for command, *rest in words]


def rows(ledger: Path) -> dict[str, list]:
    tables = ("study", "instance", "job", "event", "result")
    return {table: query(ledger, f"SELECT id FROM {table}") for table in tables}


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("rounds", [3, pytest.param(ROUNDS, marks=pytest.mark.soak)])
def test_commands_and_pages_beside_a_node_leave_it_its_files(tmp_path, rounds):
    study = next(small_studies(tmp_path / "studies", f"beside-{rounds}"))
    with node_in(tmp_path / "node") as node:
        send_by_pynetdicom(node, study.paths)
        wait_for_jobs(node.ledger_path, study.uid)
        before = locks_on(node.ledger_path)
        assert {process for process, *_ in before} == {str(node.pid)}
        look_at_pages(node)
        assert locks_on(node.ledger_path) >= before
        lines = reading_commands(node, study.uid, tmp_path)
        for at_once in (False, True):
            assert run_commands(lines, rounds, at_once) == []
            look_at_pages(node)
            assert locks_on(node.ledger_path) >= before
            assert deleted_files(node.pid, node.ledger_path) == []
        there = rows(node.ledger_path)
        assert all(there.values())
        node.kill()
        assert rows(node.ledger_path) == there
        with closing(sqlite3.connect(node.ledger_path)) as ledger:
            assert ledger.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_a_node_keeps_its_locks_while_pages_and_commands_look(tmp_path):
    """The same with two commands: it runs each time."""
    with node_in(tmp_path / "node", segment={"device": "cpu", "threads": 1, "workers": 1}) as node:
        wait_until(lambda: locks_on(node.ledger_path), 10, "locks")
        before = locks_on(node.ledger_path)
        look_at_pages(node)
        config = ("-c", str(node.config_path))
        assert run_commands([("jobs", "list", *config), ("db", "upgrade", *config)]) == []
        assert locks_on(node.ledger_path) >= before
        assert deleted_files(node.pid, node.ledger_path) == []

        other = node_in(tmp_path / "other", ledger={"url": f"sqlite:///{node.ledger_path}"})
        refused = other.run()
        assert refused.returncode == 2
        [line] = [line for line in refused.stderr.splitlines() if "another node" in line]
        assert f"(process {node.pid}) -> Stop that node, or set another [ledger] url" in line
        assert node.running


def ready(node: Node, path: str = "/readyz") -> tuple[int, str]:
    answer = requests.get(address(node) + path, timeout=10)
    return answer.status_code, answer.text


def store(node: Node, paths: list[Path]) -> set[str]:
    """Send images; return how those were answered that were not stored."""
    outcomes = send(paths, RemoteAE(node.host, node.port, node.ae_title, timeout=10), "SCANNER")
    return {one.detail for one in outcomes if not one.ok}


@pytest.mark.slow
@pytest.mark.parametrize("how", ["deleted", "replaced"])
def test_a_ledger_that_goes_away_is_told_and_nothing_is_lost(tmp_path, how):
    studies = small_studies(tmp_path / "studies", f"away-{how}")
    first, second, third = next(studies), next(studies), next(studies)
    posted: list[bytes] = []
    with web_server(http(200), requests=posted) as port:
        notify = {"webhook_url": f"http://127.0.0.1:{port}/"}
        with node_in(tmp_path / "node", notify=notify) as node:
            send_by_pynetdicom(node, first.paths)
            wait_for_jobs(node.ledger_path, first.uid)
            there = rows(node.ledger_path)
            wait_until(lambda: ready(node)[0] == 200, 60, "readiness")
            if how == "replaced":
                other = tmp_path / "other.sqlite"
                with closing(sqlite3.connect(other)) as empty:
                    empty.execute("CREATE TABLE mine (x)")
                other.replace(node.ledger_path)
            else:
                for file in node.folder.glob("ledger.sqlite*"):
                    file.unlink()
            began = time.monotonic()
            wait_until(lambda: ready(node)[0] == 503, 10, "the notice")
            assert time.monotonic() - began < 5
            assert how in ready(node)[1]
            status, text = ready(node, "/healthz")
            assert (status, how in text) == (503, True)
            metrics = requests.get(address(node) + "/metrics", timeout=10).text
            assert "scarnode_ledger_in_place 0.0" in metrics
            assert 'scarnode_alarm{alarm="ledger_file"} 1.0' in metrics
            assert "scarnode_ready 0.0" in metrics
            [line] = wait_until(lambda: re.findall(r"ERROR.*alarm ledger_file: .*", node.log()), 10, "the log")
            assert how in line
            assert "docs/troubleshooting.md" in line
            wait_until(lambda: any(b"ledger_file" in one for one in posted), 20, "a message")
            told = json.loads(next(one for one in posted if b"ledger_file" in one).partition(b"\r\n\r\n")[2])
            assert [(one["name"], one["state"]) for one in told["alarms"]] == [("ledger_file", "standing")]
            [answer] = store(node, second.paths)
            assert "A700" in answer
            stored = {path.name for path in node.spool.glob("??/*.dcm")}
            assert len(stored) == len(first.paths), "what was answered with Success is there"
            shown = subprocess.run(
                [sys.executable, "-m", "scarnode.cli", "jobs", "list", "-c", node.config_path],
                capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert shown.returncode == 2
            assert "the node runs" in shown.stderr or "the running node" in shown.stderr
            assert node.running
            [copy] = node.folder.glob("ledger.sqlite.rescued-*Z")
            if how == "replaced":
                with closing(sqlite3.connect(node.ledger_path)) as other:
                    assert other.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
                node.kill()
                shutil.move(copy, node.ledger_path)
            else:
                assert node.terminate() == 0, "it stops as ever"
            node.start()
            assert rows(node.ledger_path) == there
            assert store(node, third.paths) == set()
            wait_for_jobs(node.ledger_path, third.uid)
            wait_until(lambda: ready(node)[0] == 200, 60, "readiness")


@pytest.mark.slow
def test_a_ledger_that_comes_back_is_used_again(tmp_path):
    study = next(small_studies(tmp_path / "studies", "back"))
    with node_in(tmp_path / "node") as node:
        wait_until(lambda: ready(node)[0] == 200, 60, "readiness")
        away = node.ledger_path.rename(tmp_path / "away.sqlite")
        wait_until(lambda: ready(node, "/healthz")[0] == 503, 10, "the notice")
        assert store(node, study.paths)
        away.rename(node.ledger_path)
        wait_until(lambda: ready(node, "/healthz")[0] == 200, 10, "the end")
        assert list(node.folder.glob("ledger.sqlite.rescued-*")) == []
        assert store(node, study.paths) == set()
        assert wait_for_jobs(node.ledger_path, study.uid)[0]["state"] == "done"


@pytest.mark.slow
def test_an_image_stored_before_the_notice_is_registered_by_the_next_start(tmp_path):
    """The node does not look at the moment: what was answered with Success lies in the spool."""
    study = next(small_studies(tmp_path / "studies", "before"))
    with node_in(tmp_path / "node") as node:
        wait_until(lambda: ready(node)[0] == 200, 60, "readiness")
        os.kill(node.pid, signal.SIGSTOP)
        for file in node.folder.glob("ledger.sqlite*"):
            file.unlink()
        os.kill(node.pid, signal.SIGCONT)
        refused = store(node, study.paths[:1])
        kept = list(node.spool.glob("??/*.dcm"))
        assert len(kept) == (0 if refused else 1)
        wait_until(lambda: list(node.folder.glob("ledger.sqlite.rescued-*Z")), 10, "the copy")
        node.restart()
        wait_until(lambda: len(query(node.ledger_path, "SELECT id FROM instance")) == len(kept), 20, "the images")
