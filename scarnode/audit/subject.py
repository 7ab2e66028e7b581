"""Whose data a DICOM file holds, read from its header; pixel data is not touched."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from scarnode.audit.model import Subject
from scarnode.dicom.part10 import read
from scarnode.dicom.values import read_value

TAGS = ["SpecificCharacterSet", "SOPClassUID", "StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"]


def read_subject(file: Path | BinaryIO) -> tuple[Subject, str]:
    """Return study and patient of a DICOM file, and its SOP Class UID; what can not be read is empty, not raised.

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
        study_instance_uid=read_value(header, "StudyInstanceUID").text,
        patient_id=read_value(header, "PatientID").text,
        patient_name=read_value(header, "PatientName").text,
        accession_number=read_value(header, "AccessionNumber").text,
    )
    return subject, read_value(header, "SOPClassUID").text
