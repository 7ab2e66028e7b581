"""What a header states of patient and study: each value as it came, or empty. Never cut, never changed in meaning.

A number that lost its end, or a name whose letters were guessed, belongs to somebody else. What can not be written at
all (control characters, an unknown character set, no date) is left out, and whoever reads it is told so.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.valuerep import DA, TM, PersonName, format_number_as_ds

from scarnode.dicom.charset import declared_in, decode
from scarnode.util.text import CONTROL

PATIENT_AND_STUDY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "ReferringPhysicianName",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "TimezoneOffsetFromUTC",
)
"""Attributes of the Patient, General Study and Patient Study modules that every result carries as the source does."""

LONGEST = 256
"""Characters of a value. SH is 16 and LO 64 by the standard; numbers of 20 are common, and archives take them."""


"""C0, C1, line separators, and marks that turn the direction of what follows: none of them is part of a name."""


@dataclass(frozen=True)
class Value:
    """A value of a header.

    Attributes
    ----------
    texts : tuple of str
        Valid; () where there is none.
    lost : bool
        The header has one that can not be taken over.
    """

    texts: tuple[str, ...] = ()
    lost: bool = False

    @property
    def text(self) -> str:
        """The only value, or ''."""
        return self.texts[0] if self.texts else ""


def read_value(dataset: Dataset, keyword: str) -> Value:
    """Read an element of a dataset whose values pydicom has not converted yet.

    Parameters
    ----------
    dataset : pydicom.Dataset
    keyword : str

    Returns
    -------
    Value
        With one text at the most where the attribute may have one value only.
    """
    try:
        joined = _joined(dataset, keyword)
    except Exception:  # whatever a broken element raises: nothing fails on a name
        return Value(lost=True)
    if joined is None:
        return Value(lost=True)
    given = [part for part in (part.strip("\0 \t\r\n\f") for part in joined.split("\\")) if part]
    if dictionary_VM(keyword) == "1" and len(set(given)) > 1:
        return Value(lost=True)
    clean = _CLEANERS.get(keyword) or _CLEANERS.get(dictionary_VR(keyword), _text)
    kept = [clean(part) for part in given]
    texts = tuple(one for one in kept if one)
    lost = any(one is None for one in kept)
    return Value(texts[:1] if dictionary_VM(keyword) == "1" else texts, lost)


def _joined(dataset: Dataset, keyword: str) -> str | None:
    """Return all values of an element with backslashes between; None where the character set is not known."""
    tag = tag_for_keyword(keyword)
    element: DataElement | RawDataElement | None = dataset.get_item(tag) if tag is not None and tag in dataset else None
    if element is None or element.value is None:
        return ""
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        return decode(element.value, declared_in(dataset))
    value: object = element.value
    if isinstance(value, PersonName) and isinstance(value.original_string, bytes):
        return decode(value.original_string, declared_in(dataset))
    return "\\".join(map(str, value)) if isinstance(value, list | MultiValue) else str(value)


def _text(text: str) -> str | None:
    return None if CONTROL.search(text) or len(text) > LONGEST else text


def _name(text: str) -> str | None:
    """Return at most three groups (alphabetic, ideographic, phonetic), without empty ones at the end."""
    groups = text.split("=")
    if CONTROL.search(text) or len(groups) > 3 or any(len(group) > LONGEST for group in groups):
        return None
    return "=".join(group.strip() for group in groups).rstrip("=").rstrip() or ""


def _date(text: str) -> str | None:
    """Keep a valid date; 1999.12.31 (retired) and 1999-12-31 say the same."""
    match = re.fullmatch(r"(\d{4})([.-]?)(\d{2})\2(\d{2})", text)
    try:
        return "".join(match.group(1, 3, 4)) if match and DA("".join(match.group(1, 3, 4))) else None
    except ValueError:
        return None


def _time(text: str) -> str | None:
    """Keep a valid time, with microseconds at the most; 12:00:00 (retired) says the same."""
    match = re.fullmatch(r"(\d{2}(?:\d{2}(?:\d{2}(?:\.\d{1,6})?)?)?)\d*", re.sub(r":(?=\d\d)", "", text))
    try:
        plain = match[1] if match and (len(match[0]) <= 6 or "." in match[1]) else ""
        return plain if plain and TM(plain) is not None else None
    except ValueError:
        return None


def _age(text: str) -> str | None:
    return text if re.fullmatch(r"\d{3}[DWMY]", text) else None


def _sex(text: str) -> str | None:
    """Keep M, F and O, also as words; what says that it is not known is empty."""
    words = {"MALE": "M", "FEMALE": "F", "OTHER": "O", "U": "", "UNKNOWN": "", "UNK": ""}
    word = text.upper()
    return word if word in {"M", "F", "O"} else words.get(word)


def _decimal(text: str) -> str | None:
    """Keep a finite decimal, in at most 16 characters; a comma before one or two digits is a decimal point."""
    try:
        return format_number_as_ds(float(re.sub(r",(?=\d{1,2}$)", ".", text)))
    except (TypeError, ValueError):
        return None


def _offset(text: str) -> str | None:
    """Keep an offset from UTC: +0100, +01:00."""
    match = re.fullmatch(r"([+-])(\d{2}):?([0-5]\d)", text)
    if match is None:
        return None
    minutes = int(f"{match[1]}{60 * int(match[2]) + int(match[3])}")
    if not -720 <= minutes <= 840:
        return None
    return f"{match[1] if minutes else '+'}{match[2]}{match[3]}"


_CLEANERS: dict[str, Callable[[str], str | None]] = {
    "PN": _name,
    "DA": _date,
    "TM": _time,
    "AS": _age,
    "DS": _decimal,
    "PatientSex": _sex,
    "TimezoneOffsetFromUTC": _offset,
}
"""By keyword, else by value representation. None: the value can not be taken over."""
