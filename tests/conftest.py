"""Fixtures shared by all rooms."""

import logging
import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import pytest
from sqlalchemy import Engine

from scarnode import cli
from scarnode.cli import common
from tests.harness.certificates import Authority
from tests.privacy import LOGS

ROOT = Path(__file__).resolve().parent.parent

EXCUSES = (
    "real images not present",
    "registry can not be reached",
    "unshare may not mount a tmpfs here",  # these two ask for rights that some containers do not give
    "strace may not look at other processes here",
    "root may write anywhere",
)
"""Why a test may skip also where every tool is installed."""


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real images (emidec/, acdc_ed/, dicom/), never part of the repository."""
    folder = Path(os.environ.get("SCARNODE_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(f"real images not present: {folder} (set SCARNODE_TEST_DATA)")
    return folder


@pytest.fixture(scope="module")
def authority(tmp_path_factory) -> Authority:
    """Certificate authority of a module's tests."""
    return Authority(tmp_path_factory.mktemp("ca"))


@pytest.fixture(scope="session", autouse=True)
def copied_ledgers(tmp_path_factory) -> Iterator[None]:
    """A new SQLite ledger of this process is a copy of one that its migrations made: each time they take 0.1 s."""
    from scarnode.ledger import store

    migrate, empty = store.upgrade, tmp_path_factory.mktemp("ledger") / "empty.sqlite"

    def upgrade(engine: Engine) -> None:
        file = engine.url.database
        if engine.dialect.name == "sqlite" and (file in (None, ":memory:") or not Path(file).stat().st_size):
            with closing(engine.raw_connection()) as new, closing(sqlite3.connect(empty)) as made:
                made.backup(new.driver_connection)
        migrate(engine)

    store.open_store(f"sqlite:///{empty}", "test").close()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "upgrade", upgrade)
        yield


@dataclass(frozen=True)
class Done:
    stdout: str
    stderr: str


@pytest.fixture
def scarnode(monkeypatch, capsys):
    """Run the command line, in this process: a fresh one would spend its time importing."""

    def run(*words, code=0, width=200):
        monkeypatch.setattr(sys, "argv", ["scarnode", *map(str, words)])
        monkeypatch.setattr(common.out, "width", width)
        with pytest.raises(SystemExit) as end:
            cli.main()
        captured = capsys.readouterr()
        assert (end.value.code or 0) == code, captured
        return Done(captured.out, captured.err)

    return run


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    """Where every tool is installed (CI), a test that skips would be one that nobody runs: let it fail."""
    report = yield
    excused = any(reason in str(call.excinfo) for reason in EXCUSES)
    if report.skipped and os.environ.get("SCARNODE_TESTS_MUST_RUN") and not excused:
        report.outcome, report.longrepr = "failed", f"may not skip here: {call.excinfo.value}"
    return report


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object | None:
    """Neighbours stay in one process: what a module or a room makes for its tests is made once, not in every process.

    Unless another ``--dist`` is asked for.
    """
    if config.getoption("dist") != "load":
        return None
    from xdist.scheduler import WorkStealingScheduling

    return WorkStealingScheduling(config, log)


def pytest_configure() -> None:
    hypothesis.settings.register_profile("busy", deadline=None)  # another process may have the processor for a second
    hypothesis.settings.load_profile("busy")
    if "PYTEST_XDIST_WORKER" in os.environ:  # the processes of a parallel run use all cores already
        os.environ.setdefault("OMP_NUM_THREADS", "1")
    logging.getLogger("scarnode").addHandler(LOGS)
    logging.getLogger("scarnode").setLevel(logging.DEBUG)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item):
    """Fail a test during which patient data came into a log (of this process, or of a node of the harness)."""
    given = yield
    if leaks := LOGS.leaks():
        pytest.fail("patient data in a log:\n" + "\n".join(leaks[:20]), pytrace=False)
    return given
