"""Signals to the service: none is lost, however busy the interpreter is."""

from __future__ import annotations

import select
import signal
import subprocess
import sys

import pytest

BUSY = """
import signal, sys, threading
from scarnode.node.service import ENDS, SWITCH_SECONDS, take_orders

sys.setswitchinterval(SWITCH_SECONDS)
orders = take_orders()
for _ in range(4):
    threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
print("ready", flush=True)
while (number := orders.recv(1)[0]) not in ENDS:
    print(number, flush=True)
print("ends", flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_every_signal_is_heard_while_all_threads_compute(end):
    with subprocess.Popen([sys.executable, "-c", BUSY], stdout=subprocess.PIPE, bufsize=0) as busy:

        def said(what: str, number: int) -> None:
            assert busy.stdout is not None
            assert select.select([busy.stdout], [], [], 20)[0], f"signal {number} is lost"
            assert busy.stdout.readline().decode().strip() == what

        try:
            said("ready", 0)
            for number in range(1, 101):  # each comes as the program begins to wait for the next one
                busy.send_signal(signal.SIGHUP)
                said(str(int(signal.SIGHUP)), number)
            busy.send_signal(end)
            said("ends", 101)
        finally:
            busy.kill()
