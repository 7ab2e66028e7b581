"""Hundreds of SIGKILLs at random moments, of node, worker and PACS, while two scanners send; then all is audited.

``pytest -m soak tests/soak/test_kills_at_random.py -s`` prints the figures of docs/reliability.md.
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pytest

from tests.harness.audit import audit
from tests.harness.crowd import run_commands
from tests.harness.ledger import jobs, query
from tests.harness.ledger_locks import deleted_files
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.senders import Scanner, send_by_dcmtk, send_by_pynetdicom, small_studies
from tests.harness.strace import workers
from tests.harness.tools import wait_until

KILLS = int(os.environ.get("SCARNODE_SOAK_KILLS", "200"))
STUDIES = int(os.environ.get("SCARNODE_SOAK_STUDIES", "30"))
"""Of each of the two scanners; every sixth can not be decoded and must end as a reported failure."""
SEED = int(os.environ.get("SCARNODE_SOAK_SEED", "5"))
MOST_SECONDS = 3600.0
"""When the kills end, however many there were: the run is bounded."""
LIFE_SECONDS = (0.0, 14.0)
"""How long a node lives after it began to listen; one in five is killed while it starts. On a slow machine longer."""
START_SECONDS = 2.5
"""What a node needs to listen on two idle cores: the measure of how slow this machine is."""


class Storm:
    """Kills, and notes who was struck and what was going on.

    Attributes
    ----------
    struck : Counter of (str, str)
        Victim, and what the ledger and the spool say was going on.
    """

    def __init__(self, node: Node, orthanc: Orthanc) -> None:
        self.node, self.orthanc = node, orthanc
        self.struck: Counter[tuple[str, str]] = Counter()
        self._random = random.Random(SEED)
        self._answered = False

    @property
    def kills(self) -> int:
        return self.struck.total()

    def life(self) -> None:
        """Let the node live for a while, strike some others meanwhile, then the node."""
        if not self.orthanc.running:
            self.orthanc.start()
        self.node.launch()
        self._answered = False
        if self._random.random() < 0.2:
            time.sleep(self._random.uniform(0.0, 3.0))
            self._strike_node()
            return
        began = time.monotonic()
        wait_until(self._up, 120, "the node")
        pace = min(max((time.monotonic() - began) / START_SECONDS, 1.0), 4.0)
        end = time.monotonic() + pace * self._random.uniform(*LIFE_SECONDS)
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, pace * self._random.uniform(0.2, 8.0)))
            assert self.node.running, f"the node ended by itself:\n{self.node.log()[-3000:]}"
            if time.monotonic() < end:
                self._strike_another()
        self._strike_node()

    def _up(self) -> bool:
        assert self.node.running, f"the node ended by itself:\n{self.node.log()[-3000:]}"
        return self.node.echo()

    def _strike_node(self) -> None:
        group = self._random.random() < 0.7
        self._note("node and workers" if group else "node alone", self._going_on())
        self.node.kill(group=group)

    def _strike_another(self) -> None:
        if self._random.random() < 0.5:
            if not self.orthanc.running:
                self.orthanc.start()
                return
            self._note("PACS", self._going_on())
            self.orthanc.kill()
        else:
            for worker in workers(self.node.pid):
                self._note("worker", self._going_on())
                with suppress(ProcessLookupError):
                    os.kill(worker, signal.SIGKILL)

    def _note(self, victim: str, step: str) -> None:
        self.struck[victim, step] += 1

    def _going_on(self) -> str:
        """Say what is furthest along: a kill usually strikes several steps at once."""
        if not self._answered:
            with suppress(Exception):
                self._answered = self.node.echo()
            if not self._answered:
                return "starting"
        partial = self.node.spool / "partial"
        if partial.exists() and any(partial.iterdir()):
            return "writing to the spool"
        states = {job["state"]: job for job in jobs(self.node.ledger_path)}
        if "delivering" in states:
            return "delivering"
        if "running" in states:
            folder = self.node.results / states["running"]["key"]
            return "writing results" if folder.exists() else "analysing"
        if query(self.node.ledger_path, "SELECT id FROM study WHERE newest_instance > searched_instance"):
            return "receiving or searching"
        return "idle"


class Commands(threading.Thread):
    """An admin's commands beside the node, without a pause: some one after the other, some at once.

    Attributes
    ----------
    ran : int
    failed : list
        Those that ended badly.
    """

    def __init__(self, node: Node, folder: Path) -> None:
        super().__init__(daemon=True)
        self.ran, self.failed = 0, []
        config = ("-c", str(node.config_path))
        self._lines = [
            ("jobs", "list", *config),
            ("jobs", "export", "-o", str(folder / "jobs.csv"), *config),
            ("series", "list", "--json", *config),
            ("alarms", "--all", *config),
            ("db", "upgrade", *config),
        ]
        self._stopping = threading.Event()

    def run(self) -> None:
        while not self._stopping.is_set():
            self.failed += run_commands(self._lines, at_once=self.ran % 2 == 0)
            self.ran += len(self._lines)

    def end(self) -> None:
        self._stopping.set()
        self.join(120)


@pytest.mark.soak
@pytest.mark.timeout(2 * MOST_SECONDS)
def test_hundreds_of_kills_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    orthanc = Orthanc(tmp_path / "orthanc")
    node = Node(
        tmp_path / "node",
        {"pacs": orthanc},
        # a small phantom's flags must not stop its result; a worker is killed more often than an input would kill it
        study={"quiet_seconds": 3, "hold_flags": "NONE"},
        segment={"device": "cpu", "workers": 1, "threads": 1, "max_attempts": 100},
        deliver={"first_delay_seconds": 0.5, "max_delay_seconds": 2, "max_attempts": 10000},
    )
    scanners = [
        Scanner(node, islice(small_studies(tmp_path / name, f"{SEED}-{name}", unreadable_every=6), STUDIES), send, 0.3)
        for name, send in (("dcmtk", send_by_dcmtk), ("pynetdicom", send_by_pynetdicom))
    ]
    node.write_config()
    storm, start, commands = Storm(node, orthanc), time.monotonic(), Commands(node, tmp_path)
    try:
        commands.start()
        for scanner in scanners:
            scanner.start()
        while storm.kills < KILLS and time.monotonic() - start < MOST_SECONDS:
            storm.life()
        after_kills = time.monotonic() - start
        if not orthanc.running:
            orthanc.start()
        node.start()
        for scanner in scanners:
            scanner.end(300)
        studies = [study for scanner in scanners for study in scanner.finished]
        sent = [one for scanner in scanners for one in scanner.sent]
        wait_until(lambda: settled(node, len(studies)), 1500, "the end of all jobs and deliveries", poll=1)
        seconds = time.monotonic() - start
        commands.end()
        assert commands.failed == []
        assert deleted_files(node.pid, node.ledger_path) == []
        audit(node, orthanc, sent, studies)
        print_figures(storm, node, studies, sent, after_kills, seconds)
        print(f"{commands.ran} commands beside the node")
        assert storm.kills >= KILLS, f"only {storm.kills} kills in {MOST_SECONDS:g} s"
    finally:
        commands.end()
        node.kill()
        orthanc.kill()


def settled(node: Node, studies: int) -> bool:
    """Tell whether every study has a job that ended, with all that it sends sent."""
    made = jobs(node.ledger_path)
    waiting = query(node.ledger_path, "SELECT id FROM delivery WHERE state = 'pending'")
    untold = query(
        node.ledger_path, "SELECT id FROM job WHERE state = 'failed' AND id NOT IN (SELECT job_id FROM result)"
    )
    ended = all(job["state"] in ("done", "failed", "held", "superseded") for job in made)
    return len(made) >= studies and ended and not waiting and not untold


def print_figures(storm: Storm, node: Node, studies: list, sent: list, after_kills: float, seconds: float) -> None:
    """Print what docs/reliability.md holds."""
    made = jobs(node.ledger_path)
    minutes = f"{after_kills / 60:.1f} min, all done after {seconds / 60:.1f} min"
    print(f"\nseed {SEED}: {storm.kills} kills in {minutes}")
    for victim, count in Counter(victim for victim, _ in storm.struck.elements()).most_common():
        steps = Counter(step for who, step in storm.struck.elements() if who == victim)
        print(f"  {victim}: {count}: " + ", ".join(f"{step} {n}" for step, n in steps.most_common()))
    print(f"{len(studies)} studies ({sum(not study.readable for study in studies)} of them can not be decoded)")
    print(f"{len(sent)} C-STOREs answered with Success, {len({one.sop_instance_uid for one in sent})} instances")
    print(f"jobs: {dict(Counter(job['state'] for job in made))}")
    print(f"most crashes of the node during one job: {max(job['interruptions'] for job in made)}")
    print(f"most attempts of one job: {max(job['attempts'] for job in made)}")
