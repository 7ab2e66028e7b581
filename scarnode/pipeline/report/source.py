"""The attributes that results copy from the source images: patient, study, frame of reference, equipment.

highdicom and the standard require attributes that scanners do not always write. So the copies are completed: text is
re-encoded as ISO_IR 192 (UTF-8), values are those of `scarnode.dicom.values` (as they came, or empty), and absent
attributes of type 2 are inserted empty. The files are only read.
"""

from __future__ import annotations

import warnings

from pydicom import config
from pydicom.datadict import dictionary_VM, dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage, MRImageStorage
from pydicom.valuerep import format_number_as_ds

from scarnode.dicom.part10 import NotPart10Error, read
from scarnode.dicom.uids import derived_uid
from scarnode.dicom.values import PATIENT_AND_STUDY, read_value
from scarnode.pipeline.stack.model import SourceFrame, Stack
from scarnode.util.errors import InputError, name_of, raise_system_fault

TYPE_2 = frozenset(PATIENT_AND_STUDY) - {
    "IssuerOfPatientID",
    "StudyDescription",
    "PatientAge",
    "PatientSize",
    "PatientWeight",
    "PatientIdentityRemoved",
    "DeidentificationMethod",
    "TimezoneOffsetFromUTC",
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

_STAND_IN_ROOT = "2.25."


def read_header(stack: Stack) -> Dataset:
    """Read patient, study and equipment of a stack from the image that tells them (`Stack.identity_frame`).

    Parameters
    ----------
    stack : Stack

    Returns
    -------
    pydicom.Dataset
        In ISO_IR 192, every value as it came or empty, all type 2 attributes of patient and study present;
        StudyInstanceUID and FrameOfReferenceUID as the stack has them.

    Raises
    ------
    InputError
        The file is no DICOM; a `SystemFaultError` where the machine is to blame, also where it is not there.
    """
    path = stack.frames[stack.identity_frame].path
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
            value = read_value(source, keyword)
            if value.texts or keyword in TYPE_2:
                put(header, keyword, value.texts)
    header.SpecificCharacterSet = "ISO_IR 192"
    header.StudyInstanceUID = stack.study_instance_uid
    header.FrameOfReferenceUID = stack.frame_of_reference_uid or derived_uid("frame of reference", *_series(stack))
    header.PositionReferenceIndicator = header.get("PositionReferenceIndicator", "")
    return header


def stand_ins(stack: Stack, header: Dataset) -> list[Dataset]:
    """Return one single-frame MR image per frame of the stack, as highdicom's Segmentation needs them.

    highdicom takes the images of one series or one whole multi-frame image. A stack may be ten series of one slice,
    or some of the frames of an Enhanced MR image. So it is shown images of one made-up series in the stack's own
    geometry; `scarnode.pipeline.report.seg` then writes the references to the real frames: see `stand_in_index`.
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
    """Return which frame of the stack (from 0) the stand-in with this UID stands for."""
    return int(sop_instance_uid.removeprefix(_STAND_IN_ROOT)) - 1


def is_multi_frame(frame: SourceFrame) -> bool:
    """Return whether a reference to this frame needs a frame number."""
    return frame.sop_class_uid in {EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage}


def instances(stack: Stack) -> list[SourceFrame]:
    """Return one frame for every SOP instance of the stack, in the stack's order."""
    return list({frame.sop_instance_uid: frame for frame in reversed(stack.frames)}.values())[::-1]


def reference_to(frame: SourceFrame, stack: Stack | None = None) -> Dataset:
    """Refer to an instance; with the stack given, also which of its frames were used."""
    item = Dataset()
    item.ReferencedSOPClassUID = frame.sop_class_uid
    item.ReferencedSOPInstanceUID = frame.sop_instance_uid
    if stack is not None and is_multi_frame(frame):
        item.ReferencedFrameNumber = sorted(
            other.frame_number for other in stack.frames if other.sop_instance_uid == frame.sop_instance_uid
        )
    return item


def evidence(stack: Stack, header: Dataset) -> list[Dataset]:
    """Return one dataset per source instance with what an SR needs to name it as evidence."""
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
    """Copy a header without values that highdicom's warnings would quote; `common.finish` restores them."""
    copy = Dataset()
    copy.update(header)
    for keyword in ("PatientName", "ReferringPhysicianName", "PatientID", "AccessionNumber", "StudyID"):
        copy.add_new(keyword, dictionary_VR(keyword), None)  # a new element: `update` shares the header's own
    return copy


def _series(stack: Stack) -> tuple[str, ...]:
    return (stack.study_instance_uid, *stack.series_instance_uids)


def put(dataset: Dataset, keyword: str, texts: tuple[str, ...]) -> None:
    """Set an attribute to values as they are: a number is not cut because it is longer than the standard allows."""
    value = (texts[0] if texts else "") if dictionary_VM(keyword) == "1" else list(texts)
    tag = tag_for_keyword(keyword)
    if tag is not None:
        dataset[keyword] = DataElement(tag, dictionary_VR(tag), value, validation_mode=config.IGNORE)
