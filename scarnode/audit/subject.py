"""Study and patient of a DICOM file, read from its header. Pixel data is not read."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from scarnode.audit.model import Subject
from scarnode.dicom.part10 import read
from scarnode.dicom.values import read_value

TAGS = ["SpecificCharacterSet", "SOPClassUID", "StudyInstanceUID", "PatientID", "PatientName", "AccessionNumber"]


def read_subject(file: Path | BinaryIO) -> tuple[Subject, str]:
    """Return study and patient of a DICOM file, and its SOP Class UID. Values that can not be read are empty.

    Parameters
    ----------
    file : Path or binary file
        DICOM file, or dataset with file meta information.
    """
    try:
        header = read(file, TAGS)
    except Exception:  # hostile input: the values stay empty
        return Subject(), ""
    subject = Subject(
        study_instance_uid=read_value(header, "StudyInstanceUID").text,
        patient_id=read_value(header, "PatientID").text,
        patient_name=read_value(header, "PatientName").text,
        accession_number=read_value(header, "AccessionNumber").text,
    )
    return subject, read_value(header, "SOPClassUID").text
