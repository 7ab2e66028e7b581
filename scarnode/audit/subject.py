"""Whose data a DICOM file holds, read from its header; pixel data is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from pydicom.dataset import Dataset

from scarnode.audit.model import Subject
from scarnode.part10 import read

TAGS = ["SpecificCharacterSet", "SOPClassUID", "StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"]


def read_subject(file: Path | BinaryIO) -> tuple[Subject, str]:
    """Give study and patient of a DICOM file, and its SOP Class UID; what can not be read is empty, not raised.

    Parameters
    ----------
    file : Path or binary file
        DICOM file, or dataset with file meta information.
    """
    try:
        header = read(file, TAGS)
    except Exception:  # what a parser says of hostile input is no matter of the audit trail
        return Subject(), ""
    subject = Subject(
        study_instance_uid=_text(header, "StudyInstanceUID"),
        patient_id=_text(header, "PatientID"),
        patient_name=_text(header, "PatientName"),
        accession_number=_text(header, "AccessionNumber"),
    )
    return subject, _text(header, "SOPClassUID")


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        return str(dataset.get(keyword) or "").strip()
    except Exception:  # a value that pydicom refuses to convert
        return ""
