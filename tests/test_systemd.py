"""The unit file is one that systemd takes."""

import shutil
import subprocess
from pathlib import Path

import pytest

UNIT = Path(__file__).resolve().parent.parent / "systemd" / "scarnode.service"


def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / UNIT.name
    # the executable is installed later; systemd checks that it is there
    unit.write_text(UNIT.read_text().replace("/opt/scarnode/bin/scarnode", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_worker_taken_for_want_of_memory_does_not_end_the_node():
    """systemd's default, OOMPolicy=stop, ends a service of which the kernel took any process."""
    assert "\nOOMPolicy=continue\n" in UNIT.read_text()


def test_reload_is_what_the_node_listens_for():
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in UNIT.read_text()
