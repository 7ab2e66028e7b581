"""The findings of the doctor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes
    ----------
    what : str
        What was checked, e.g. ``destination pacs``.
    state : str
        ``ok``, ``warning`` (it works, but needs attention) or ``fail``.
    detail : str
        Without patient data.
    todo : str
        What to do; empty where nothing is needed.
    """

    what: str
    state: Literal["ok", "warning", "fail"]
    detail: str
    todo: str = ""


def ok(what: str, detail: str) -> Finding:
    """Return a finding without a fault."""
    return Finding(what, "ok", detail)


def warning(what: str, detail: str, todo: str) -> Finding:
    """Return a finding on something that works, but needs attention."""
    return Finding(what, "warning", detail, todo)


def fail(what: str, detail: str, todo: str) -> Finding:
    """Return a finding on something that does not work."""
    return Finding(what, "fail", detail, todo)
