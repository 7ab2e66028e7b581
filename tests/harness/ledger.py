"""Looking into the node's ledger from outside, as an admin with plain sqlite3 does."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.harness.tools import wait_until

FINAL_STATES = ("done", "failed", "held", "superseded")


def query(ledger: Path, statement: str, parameters: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """Give the rows of a SELECT, read-only; nothing where there is no ledger or no such table yet."""
    if not ledger.exists():
        return []
    connection = sqlite3.connect(f"file:{ledger}?mode=ro", uri=True, timeout=10)
    connection.row_factory = sqlite3.Row
    try:
        return [dict(row) for row in connection.execute(statement, parameters)]
    except sqlite3.OperationalError as error:
        if "no such table" in str(error):
            return []
        raise
    finally:
        connection.close()


def jobs(ledger: Path, study_uid: str | None = None) -> list[dict[str, Any]]:
    """Give the jobs of a study (or all), oldest first."""
    return query(
        ledger,
        "SELECT job.*, study.study_instance_uid FROM job JOIN study ON study.id = job.study_id"
        " WHERE ? IS NULL OR study.study_instance_uid = ? ORDER BY job.id",
        (study_uid, study_uid),
    )


def wait_for_jobs(
    ledger: Path, study_uid: str | None = None, count: int = 1, timeout: float = 60.0
) -> list[dict[str, Any]]:
    """Wait until a study has at least `count` jobs and all of them ended, and give them."""
    seen: list[dict[str, Any]] = []

    def ended() -> bool:
        seen[:] = jobs(ledger, study_uid)
        return len(seen) >= count and all(job["state"] in FINAL_STATES for job in seen)

    try:
        wait_until(ended, timeout, f"the end of {count} jobs", poll=0.1)
    except TimeoutError as error:
        states = [(job["id"], job["state"], job["reason"]) for job in seen]
        raise TimeoutError(f"{error}; they are {states}") from None
    return seen
