"""Acquisition times that can be compared, also across the end of summer time."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar, Protocol, TypeVar

Moment = tuple[str, float]
"""Date (YYYYMMDD) and time (HHMMSS.F as a number): sorts images by age. An absent date is '', an absent time 0."""


class Timed(Protocol):
    """A dataclass with the moment it was acquired (`scarnode.pipeline.stack.headers.Frame`)."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def acquired(self) -> Moment:
        """Moment by a wall clock."""

    @property
    def utc_offset(self) -> int | None:
        """Offset of that clock from UTC in minutes; None where none is stated."""


T = TypeVar("T", bound=Timed)

_YEARS = tuple(datetime(year, 1, 1, tzinfo=timezone.utc).timestamp() for year in (1900, 2200))
"""Other dates are not shifted."""
_DT = re.compile(r"(?P<date>\d{0,8})(?P<time>[\d.]*)(?P<offset>[+-]\d{4})?")


def moment(date: str, time: str) -> Moment:
    """Read a DA and a TM (also the retired form 12:00:00)."""
    digits = "".join(char for char in time if char in "0123456789.")
    try:
        return date, float(digits or "0")
    except ValueError:
        return date, 0.0


def date_time(text: str) -> tuple[Moment, int | None]:
    """Read a DT: wall clock, and its offset from UTC in minutes; None where it states none."""
    found = _DT.match(text.strip())
    if found is None:
        return ("", 0.0), None
    return moment(found["date"], found["time"]), offset(found["offset"] or "")


def offset(text: str) -> int | None:
    """Read an offset from UTC, ``+0130``, in minutes; None where it is none.

    PS3.5 section 6.2: -1200 to +1400.
    """
    if not re.fullmatch(r"[+-]\d{4}", text):
        return None
    minutes = int(text[1:3]) * 60 + int(text[3:])
    minutes = -minutes if text[0] == "-" else minutes
    return minutes if -720 <= minutes <= 840 and int(text[3:]) < 60 else None


def in_utc(frames: Sequence[T]) -> list[T]:
    """Return frames of one study with `acquired` in UTC, where the offset of all of them is known.

    A frame that states no offset takes that of the others, if they agree. If they do not, all keep their wall clock:
    times of two kinds can not be compared.
    """
    known = {frame.utc_offset for frame in frames if frame.utc_offset is not None}
    timed = [frame for frame in frames if all(frame.acquired)]
    if not known or (len(known) > 1 and any(frame.utc_offset is None for frame in timed)):
        return list(frames)
    usual = next(iter(known))
    return [replace(frame, acquired=_utc(frame.acquired, _or(frame.utc_offset, usual))) for frame in frames]


def seconds(acquired: Moment) -> float | None:
    """Seconds since 1970 of a moment, taken as UTC; None where date or time is absent or impossible."""
    date, time = acquired
    if not date or not time:
        return None
    try:
        whole = int(time)
        day = datetime.strptime(date, "%Y%m%d").replace(tzinfo=timezone.utc)
        clock = timedelta(hours=whole // 10_000, minutes=whole // 100 % 100, seconds=whole % 100 + time - whole)
        return (day + clock).timestamp()
    except (ValueError, OverflowError):
        return None


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def _utc(acquired: Moment, minutes: int) -> Moment:
    since = seconds(acquired)
    if since is None or not _YEARS[0] < since < _YEARS[1]:
        return acquired
    then = datetime.fromtimestamp(round(since - 60 * minutes, 6), timezone.utc)
    return then.strftime("%Y%m%d"), float(then.strftime("%H%M%S.%f"))
