"""What the results take over from the source images: patient, study, frame of reference, equipment.

highdicom and the standard want of a source what scanners do not always write, so everything here works on copies:
text re-encoded as ISO_IR 192 (UTF-8), values that break their value representation shortened or emptied, absent
type 2 attributes inserted empty. The files are only read.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any

from pydicom.datadict import dictionary_VM, dictionary_VR
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.multival import MultiValue
from pydicom.tag import Tag
from pydicom.uid import EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage
from pydicom.valuerep import DA, TM, format_number_as_ds

from scarnode.errors import InputError, name_of, raise_system_fault
from scarnode.part10 import NotPart10Error, read
from scarnode.stack.model import SourceFrame, Stack
from scarnode.uids import derived_uid

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
)
"""Attributes of the Patient, General Study and Patient Study modules that every result carries as the source does."""

TYPE_2 = frozenset(PATIENT_AND_STUDY) - {
    "IssuerOfPatientID",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
}
"""Those that must be present, if empty."""

EQUIPMENT = (
    "Manufacturer",
    "ManufacturerModelName",
    "SoftwareVersions",
    "DeviceSerialNumber",
    "InstitutionName",
    "StationName",
)
LOSSY = ("LossyImageCompression", "LossyImageCompressionRatio", "LossyImageCompressionMethod")

_LENGTH = {"SH": 16, "LO": 64, "CS": 16}
_STAND_IN_ROOT = "2.25."
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""C0, C1, line separators, and marks that turn the direction of what follows: none of them is part of a name."""


def read_header(stack: Stack) -> Dataset:
    """Read patient, study and equipment of a stack from its first image.

    Parameters
    ----------
    stack : Stack

    Returns
    -------
    pydicom.Dataset
        In ISO_IR 192, valid in every value, all type 2 attributes of patient and study present;
        StudyInstanceUID and FrameOfReferenceUID as the stack has them.

    Raises
    ------
    InputError
        The file is no DICOM; a `SystemFaultError` where the machine is to blame, also where it is not there.
    """
    path = stack.frames[0].path
    wanted = [*PATIENT_AND_STUDY, *EQUIPMENT, *LOSSY, "SpecificCharacterSet", "PositionReferenceIndicator"]
    header = Dataset()
    with warnings.catch_warnings():
        # pydicom's warnings quote the value they complain of: that is patient data
        warnings.simplefilter("ignore")
        try:
            source = read(path, wanted)
        except (OSError, NotPart10Error, InvalidDicomError, EOFError, MemoryError) as error:
            raise_system_fault(error, path.name)
            raise InputError(
                f"a source image can not be read any more ({name_of(error)})",
                path.name,
                "receive or give the study again",
            ) from error
        header.SpecificCharacterSet = "ISO_IR 192"
        for keyword in wanted:
            value = _clean(keyword, _value(source, keyword))
            if value or keyword in TYPE_2:
                setattr(header, keyword, value)
    header.SpecificCharacterSet = "ISO_IR 192"
    header.StudyInstanceUID = stack.study_instance_uid
    header.FrameOfReferenceUID = stack.frame_of_reference_uid or derived_uid("frame of reference", *_series(stack))
    header.PositionReferenceIndicator = header.get("PositionReferenceIndicator", "")
    return header


def stand_ins(stack: Stack, header: Dataset) -> list[Dataset]:
    """Give one single-frame MR image per frame of the stack, as highdicom's Segmentation needs them.

    highdicom takes the images of one series or one whole multi-frame image. A stack may be ten series of one slice,
    or some of the frames of an Enhanced MR image. So it is shown images of one made-up series in the stack's own
    geometry; `scarnode.report.seg` then writes the references to the real frames: see `stand_in_index`.
    """
    images = []
    for index, frame in enumerate(stack.frames):
        image = _nameless(header)
        image.SOPClassUID = MRImageStorage
        image.SOPInstanceUID = f"{_STAND_IN_ROOT}{index + 1}"
        image.SeriesInstanceUID = "2.25.1"
        image.Modality = "MR"
        image.Rows, image.Columns = stack.rows, stack.columns
        image.PixelSpacing = [format_number_as_ds(float(value)) for value in stack.pixel_spacing]
        image.ImageOrientationPatient = [format_number_as_ds(float(value)) for value in stack.orientation]
        image.ImagePositionPatient = [format_number_as_ds(float(value)) for value in frame.position]
        image.SliceThickness = format_number_as_ds(float(stack.slice_thickness)) if stack.slice_thickness else None
        images.append(image)
    return images


def stand_in_index(sop_instance_uid: str) -> int:
    """Tell which frame of the stack (from 0) the stand-in with this UID stands for."""
    return int(sop_instance_uid.removeprefix(_STAND_IN_ROOT)) - 1


