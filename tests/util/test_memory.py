"""A worker at rest holds what it needs and no more."""

import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from scarnode.util.memory import give_back_freed


def resident() -> int:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS:")]
    return int(line.split()[1]) * 1024


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc")
def test_what_is_freed_goes_back_to_the_system():
    pieces = [np.ones(1 << 13) for _ in range(1000)]  # 64 kB each: below what malloc takes a mapping for
    kept = pieces[::20]
    del pieces
    before = resident()
    give_back_freed()
    assert before - resident() > 30e6
    assert all(one.all() for one in kept)


def test_a_worker_does_without_the_ledger():
    program = (
        "import sys, scarnode.node.worker_process; print({'sqlalchemy', 'alembic', 'pynetdicom'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
