"""The unit file is one that systemd takes."""

import shutil
import subprocess
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[2] / "systemd"
UNITS = [FOLDER / "scarnode.service", FOLDER / "scarnode@.service"]


@pytest.mark.parametrize("source", UNITS, ids=lambda path: path.name)
def test_systemd_finds_no_fault_with_the_unit(tmp_path, source):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / source.name.replace("@", "@work")
    # the executable is installed later; systemd checks that it is there
    unit.write_text(source.read_text().replace("/opt/scarnode/bin/scarnode", "/bin/true"))
    done = subprocess.run(
        ["systemd-analyze", "verify", str(unit)], check=False, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("source", UNITS, ids=lambda path: path.name)
def test_a_worker_taken_for_want_of_memory_does_not_end_the_node(source):
    """systemd's default, OOMPolicy=stop, ends a service of which the kernel took any process."""
    assert "\nOOMPolicy=continue\n" in source.read_text()


@pytest.mark.parametrize("source", UNITS, ids=lambda path: path.name)
def test_reload_is_what_the_node_listens_for(source):
    assert "\nExecReload=/bin/kill -HUP $MAINPID\n" in source.read_text()
