"""A worker process may die or hang; its node hears of it, and the next job gets a new one."""

from __future__ import annotations

import errno
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from scarnode.ledger.model import Analysed, ClaimedJob
from scarnode.node.messages import Failure, PutOff, WorkerSettings
from scarnode.node.worker import Worker, WorkerError
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.stack import find_stacks
from tests.harness.tools import wait_until


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lge")
    phantom = make_phantom(5, PhantomSettings(matrix=(128, 128), slices=5, component="magnitude"))
    [stack] = find_stacks(write_dicom(phantom, folder)).stacks
    return stack


def claimed(stack) -> ClaimedJob:
    return ClaimedJob(1, "a" * 64, 1, "b" * 64, datetime(2026, 1, 2, tzinfo=timezone.utc), stack, None)


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    worker = Worker(WorkerSettings(None, "cpu", 2, folder, folder / "results"), time_limit=120)
    yield worker
    worker.kill()


@pytest.mark.slow
def test_a_job_leaves_its_objects_and_the_same_bytes_again(worker, stack, tmp_path_factory):
    first = worker.run(claimed(stack))
    assert isinstance(first, Analysed)
    files = [worker._settings.results / file.path for file in first.files]
    before = [file.read_bytes() for file in files]
    again = worker.run(claimed(stack))
    assert again.files == first.files
    assert [file.read_bytes() for file in files] == before


@pytest.mark.slow
def test_pixel_data_that_can_not_be_decoded_fails_for_good_and_the_worker_lives(worker, stack, tmp_path):
    broken = tmp_path / "broken.dcm"
    broken.write_bytes(stack.frames[0].path.read_bytes()[:-500])
    frames = (replace(stack.frames[0], path=broken), *stack.frames[1:])
    outcome = worker.run(claimed(replace(stack, frames=frames)))
    assert isinstance(outcome, Failure)
    assert outcome.permanent
    assert isinstance(worker.run(claimed(stack)), Analysed)


def test_a_killed_worker_costs_one_attempt(worker, stack):
    worker.start()
    process = worker.pid
    killer = threading.Timer(0.05, os.kill, (process, signal.SIGKILL))
    killer.start()
    with pytest.raises(WorkerError, match="SIGKILL"):
        while True:  # the kill strikes one of these runs, at any moment of it
            worker.run(claimed(stack))
    assert isinstance(worker.run(claimed(stack)), Analysed)


@pytest.mark.slow
def test_other_settings_make_a_new_process_and_the_same_ones_none(worker):
    worker.start()
    assert worker.ready
    first = worker.pid
    worker.renew(worker._settings, time_limit=121)
    worker.start()
    assert worker.pid == first
    worker.renew(replace(worker._settings, kinds=("seg", "sr", "sc", "pdf")), time_limit=120)
    assert worker.ready, "until its next job"
    worker.start()
    assert worker.ready
    assert worker.pid != first
    worker.kill()
    assert not worker.ready


@pytest.mark.slow
def test_a_worker_that_takes_too_long_is_ended(stack, tmp_path):
    slow = Worker(WorkerSettings(None, "cpu", 1, tmp_path, tmp_path), time_limit=0.2)
    start = time.monotonic()
    with pytest.raises(WorkerError, match=r"took longer than 0\.2 s"):
        slow.run(claimed(stack))
    assert time.monotonic() - start < 20
    assert slow.pid is None


@pytest.mark.slow
def test_a_device_that_is_not_there_is_named(tmp_path, stack):
    worker = Worker(WorkerSettings(None, "cuda:7", 1, tmp_path, tmp_path), time_limit=60)
    with pytest.raises(WorkerError, match=r"can not be loaded.*(CUDA|cuda)"):
        worker.run(claimed(stack))


@pytest.mark.slow
def test_weights_that_can_not_be_used_are_named(tmp_path, stack):
    worker = Worker(WorkerSettings(tmp_path / "none.safetensors", "cpu", 1, tmp_path, tmp_path), time_limit=60)
    with pytest.raises(WorkerError, match=r"none\.safetensors"):
        worker.run(claimed(stack))


@pytest.mark.slow
def test_weights_that_were_changed_while_the_node_ran_are_not_used(tmp_path, stack):
    settings = WorkerSettings(None, "cpu", 1, tmp_path, tmp_path, sha256="0" * 64)
    with pytest.raises(WorkerError, match=r"weights were changed while the node ran.*restart the node"):
        Worker(settings, time_limit=60).run(claimed(stack))


def test_a_worker_that_was_stopped_is_not_started_again(stack, tmp_path):
    """The node stops between taking a job and handing it over: it would else wait for a whole analysis."""
    stopped = Worker(WorkerSettings(None, "cpu", 1, tmp_path, tmp_path), time_limit=60)
    stopped.stop()
    with pytest.raises(WorkerError, match="the node stops"):
        stopped.run(claimed(stack))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_worker_ends_with_its_node_in_the_middle_of_a_job(stack, tmp_path):
    """Else it competes with the next node's worker for processor and memory, for as long as its job takes."""
    os.mkfifo(tmp_path / "image.dcm")  # whoever reads it waits for ever
    program = (
        "import pickle, sys, threading\n"
        "from pathlib import Path\n"
        "from scarnode.node.messages import WorkerSettings\n"
        "from scarnode.node.worker import Worker\n"
        "if __name__ == '__main__':\n"
        "    worker = Worker(WorkerSettings(None, 'cpu', 1, Path('.'), Path('.')), 60)\n"
        "    worker.start()\n"
        "    threading.Thread(target=worker.run, args=[pickle.load(sys.stdin.buffer)]).start()\n"
        "    print(worker.pid, flush=True)\n"
    )
    (tmp_path / "node.py").write_text(program)
    waiting = replace(stack, frames=tuple(replace(f, path=tmp_path / "image.dcm") for f in stack.frames))
    with subprocess.Popen(
        [sys.executable, tmp_path / "node.py"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=tmp_path
    ) as node:
        node.stdin.write(pickle.dumps(claimed(waiting)))
        node.stdin.close()
        process = Path("/proc", node.stdout.readline().decode().strip())
        time.sleep(0.5)
        assert process.exists()
        node.kill()
    wait_until(lambda: not process.exists(), 10, "the end of the worker")


def test_an_image_that_the_disk_does_not_give_puts_the_job_off(worker, stack, tmp_path):
    gone = tmp_path / "gone.dcm"
    frames = (replace(stack.frames[0], path=gone), *stack.frames[1:])
    outcome = worker.run(claimed(replace(stack, frames=frames)))
    assert isinstance(outcome, PutOff)
    assert outcome.number == errno.ENOENT
    assert "a fault of the system" in outcome.why


def test_results_are_not_written_beside_a_disk_that_is_away(worker, stack, tmp_path):
    """A folder in the place of the mount point would hide them when the disk comes back."""
    worker.start()
    results = worker._settings.results
    results.rename(tmp_path / "away")
    try:
        outcome = worker.run(claimed(stack))
        assert isinstance(outcome, PutOff)
        assert outcome.number == errno.ENOENT
        assert not results.exists()
    finally:
        (tmp_path / "away").rename(results)
