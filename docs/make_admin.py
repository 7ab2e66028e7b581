"""Fill in what each command of docs/admin.md prints, on a ledger with some of everything: python docs/make_admin.py"""

from __future__ import annotations

import io
import os
import re
import shlex
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

PAGE = Path(__file__).with_name("admin.md")
sys.path.insert(0, str(PAGE.parents[1]))

from scarnode.cli import common, main  # noqa: E402
from scarnode.ledger import queries  # noqa: E402
from scarnode.ledger.ledger import Ledger  # noqa: E402
from tests.dicom.scp.builders import instance  # noqa: E402
from tests.ledger.history import make_history, uid  # noqa: E402

CONFIG = """[ledger]
url = sqlite:///ledger.sqlite
[spool]
path = spool
[destination:pacs]
host = 10.1.2.3
port = 104
ae_title = PACS
[destination:research]
host = 10.1.2.4
port = 104
ae_title = RESEARCH
objects = seg, sr
"""


def make_node(folder: Path) -> Path:
    """Make the folder of a node that was busy for four days, and give its ledger."""
    (folder / "config.ini").write_text(CONFIG)
    url = f"sqlite:///{folder / 'ledger.sqlite'}"
    make_history(url, "node heart")
    ledger = Ledger(url, "node heart")
    for number, file in enumerate(queries.list_files(ledger, uid(7)), 1):  # of the study with two patients
        patient = 1007 if number <= 8 else 1507
        image = instance(
            study=uid(7), PatientID=f"SYN-{patient}", PatientName=f"PHANTOM^{patient - 1000}", AccessionNumber="A5007"
        )
        image.file_meta.SourceApplicationEntityTitle = "GE_SIGNA"
        path = folder / "spool" / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save_as(path, enforce_file_format=True)
        os.utime(path, (1773753528, 1773753528))
    ledger.close()
    return folder / "ledger.sqlite"


def filled(folder: Path, page: str) -> str:
    """Give the page with what its commands print, in its order, in a terminal of 80 columns."""
    make_node(folder)
    with _terminal(folder):
        return re.sub(r"^( *)```console\n(.*?)^ *```$", lambda block: _run_all(block, folder), page, flags=re.S | re.M)


def _run_all(block: re.Match[str], folder: Path) -> str:
    lines = [line.strip() for line in block[2].splitlines() if line.strip().startswith("$ ")]
    text = "".join(f"{line}\n{run(line[2:])}" for line in lines).replace(str(folder), "/var/lib/scarnode")
    shown = ["```console", *text.splitlines(), "```"]
    return "\n".join(f"{block[1]}{line}" if line else "" for line in shown)


def run(line: str) -> str:
    """Run a command line of scarnode in this process; give what it prints, without blanks at the ends of lines."""
    said = io.StringIO()
    argv = patch.object(sys, "argv", shlex.split(line))
    with argv, redirect_stdout(said), redirect_stderr(said), suppress(SystemExit):
        main()
    return "".join(f"{text.rstrip()}\n" for text in said.getvalue().splitlines())


@contextmanager
def _terminal(folder: Path) -> Iterator[None]:
    """Have the commands think that they print to a terminal, in UTC, and that the folder's config.ini is the node's."""
    console = {"width": 80, "_force_terminal": True, "_color_system": None}
    kept = {name: getattr(common.out, name) for name in console}
    environment = {"TZ": "UTC", "SCARNODE_CONFIG": str(folder / "config.ini")}
    with patch.dict(os.environ, environment), patch("scarnode.cli.common.user", lambda: "alice"):
        here = Path.cwd()
        os.chdir(folder)
        time.tzset()
        for name, value in console.items():
            setattr(common.out, name, value)
        try:
            yield
        finally:
            os.chdir(here)
            for name, value in kept.items():
                setattr(common.out, name, value)
    time.tzset()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as made:
        PAGE.write_text(filled(Path(made), PAGE.read_text()))
