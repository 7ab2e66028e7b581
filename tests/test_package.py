"""The wheel and the sdist carry all that a node needs, and what is installed from them runs."""

from __future__ import annotations

import configparser
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

from scarnode import __version__

ROOT = Path(__file__).resolve().parent.parent
LEFT = shutil.ignore_patterns(
    ".*", "__pycache__", "build", "dist", "*.egg-info", "tests", "runs", "out", "scarnode-demo"
)


def run(*command, cwd=None, code=0) -> str:
    done = subprocess.run(
        [*map(str, command)], check=False, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert done.returncode == code, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> tuple[Path, Path, Path]:
    """Give the sdist, the wheel made from it, and the wheel made from the checkout."""
    pytest.importorskip("build", reason="build is not installed")
    tree, dist, direct = (tmp_path_factory.mktemp(name) for name in ("tree", "dist", "direct"))
    shutil.copytree(ROOT, tree, dirs_exist_ok=True, ignore=LEFT)
    build = (sys.executable, "-m", "build", "--no-isolation", "--skip-dependency-check")
    run(*build, "--outdir", dist, tree)
    run(*build, "--wheel", "--outdir", direct, tree)
    [sdist], [wheel], [other] = dist.glob("*.tar.gz"), dist.glob("*.whl"), direct.glob("*.whl")
    return sdist, wheel, other


def digests(wheel: Path) -> dict[str, str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name: hashlib.sha256(archive.read(name)).hexdigest() for name in archive.namelist()}


@pytest.mark.slow
def test_the_wheel_carries_everything(built):
    held = digests(built[1])
    wanted = [
        f"scarnode/{path.relative_to(ROOT / 'scarnode')}"
        for path in (ROOT / "scarnode").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    ]
    wanted += [f"scarnode/model_weights/{path.name}" for path in (ROOT / "model_weights").iterdir() if path.is_file()]
    shipped = ("config.ini", "scarnode.service", "scarnode@.service")
    wanted += [f"scarnode/config/shipped/{name}" for name in shipped]
    info = f"scarnode-{__version__}.dist-info"
    wanted += [f"{info}/licenses/LICENSE", f"{info}/licenses/model_weights/LICENSE-weights.md"]
    assert sorted(set(wanted) - held.keys()) == []
    assert {name.split("/")[0] for name in held} == {"scarnode", info}


@pytest.mark.slow
def test_the_sdist_makes_the_same_wheel(built):
    assert digests(built[1]) == digests(built[2])
    with tarfile.open(built[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "config.ini",
        "LICENSE",
        "README.md",
        "CHANGELOG.md",
        "systemd/scarnode.service",
        "systemd/scarnode@.service",
        "constraints.txt",
    } <= names


@pytest.mark.slow
def test_what_is_installed_from_the_wheel_runs(built, tmp_path):
    place = tmp_path / "venv"
    venv.create(place, with_pip=False)
    python = place / "bin" / "python"
    run(
        sys.executable,
        "-m",
        "pip",
        "--python",
        python,
        "install",
        "--quiet",
        "--no-compile",
        "--no-index",
        "--no-deps",
        built[1],
    )
    # the dependencies are those of this environment, behind what is installed there
    own = Path(sysconfig.get_path("purelib", vars={"base": str(place), "platbase": str(place)}))
    (own / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    assert Path(run(python, "-c", "import scarnode; print(scarnode.__file__)", cwd=tmp_path).strip()).is_relative_to(
        own
    )

    program = place / "bin" / "scarnode"
    assert run(program, "--version", cwd=tmp_path) == f"scarnode {__version__}\n"
    card = "scarnode.pipeline.segment.card"
    code = f"from {card} import read_identity, shipped_weights; read_identity(); print(shipped_weights())"
    assert Path(run(python, "-c", code, cwd=tmp_path).strip()).is_relative_to(own)

    config = tmp_path / "etc" / "config.ini"
    run(program, "config", "init", config, "--data", tmp_path / "data", cwd=tmp_path)
    parser = configparser.ConfigParser()
    parser.read(config)
    assert parser["spool"]["path"] == str(tmp_path / "data" / "spool")
    assert f"ExecStart={program} serve" in run(program, "config", "unit", "-", cwd=tmp_path)
    run(program, "db", "upgrade", "-c", config, cwd=tmp_path)
    assert (tmp_path / "data" / "ledger.sqlite").is_file()
