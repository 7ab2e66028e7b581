"""The types that enter and leave the query room."""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Literal

from scarnode.dicom.scu.remote import RemoteAE
from scarnode.util.errors import ScarnodeError

CHARACTER_SETS = {
    "ISO_IR 192": "utf-8",
    "ISO_IR 100": "latin-1",
    "ISO_IR 101": "iso8859-2",
    "ISO_IR 109": "iso8859-3",
    "ISO_IR 110": "iso8859-4",
    "ISO_IR 126": "iso8859-7",
    "ISO_IR 127": "iso8859-6",
    "ISO_IR 138": "iso8859-8",
    "ISO_IR 144": "iso8859-5",
    "ISO_IR 148": "iso8859-9",
    "ISO_IR 13": "shift_jis",
    "ISO_IR 166": "tis_620",
    "GB18030": "gb18030",
    "GBK": "gbk",
}
"""What a question may be encoded in (PS3.3 C.12.1.1.2: without code extensions), and Python's name for it."""

FIRST_DATE = date(1980, 1, 1)
"""Before the first digital archives: where a question without a beginning begins once it must be divided."""


class QueryError(ScarnodeError):
    """An archive can not be asked, or does not answer as it should."""


@dataclass(frozen=True)
class Archive:
    """An archive that studies are pulled from.

    Attributes
    ----------
    name : str
        What config.ini calls it.
    peer : RemoteAE
        Where it is.
    how : str
        ``move`` (C-MOVE to the node) or ``get`` (C-GET).
    character_set : str
        Of `CHARACTER_SETS`: for questions that are not plain ASCII.
    most_answers : int
        Answers after which it stops as if there were no more; 0: it says when it stops.
    """

    name: str
    peer: RemoteAE
    how: Literal["move", "get"] = "move"
    character_set: str = "ISO_IR 192"
    most_answers: int = 0

    def __str__(self) -> str:
        return str(self.peer)


@dataclass(frozen=True)
class Period:
    """Days, first and last included; None: no bound."""

    first: date | None = None
    last: date | None = None

    def __str__(self) -> str:
        """Return it as DICOM matches ranges of dates (PS3.4 C.2.2.2.5)."""
        if self.first is not None and self.first == self.last:
            return f"{self.first:%Y%m%d}"
        bounds = [f"{day:%Y%m%d}" if day else "" for day in (self.first, self.last)]
        return "-".join(bounds) if any(bounds) else ""


def read_period(text: str) -> Period:
    """Read ``20260131``, ``2026-01-31``, ``20260101-20260131``, ``20260101-`` or ``-20260131``.

    Raises
    ------
    ScarnodeError
    """
    days = re.findall(r"\d{4}-?\d{2}-?\d{2}", text)
    shape = re.sub(r"\d{4}-?\d{2}-?\d{2}", "D", text.replace(" ", "")).replace("..", "-")
    try:
        bounds = [datetime.strptime(day.replace("-", ""), "%Y%m%d").date() for day in days]
        period = {"": Period, "D": lambda: Period(bounds[0], bounds[0]), "D-D": lambda: Period(*bounds)}.get(shape)
        period = period or {"D-": lambda: Period(bounds[0], None), "-D": lambda: Period(None, bounds[0])}[shape]
        read = period()
    except (KeyError, ValueError):
        raise ScarnodeError(
            "is no date or range of dates", repr(text), "Write e.g. 20260131 or 20260101-20260131"
        ) from None
    if read.first and read.last and read.first > read.last:
        raise ScarnodeError("ends before it begins", repr(text), "Write the earlier day first")
    return read


@dataclass(frozen=True)
class Wanted:
    """Which studies are asked for: what is empty matches all, ``*`` and ``?`` stand for any characters.

    Attributes
    ----------
    modality : str
        A study with a series of it; of such a study only these series are pulled. Empty: all.
    """

    study_uid: str = ""
    accession: str = ""
    patient: str = ""
    period: Period = Period()
    description: str = ""
    modality: str = "MR"

    @property
    def unbounded(self) -> bool:
        """Return whether this asks for a whole archive; a description is looked at here only."""
        keys = (self.study_uid, self.accession, self.patient)
        return not (any(key.strip("*? ") for key in keys) or self.period.first or self.period.last)


