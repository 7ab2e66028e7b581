"""Commands beside a running node, each a process of its own that was not spent on importing."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

CROWD = """
import json, os, sys
import scarnode.audit, scarnode.config, scarnode.dicom.tls, scarnode.doctor
import scarnode.ledger.ledger, scarnode.ledger.queries
from scarnode import cli

def begin(words):
    child = os.fork()
    if child:
        return child
    code = 70
    try:
        sys.argv = ["scarnode", *words]
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        cli.main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        sys.stderr.flush()
        os._exit(code)

def end(running):
    child, status = os.wait()
    words, code = running.pop(child), os.waitstatus_to_exitcode(status)
    if code not in (0, 1):
        bad.append((words, code))

if '"doctor"' in sys.argv[1]:
    import torch
commands, rounds, at_once = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "at once"
bad = []
for _ in range(rounds):
    running = {}
    for words in commands:
        running[begin(words)] = words
        if not at_once:
            end(running)
    while running:
        end(running)
print(json.dumps(bad))
"""


def run_commands(commands: Sequence[Sequence[str]], rounds: int = 1, at_once: bool = False) -> list[tuple]:
    """Run commands one after the other, or all of a round at once; return those that failed, with their exit codes.

    Exit code 1 is no failure: `scarnode alarms` and `scarnode doctor` say by it that there is something to see.
    """
    words = [sys.executable, "-c", CROWD, json.dumps([list(map(str, one)) for one in commands]), str(rounds)]
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    done = subprocess.run(
        [*words, "at once" if at_once else "in turn"],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return [(*one, done.stderr[-3000:]) for one in json.loads(done.stdout)]
