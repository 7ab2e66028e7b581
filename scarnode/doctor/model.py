"""What the doctor finds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's report.

    Attributes
    ----------
    what : str
        What was looked at, e.g. ``destination pacs``.
    state : str
        ``ok``, ``warning`` (it works, but see) or ``fail``.
    detail : str
        Without patient data.
    todo : str
        What to do about it; empty where all is well.
    """

    what: str
    state: Literal["ok", "warning", "fail"]
    detail: str
    todo: str = ""


def ok(what: str, detail: str) -> Finding:
    """Return a finding about what is well."""
    return Finding(what, "ok", detail)


def warning(what: str, detail: str, todo: str) -> Finding:
    """Return a finding about what works, and should be seen to."""
    return Finding(what, "warning", detail, todo)


def fail(what: str, detail: str, todo: str) -> Finding:
    """Return a finding about what does not work."""
    return Finding(what, "fail", detail, todo)
