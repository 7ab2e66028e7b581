"""The system's clock is set forward and back by hours while a study comes in, is analysed and sent."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.dcmtk import storescu
from tests.harness.node import ROOT, Node
from tests.harness.orthanc import Orthanc
from tests.harness.tools import wait_until

HOUR = 3600


FALSE_CLOCK = """
import os, time
from datetime import datetime, timedelta
from pathlib import Path

true_time, offset = time.time, Path(os.environ["FALSE_CLOCK"])
time.time = lambda: true_time() + float(offset.read_text())

from apscheduler import job
from apscheduler.executors import base as executors
from apscheduler.schedulers import base as schedulers
from apscheduler.triggers import interval
from scarnode.node import scheduler


class FalseDatetime(datetime):
    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) + timedelta(seconds=float(offset.read_text()))


for module in (job, executors, schedulers, interval, scheduler):
    module.datetime = FalseDatetime
"""
"""A sitecustomize for the node's processes: what it uses of the system's clock. Monotonic clocks stay true.

libfaketime 0.9.10 can not do it: it spoils clock_nanosleep on the monotonic clock, with which CPython sleeps.
"""


@pytest.fixture
def clock(tmp_path):
    """Environment of a node whose clock is set by a function of hours."""
    offset = tmp_path / "offset"

    def set_by(hours: float) -> None:
        (tmp_path / "next").write_text(str(hours * HOUR))
        (tmp_path / "next").replace(offset)

    set_by(0)
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(FALSE_CLOCK)
    path = os.pathsep.join([str(tmp_path / "site"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    return {"PYTHONPATH": path, "FALSE_CLOCK": str(offset)}, set_by


def send(node: Node, paths: list[Path]) -> None:
    done = storescu(node.host, node.port, paths, node.ae_title)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("hours", [7, -7])
def test_a_clock_that_jumps_neither_hurries_nor_stalls_anything(clock, tmp_path, hours):
    environment, set_clock_by = clock
    phantom = make_phantom(3, PhantomSettings(matrix=(128, 128), slices=6, component="magnitude"))
    paths = write_dicom(phantom, tmp_path / "lge")
    orthanc = Orthanc(tmp_path / "orthanc")  # not started yet: the first tries fail
    patience = {"first_delay_seconds": 2, "max_delay_seconds": 3}
    with Node(tmp_path / "node", {"pacs": orthanc}, environment, study={"quiet_seconds": 4}, deliver=patience) as node:
        send(node, paths[:3])
        wait_until(lambda: len(books.query(node.ledger_path, "SELECT id FROM instance")) == 3, 20, "three instances")
        set_clock_by(hours)
        time.sleep(1.5)
        assert books.jobs(node.ledger_path) == [], "the study was closed while it was still arriving"
        send(node, paths[3:])
        wait_until(lambda: books.jobs(node.ledger_path), 20, "the job")
        set_clock_by(2 * hours)  # while it runs
        [job] = wait_until(
            lambda: [job for job in books.jobs(node.ledger_path) if job["state"] == "delivering"], 60, "its result"
        )
        assert (job["slices"], job["attempts"]) == (6, 1)
        tries = "SELECT id FROM delivery WHERE attempts > 0"
        wait_until(lambda: books.query(node.ledger_path, tries), 20, "a try to deliver")
        set_clock_by(hours)  # while its deliveries wait for their next try
        with orthanc:
            start = time.monotonic()
            orthanc.wait_for(3, 30)
            [job] = books.wait_for_jobs(node.ledger_path)
            assert job["state"] == "done"
            assert time.monotonic() - start < 25