def is_multi_frame(frame: SourceFrame) -> bool:
    """Tell whether a reference to this frame needs a frame number."""
    return frame.sop_class_uid in {EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage}


def instances(stack: Stack) -> list[SourceFrame]:
    """Give one frame for every SOP instance of the stack, in the stack's order."""
    return list({frame.sop_instance_uid: frame for frame in reversed(stack.frames)}.values())[::-1]


def reference_to(frame: SourceFrame, stack: Stack | None = None) -> Dataset:
    """Reference an instance; with the stack given, also which of its frames were used."""
    item = Dataset()
    item.ReferencedSOPClassUID = frame.sop_class_uid
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    if stack is not None and is_multi_frame(frame):
        item.ReferencedFrameNumber = sorted(
            other.frame_number for other in stack.frames if other.sop_instance_uid == frame.sop_instance_uid
        )
    return item


def evidence(stack: Stack, header: Dataset) -> list[Dataset]:
    """Give one dataset per source instance with what an SR needs to name it as evidence."""
    datasets = []
    for frame in instances(stack):
        dataset = _nameless(header)
        dataset.SOPClassUID = frame.sop_class_uid
        dataset.SOPInstanceUID = frame.sop_instance_uid
        dataset.SeriesInstanceUID = frame.series_instance_uid
        dataset.Modality = "MR"
        datasets.append(dataset)
    return datasets


def _nameless(header: Dataset) -> Dataset:
    """Copy a header for highdicom, whose warnings quote names that they find odd: `stamp.finish` puts them back."""
    copy = Dataset()
    copy.update(header)
    for keyword in ("PatientName", "ReferringPhysicianName"):
        copy.add_new(keyword, "PN", None)  # a new element: `update` shares the header's own
    return copy


def _series(stack: Stack) -> tuple[str, ...]:
    return (stack.study_instance_uid, *stack.series_instance_uids)


def _value(source: Dataset, keyword: str) -> object:
    """Read one value, None where it is absent or can not be decoded."""
    try:
        element = source.get(Tag(keyword))
        return None if element is None else element.value
    except Exception:  # whatever a broken value raises: results never fail on a name
        return None


def _clean(keyword: str, value: object) -> object:
    """Make a value conform to its value representation and multiplicity; empty where it can not."""
    values = list(value) if isinstance(value, (MultiValue, list)) else [value]
    clean = _CLEANERS[keyword if keyword in _CLEANERS else dictionary_VR(keyword)]
    kept = [cleaned for item in values if item not in (None, "") and (cleaned := clean(item))]
    if dictionary_VM(keyword) == "1":
        return kept[0] if kept else ""
    return kept


def _text(value: object, vr: str) -> str:
    """Drop control characters and what is too long."""
    return _CONTROL.sub("", str(value)).replace("\\", "/").strip()[: _LENGTH.get(vr, 64)].strip()


def person_name(value: object) -> str:
    """Keep at most three groups (alphabetic, ideographic, phonetic) of five components and 64 characters each."""
    groups = _CONTROL.sub("", str(value)).replace("\\", "").split("=")[:3]
    return "=".join("^".join(group.split("^")[:5])[:64].strip() for group in groups).rstrip("=").strip()


def _date(value: object) -> str:
    """Keep a valid date (the retired form 1999.12.31 is brought into today's)."""
    text = str(value).strip().replace(".", "")
    try:
        return text if re.fullmatch(r"\d{8}", text) and DA(text) else ""
    except ValueError:
        return ""


def _time(value: object) -> str:
    """Keep a valid time (the retired form 12:00:00 is brought into today's)."""
    text = str(value).strip().replace(":", "")
    try:
        return text if re.fullmatch(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?", text) and TM(text) is not None else ""
    except ValueError:
        return ""


def _age(value: object) -> str:
    return str(value) if re.fullmatch(r"\d{3}[DWMY]", str(value)) else ""


def _sex(value: object) -> str:
    text = str(value).strip().upper()
    return text if text in {"M", "F", "O"} else ""


def _decimal(value: Any) -> str:
    """Keep a finite decimal, in at most 16 characters."""
    try:
        return format_number_as_ds(float(value))
    except (TypeError, ValueError):
        return ""


_CLEANERS: dict[str, Callable[[object], str]] = {
    "PN": person_name,
    "DA": _date,
    "TM": _time,
    "AS": _age,
    "PatientSex": _sex,
    "DS": _decimal,
    "SH": lambda value: _text(value, "SH"),
    "LO": lambda value: _text(value, "LO"),
    "CS": lambda value: _text(value, "CS"),
}
"""By keyword, else by value representation."""
