"""A child process answers, or its parent learns how it ended; it never outlives its parent."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scarnode.util.child import ChildEndedError, ChildProcess, MessageError
from tests.harness.tools import wait_until

ROOT = Path(__file__).parents[2]
PROGRAM = "tests.util.child_program"
"""Does what it is asked in one word."""


@pytest.fixture
def child():
    child = ChildProcess(PROGRAM, longest=1 << 24)
    yield child
    child.close()


def test_it_answers_one_message_after_the_other_of_any_length(child):
    for length in (0, 1, 5_000_000):
        message = b"=" * length
        assert child.request(b"echo " + message, 20) == message
    assert child.alive
    child.close()
    assert not child.alive


@pytest.mark.parametrize(
    ("word", "how"),
    [
        (b"exit", "exit code 3"),
        (b"crash", "signal SIGSEGV: a crash in native code"),
        (b"killed", "signal SIGKILL: by hand, or by the kernel for want of memory"),
        (b"hang_up", "it hung up|exit code 1"),
    ],
)
def test_how_it_ended_is_told(child, word, how):
    with pytest.raises(ChildEndedError, match=how):
        child.request(word, 20)
    wait_until(lambda: not child.alive, 10, "its end")


@pytest.mark.parametrize("word", [b"sleep", b"half", b"stop"])
def test_one_that_does_not_answer_in_time_is_killed(child, word):
    child.request(b"echo ", 20)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        child.request(word, 0.5)
    assert time.monotonic() - start < 5
    assert not child.alive


def test_one_that_does_not_read_is_killed_too(child):
    child.request(b"echo ", 20)
    os.kill(child.pid, signal.SIGSTOP)
    start = time.monotonic()
    with pytest.raises(TimeoutError):
        child.request(b"echo " + b"=" * 5_000_000, 0.5)
    assert time.monotonic() - start < 5
    assert not child.alive


def test_a_message_that_claims_too_much_is_none_and_its_sender_is_killed(child):
    with pytest.raises(MessageError):
        child.request(b"nonsense", 20)
    assert not child.alive


def test_a_kill_from_another_thread_ends_the_wait(child):
    child.request(b"echo ", 20)
    threading.Timer(0.2, child.kill).start()
    with pytest.raises(ChildEndedError, match="SIGKILL"):
        child.request(b"sleep", 20)


def test_what_it_started_in_its_session_ends_with_it(child):
    grandchild = Path("/proc", child.request(b"start", 20).decode())
    assert grandchild.exists()
    child.kill()
    wait_until(
        lambda: not grandchild.exists() or " Z " in (grandchild / "stat").read_text(), 10, "the grandchild's end"
    )


def test_it_ends_with_its_parent_in_the_middle_of_its_work():
    program = (
        "import threading, time\n"
        "from scarnode.util.child import ChildProcess\n"
        f"child = ChildProcess({PROGRAM!r})\n"
        "child.request(b'echo ', 20)\n"
        "threading.Thread(target=child.request, args=[b'sleep', 60]).start()\n"
        "print(child.pid, flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, env=environment) as parent:
        child = Path("/proc", parent.stdout.readline().decode().strip())
        assert child.exists()
        parent.kill()
    wait_until(lambda: not child.exists(), 10, "the child's end")


def test_nothing_in_the_working_directory_is_taken_for_a_module(tmp_path, monkeypatch):
    (tmp_path / "struct.py").write_text("raise SystemExit(7)")
    (tmp_path / "select.py").write_text("raise SystemExit(7)")
    monkeypatch.setattr(sys, "path", [str(ROOT), *filter(None, sys.path)])
    monkeypatch.chdir(tmp_path)
    child = ChildProcess(PROGRAM)
    if sys.version_info >= (3, 11):
        assert child.request(b"echo here", 20) == b"here"
    child.close()
