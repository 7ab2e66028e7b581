"""Packages from npm, fetched once into the user's cache."""

from __future__ import annotations

import base64
import fcntl
import hashlib
import os
import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.harness.tools import find_tool

UNREACHABLE = "the npm registry can not be reached"


def fetch_package(name: str, version: str, integrity: str) -> Path:
    """Give the folder of a package, or skip the test where it can not be had.

    Parameters
    ----------
    name, version : str
    integrity : str
        npm's digest of it.
    """
    npm = find_tool("npm")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "scarnode-tests"
    folder = cache / f"{name.replace('/', '-').lstrip('@')}-{version}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            _fetch(npm, f"{name}@{version}", integrity, cache / "unpacking", folder)
    return folder


def _fetch(npm: str, package: str, integrity: str, part: Path, folder: Path) -> None:
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    command = [npm, "pack", package, "--fetch-retries=1", "--fetch-timeout=60000"]
    try:
        done = subprocess.run(command, cwd=part, capture_output=True, text=True, timeout=180, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"{UNREACHABLE} (no answer in 180 s)")
    if done.returncode:
        pytest.skip(f"{UNREACHABLE} ({done.stderr.strip().partition(chr(10))[0]})")
    [archive] = part.glob("*.tgz")
    digest = "sha512-" + base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    assert digest == integrity, f"npm's {package} is not the package that is known here"
    with tarfile.open(archive) as tar:
        tar.extractall(part, filter="data") if hasattr(tarfile, "data_filter") else tar.extractall(part)
    (part / "package").rename(folder)
    shutil.rmtree(part)
