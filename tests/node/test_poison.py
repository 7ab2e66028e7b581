"""Inputs that kill, stop or spoil the process that analyses them: each fails for itself alone, and says why."""

from __future__ import annotations

import os
import signal
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest

from scarnode.ledger.model import Analysed, ClaimedJob
from scarnode.node.messages import Failure, WorkerSettings
from scarnode.node.worker import Worker, WorkerError
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.stack import find_stacks

POISON = Path(__file__).parent / "poison"


@pytest.fixture(scope="module")
def stack(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lge")
    phantom = make_phantom(5, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude"))
    [stack] = find_stacks(write_dicom(phantom, folder)).stacks
    return stack


@pytest.fixture(scope="module")
def worker(tmp_path_factory):
    """A real worker process with a bound of 1 GB, in which poisoned stacks work."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([str(POISON), *filter(None, [os.environ.get("PYTHONPATH")])]))
        folder = tmp_path_factory.mktemp("worker")
        worker = Worker(WorkerSettings(None, "cpu", 1, folder, folder / "results", memory=1.0), time_limit=120)
        yield worker
        worker.kill()


def job(stack, poison: str = "", number: int = 1) -> ClaimedJob:
    poisoned = replace(stack, description=f"LGE poison:{poison}" if poison else "LGE")
    made = datetime(2026, 1, 2, tzinfo=timezone.utc)
    return ClaimedJob(number, f"{number:064x}", 1, "b" * 64, made, poisoned, None)


@pytest.mark.parametrize(
    ("poison", "reason"),
    [
        pytest.param("crash", "ended while analysing .*SIGSEGV: a crash in native code", marks=pytest.mark.soak),
        pytest.param("be_killed", "SIGKILL: by hand, or by the kernel for want of memory", marks=pytest.mark.soak),
        pytest.param("leave", "exit code 3", marks=pytest.mark.soak),
        pytest.param("write_garbage", "answered nonsense", marks=pytest.mark.soak),
        pytest.param("answer_for_another", "answered nonsense", marks=pytest.mark.soak),
        pytest.param("hang_up", "hung up|ended while", marks=pytest.mark.soak),
    ],
)
def test_a_death_is_named_and_the_next_job_gets_a_new_process(worker, stack, poison, reason):
    with pytest.raises(WorkerError, match=reason):
        worker.run(job(stack, poison))
    wait_for_end(worker)


def wait_for_end(worker) -> None:
    deadline = time.monotonic() + 12
    while worker.pid is not None:
        assert time.monotonic() < deadline, "the worker process lives on"
        time.sleep(0.02)


@pytest.mark.slow
def test_a_monster_fails_in_words_and_takes_no_more_than_its_bound(worker, stack):
    worker.start()
    highest = []
    done = threading.Event()

    def watch() -> None:
        status = Path(f"/proc/{worker.pid}/status")
        while not done.wait(0.02):
            try:
                lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
                highest.append(int(lines["VmHWM"].split()[0]) / 2**20)
            except (OSError, KeyError):  # it ended
                continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    outcome = worker.run(job(stack, "take_all_memory"))
    done.set()
    watcher.join()
    assert isinstance(outcome, Failure)
    assert outcome.why == "it needs more memory than 1 GB ([segment] memory_limit_gigabytes)"
    assert max(highest) < 1.6, "1 GB and the loaded network"


@pytest.mark.slow
def test_the_kernel_takes_a_worker_before_the_node(worker):
    worker.start()
    adjusted = int(Path(f"/proc/{worker.pid}/oom_score_adj").read_text())
    assert adjusted > int(Path("/proc/self/oom_score_adj").read_text())


@pytest.mark.slow
def test_what_a_job_spoilt_is_not_inherited_by_the_next(worker, stack):
    outcome = worker.run(job(stack, "take_all_files"))
    assert isinstance(outcome, Failure)
    assert "Too many open files" in outcome.why
    assert isinstance(worker.run(job(stack, number=2)), Analysed)


@pytest.mark.slow
def test_an_exception_that_quotes_the_patient_is_told_without(worker, stack):
    outcome = worker.run(job(stack, "quote_the_patient"))
    assert isinstance(outcome, Failure)
    assert "unexpected ValueError" in outcome.why
    assert "Doe" not in outcome.why


@pytest.mark.slow
@pytest.mark.parametrize(
    "poison",
    ["write_half_an_answer", *(pytest.param(one, marks=pytest.mark.soak) for one in ("loop", "hang_in_c", "stop"))],
)
def test_one_that_never_ends_is_ended_at_its_time_limit(worker, stack, poison):
    worker.start()
    worker._time_limit, limit = 0.7, worker._time_limit
    start = time.monotonic()
    with pytest.raises(WorkerError, match=r"analysing took longer than 0\.7 s: the worker process was ended"):
        worker.run(job(stack, poison))
    worker._time_limit = limit
    assert time.monotonic() - start < 5
    assert worker.pid is None


@pytest.mark.soak
def test_a_worker_that_does_not_read_is_ended_too(worker, stack):
    """Stopped while idle, with a job larger than the socket takes."""
    worker.start()
    os.kill(worker.pid, signal.SIGSTOP)
    worker._time_limit, limit = 0.5, worker._time_limit
    large = replace(stack, description="x" * 5_000_000)
    with pytest.raises(WorkerError, match="took longer"):
        worker.run(job(large))
    worker._time_limit = limit
    assert isinstance(worker.run(job(stack, number=3)), Analysed)
