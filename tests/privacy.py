"""No patient data in logs: after every test, what nodes and rooms logged is searched for every patient of the suite.

A leak fails the test during which it was written, with the line; so it does in a worker of pytest-xdist too.
"""

from __future__ import annotations

import logging
import re
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from scarnode.util.logs import FramesOnly

PATIENTS = [
    r"PHANTOM\^", r"SYN-\d", r"\bSYN\d{2,}", r"UPGRADE\^", r"\bUPA?-?\d\b", r"Phantom\^Test", r"\bTEST1\b",
    r"Doe\^", r"\bJane\b", r"Secret\^", r"\b4711\b", r"19700203", r"19700101", r"19690720", r"Yamada",
    r"山田", r"やまだ", r"XiaoDong", r"小东", r"قباني", r"Ångström", r"\bA77\b",
]  # fmt: skip
"""Names, IDs, birth dates and accession numbers of the phantoms and of the fixtures."""

SHORTEST = 4
"""Characters of a value from a ledger that is searched for; shorter ones stand in numbers by chance."""


class LogWatch(logging.Handler):
    """Collects what the package logs in this process, as the node would write it, and reads nodes' logs."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(FramesOnly("%(levelname)s %(name)s: %(message)s"))
        self._lines: list[str] = []
        self._files: dict[Path, int] = {}
        self._ledgers: set[Path] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Take a record of this process."""
        self._lines.append(self.format(record))

    def add_node(self, log: Path, ledger: Path) -> None:
        """Watch a node's log, for what its ledger knows of patients too."""
        self._files.setdefault(log, 0)
        self._ledgers.add(ledger)

    def add_text(self, text: str) -> None:
        """Take what a node said elsewhere."""
        self._lines += text.splitlines()

    def leaks(self) -> list[str]:
        """Give the lines since the last call that hold a patient's data."""
        lines, self._lines = self._lines, []
        for path, start in self._files.items():
            with suppress(OSError), path.open("rb") as file:
                file.seek(start)
                new = file.read()
                whole = new[: new.rfind(b"\n") + 1]
                self._files[path] = start + len(whole)
                lines += whole.decode(errors="replace").splitlines()
        if not lines:
            return []
        known = [rf"(?<!\w){re.escape(value)}(?!\w)" for ledger in self._ledgers for value in _patients_of(ledger)]
        pattern = re.compile("|".join([*PATIENTS, *known]))
        return [line for line in lines if pattern.search(line)]


def _patients_of(ledger: Path) -> set[str]:
    """Give every name, ID and accession number that a ledger holds."""
    found: set[str] = set()
    with suppress(sqlite3.Error), closing(sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=5)) as database:
        for row in database.execute("SELECT patient_name, patient_id, accession_number FROM study"):
            found |= {value for value in row if value and len(value) >= SHORTEST}
    return found


LOGS = LogWatch()
"""Of this process."""