@dataclass(frozen=True)
class FoundStudy:
    """What an archive says of a study; None or empty: it does not say."""

    study_instance_uid: str
    patient_id: str = ""
    patient_name: str = ""
    accession_number: str = ""
    study_date: str = ""
    description: str = ""
    modalities: tuple[str, ...] = ()
    series: int | None = None
    instances: int | None = None

    def matches(self, wanted: Wanted) -> bool:
        """Return whether it is what was asked for: archives pass over keys that they do not know."""
        pairs = (
            (wanted.study_uid, self.study_instance_uid),
            (wanted.accession, self.accession_number),
            (wanted.patient, self.patient_id),
            (wanted.description, self.description),
        )
        if not all(like(value, pattern) for pattern, value in pairs if pattern):
            return False
        if wanted.modality and self.modalities and wanted.modality not in self.modalities:
            return False
        first, last = wanted.period.first, wanted.period.last
        day = re.sub(r"\D", "", self.study_date)[:8]
        return not day or ((not first or day >= f"{first:%Y%m%d}") and (not last or day <= f"{last:%Y%m%d}"))


def like(value: str, pattern: str) -> bool:
    """Match as C-FIND does by wild cards (PS3.4 C.2.2.2.4), without regard to case."""
    literal = pattern.strip().casefold().replace("[", "[[]")
    return fnmatch.fnmatchcase(value.strip().casefold(), literal)


@dataclass(frozen=True)
class FoundSeries:
    """What an archive says of a series; None or empty: it does not say."""

    study_instance_uid: str
    series_instance_uid: str
    modality: str = ""
    description: str = ""
    instances: int | None = None


@dataclass(frozen=True)
class Unit:
    """What one retrieval asks for: a study, one series of it, or some images of that."""

    study_uid: str
    series_uid: str = ""
    instances: tuple[str, ...] = ()


@dataclass(frozen=True)
class SubOperations:
    """Where a retrieval stands: how many images are still to come, came, or did not."""

    remaining: int = 0
    completed: int = 0
    failed: int = 0


@dataclass(frozen=True)
class Retrieved:
    """How a retrieval ended.

    Attributes
    ----------
    ok : bool
        Every image came.
    permanent : bool
        Not ok, and trying again without a change by a person is pointless.
    status : int or None
        Of the last response; None where there was none.
    counts : SubOperations
    failed : tuple of str
        SOP Instance UIDs of the images that did not come, where the archive names them.
    cancelled : bool
    detail : str
        One sentence without patient data, with what to do about it.
    """

    ok: bool
    permanent: bool
    status: int | None
    counts: SubOperations
    failed: tuple[str, ...]
    detail: str
    cancelled: bool = False


@dataclass(frozen=True)
class PulledStudy:
    """What became of a study that was to be pulled."""

    study_instance_uid: str
    ok: bool
    images: int
    """That came, as far as the archive counts them."""
    failed: int
    detail: str
    cancelled: bool = False


@dataclass(frozen=True)
class PullRule:
    """What is pulled every night.

    Attributes
    ----------
    source : str
        A source's name.
    since : timedelta or date
        How old a study may be.
    at : time
        When it begins, by this machine's clock.
    limit : int
        Studies a night.
    pause : float
        Seconds between two studies.
    """

    name: str
    source: str
    modality: str
    description: str
    since: timedelta | date
    at: time
    limit: int
    pause: float

    def wanted(self, today: date) -> Wanted:
        """Return what it asks for on a day."""
        first = today - self.since if isinstance(self.since, timedelta) else self.since
        return Wanted(period=Period(first, None), description=self.description, modality=self.modality)
