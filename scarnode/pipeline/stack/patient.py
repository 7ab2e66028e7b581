"""Compares the patients of images. Headers of one patient may differ in spelling; two patients never share a stack."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset

from scarnode.dicom.elements import text
from scarnode.dicom.values import read_value

TAGS = (0x00100010, 0x00100020, 0x00100021, 0x00100030)

IDENTITY = (
    "PatientName",
    "PatientID",
    "IssuerOfPatientID",
    "PatientBirthDate",
    "PatientSex",
    "AccessionNumber",
    "StudyID",
    "StudyDate",
)
"""Attributes by which a result is found. If one is corrected at the source, the result is made again."""
IDENTITY_TAGS = tuple(tag for keyword in (*IDENTITY, "PatientIdentityRemoved") if (tag := tag_for_keyword(keyword)))


@dataclass(frozen=True, slots=True)
class Identity:
    """Patient and study of a header, as in the results. Patient data: never logged.

    Attributes
    ----------
    values : tuple of str
        Of `IDENTITY`, names without case; '' where there is none.
    removed : bool
        PatientIdentityRemoved is YES: a copy for research, not a correction.
    """

    values: tuple[str, ...] = ("",) * len(IDENTITY)
    removed: bool = False

    def contradicts(self, other: Identity) -> bool:
        """Return whether two differ in a value that both have."""
        pairs = zip(self.values, other.values, strict=True)
        return any(mine and yours and mine != yours for mine, yours in pairs)


NOBODY = Identity()
"""The identity of a header without these attributes."""


@lru_cache(maxsize=4096)
def _identity(values: tuple[str, ...], removed: bool) -> Identity:
    return Identity(values, removed)


def read_identity(dataset: Dataset) -> Identity:
    """Read `Identity` of a header whose values pydicom has not converted yet."""
    values = tuple(read_value(dataset, keyword).text for keyword in IDENTITY)
    name = values[0].casefold().rstrip("^= ")
    return _identity((name, *values[1:]), read_value(dataset, "PatientIdentityRemoved").text.upper() == "YES")


@dataclass(frozen=True)
class Patient:
    """The patient of a header. Patient data: never logged, never part of a message.

    Attributes
    ----------
    patient_id, issuer, birth_date : str
    name : str
        Folded: family, given and middle name without case, accents, blanks and punctuation.
    """

    patient_id: str = ""
    issuer: str = ""
    name: str = ""
    birth_date: str = ""


@lru_cache(maxsize=4096)
def _one(patient_id: str, issuer: str, name: str, birth_date: str) -> Patient:
    return Patient(patient_id.strip(), issuer.strip(), _folded(name), birth_date.strip())


def read_patient(dataset: Dataset) -> Patient:
    """Read PatientID, IssuerOfPatientID, PatientName and PatientBirthDate."""
    name, patient_id, issuer, birth_date = (text(dataset, tag) for tag in TAGS)
    return _one(patient_id, issuer, name, birth_date)


def _folded(name: str) -> str:
    """Fold the first (alphabetic) group of a PN: ``Müller^Jörg^^Dr.`` and ``MULLER^JORG`` are one name."""
    parts = name.split("=", maxsplit=1)[0].split("^")[:3]
    plain = unicodedata.normalize("NFKD", "^".join(parts)).casefold()
    return re.sub(r"[^\w^]|_", "", plain).rstrip("^")


def difference(first: Patient, second: Patient, same_image: bool = False) -> str:
    """Return the attribute that shows two different patients; '' where both headers may be of one.

    An attribute that one header lacks does not count. Names may differ where identifier and date of birth agree,
    because archives correct names.

    Parameters
    ----------
    first, second : Patient
    same_image : bool
        They are headers of one and the same image: then the name alone makes no other patient.

    Returns
    -------
    str
        The attribute's keyword.
    """
    for keyword, one, other in (
        ("PatientID", first.patient_id, second.patient_id),
        ("IssuerOfPatientID", first.issuer, second.issuer),
        ("PatientBirthDate", first.birth_date, second.birth_date),
    ):
        if one and other and one != other:
            return keyword
    known = bool(first.patient_id and second.patient_id and (same_image or (first.birth_date and second.birth_date)))
    if first.name and second.name and first.name != second.name and not known:
        return "PatientName"
    return ""


def kinds(patients: Iterable[Patient]) -> tuple[list[Patient], str]:
    """Return the patients that differ from all before them, in order, and the first attribute in which two differ."""
    found: list[Patient] = []
    first_difference = ""
    for patient in dict.fromkeys(patients):
        differences = [difference(patient, other) for other in found]
        if all(differences):
            first_difference = first_difference or next(iter(differences), "")
            found.append(patient)
    return found, first_difference
