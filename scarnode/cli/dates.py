"""Days, spans of days and moments as users type them."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

from scarnode.util.errors import ScarnodeError

_DAY = r"(\d{4})-?(\d{2})-?(\d{2})"
_SPAN = re.compile(rf"(?:{_DAY})?(-)?(?:{_DAY})?")
_AGE = re.compile(r"(\d+)\s*(min|h|d)")
_SECONDS = {"min": 60.0, "h": 3600.0, "d": 86400.0}


def days(text: str, option: str = "--date") -> tuple[str, str]:
    """Read a day or a span of days, as DICOM's range matching writes it (PS3.4 C.2.2.2.5).

    Parameters
    ----------
    text : str
        ``20261120``, ``20261101-20261120``, ``20261101-`` or ``-20261120``; ``2026-11-20`` is a day too.
    option : str
        Named in the error.

    Returns
    -------
    tuple of (str, str)
        First and last day as ``YYYYMMDD``; '' where open, both '' of an empty text.

    Raises
    ------
    ScarnodeError
        It is none.
    """
    if not text:
        return "", ""
    found = _SPAN.fullmatch(text)
    parts = [part or "" for part in found.groups()] if found else []
    first, last = "".join(parts[:3]), "".join(parts[4:])
    if not first + last or not all(_exists(day) for day in (first, last) if day):
        todo = "Write a day (20261120 or 2026-11-20) or a span of days (20261101-20261120, 20261101-, -20261120)"
        raise ScarnodeError(f"no day, and no span of days: {text!r}", option, todo)
    return (first, last) if parts[3] else (first, first)


def moment(text: str, option: str, end: bool = False) -> float | None:
    """Read a moment: a day, a day and a time (both of this machine's zone), or how long ago.

    Parameters
    ----------
    text : str
        ``2026-11-20``, ``2026-11-20 14:30``, ``30min``, ``2h`` or ``7d``.
    option : str
        Named in the error.
    end : bool
        Of a day its end is meant, not its start.

    Returns
    -------
    float or None
        UTC seconds since 1970; None of an empty text.

    Raises
    ------
    ScarnodeError
        It is none.
    """
    if not text:
        return None
    if age := _AGE.fullmatch(text):
        return time.time() - int(age[1]) * _SECONDS[age[2]]
    for form in ("%Y-%m-%d", "%Y%m%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"):
        try:
            at = datetime.strptime(text, form)
        except ValueError:
            continue
        return (at + timedelta(days=1) if end and "%H" not in form else at).timestamp()
    raise ScarnodeError(
        f"no moment: {text!r}", option, "Write 2026-11-20, '2026-11-20 14:30', or how long ago: 30min, 2h, 7d"
    )


def _exists(day: str) -> bool:
    try:
        datetime.strptime(day, "%Y%m%d")
    except ValueError:
        return False
    return True
