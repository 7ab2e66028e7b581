"""One instance, read tolerantly into a typed record per frame. No pixel is decoded."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag
from pydicom.uid import (
    EnhancedMRImageStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
    LegacyConvertedEnhancedMRImageStorage,
    MediaStorageDirectoryStorage,
    MRImageStorage,
    RLELossless,
)

from scarnode.dicom.elements import integer, items, number, numbers, text, texts
from scarnode.dicom.part10 import Dataset10, NotPart10Error, OversizedError, open_dataset, open_file
from scarnode.dicom.uids import derived_uid
from scarnode.pipeline.stack.codestream import HEAD, stated_size
from scarnode.pipeline.stack.geometry import Orientation
from scarnode.pipeline.stack.model import Vector
from scarnode.pipeline.stack.patient import IDENTITY_TAGS, NOBODY, Identity, Patient, read_identity, read_patient
from scarnode.pipeline.stack.patient import TAGS as PATIENT_TAGS
from scarnode.pipeline.stack.times import Moment, date_time, moment, offset
from scarnode.util.errors import InputError, raise_system_fault

MULTI_FRAME = frozenset({EnhancedMRImageStorage, LegacyConvertedEnhancedMRImageStorage})
SUPPORTED = MULTI_FRAME | {MRImageStorage}
"""SOP classes whose frames can be part of a stack."""

_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless})
"""Transfer syntaxes that always change values; JPEG 2000 may or may not."""
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_SHARED, _PER_FRAME = 0x52009229, 0x52009230
# Every element that is read; other values are passed over, which bounds time and memory.
_TAGS = [
    *(0x00080005, 0x00080008, 0x00080016, 0x00080018, 0x00080020, 0x00080021, 0x00080022, 0x00080031, 0x00080032),
    *(0x00080033, 0x0008002A, 0x00080060, 0x00080070, 0x0008103E, 0x00080201, 0x00089208, 0x00180010, 0x00180012),
    *(0x00180020, 0x00180022, 0x00180023, 0x00180050, 0x00180081, 0x00180082, 0x00180088, 0x00181030, 0x00189008),
    *(0x00189009, 0x00189079, 0x0020000D, 0x0020000E, 0x00200032, 0x00200037, 0x00200052, 0x00280002, 0x00280008),
    *(0x00280010, 0x00280011, 0x00280030, 0x00280100, 0x00280301, 0x00282110, 0x0043102F),
    _SHARED,
    _PER_FRAME,
    *PATIENT_TAGS,
    *IDENTITY_TAGS,
]
_UID = re.compile(r"[0-9.]{1,128}")
"""PS3.5 9.1 wants at most 64 characters and no leading zeros; scanners that do otherwise are served all the same."""
_TEXTS = [tag for tag in _TAGS if tag not in (_SHARED, _PER_FRAME, 0x00180012, 0x00089208)]
_MAX_SIDE = 4096
_MAX_FRAMES = 20_000
_RLE_GROWTH, _RLE_HEADER = 2, 4096
"""PackBits grows noise by 1 % (PS3.5 G.3.1), a careless encoder of single bytes twofold."""
_MAX_COORDINATE = 1e5
"""mm; a patient is smaller."""


class Geometry(NamedTuple):
    """Where a sound frame lies; the attributes are those of `Frame`."""

    position: Vector
    orientation: Orientation
    pixel_spacing: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Frame:
    """What the header says of one frame (a single-frame instance has one).

    Attributes
    ----------
    path : Path
    sop_class_uid, sop_instance_uid, study_instance_uid, series_instance_uid, modality, manufacturer : str
    frame_of_reference_uid : str
        Where the header has none, a UID derived from the study's: all such images of a study are taken to share one
        space.
    description : str
        SeriesDescription. May hold free text: never log it.
    name : str
        What the name patterns look at: SeriesDescription; where that is empty ProtocolName (not GE's, which names the
        exam).
    frame_number : int
        From 1.
    rows, columns, samples_per_pixel : int
        0 where the header does not say.
    image_type : tuple of str
        ImageType or FrameType, upper case.
    complex_component : str
        ComplexImageComponent (Enhanced), or the word for GE's private (0043,102F); '' where neither is given.
    position, orientation, pixel_spacing : tuple of float or None
        ImagePositionPatient (mm, LPS), ImageOrientationPatient, PixelSpacing (rows, columns; mm). None where absent
        or not numbers.
    slice_thickness, spacing_between_slices : float or None
        mm, positive.
    acquisition_type : str
        MRAcquisitionType: 2D or 3D.
    scanning_sequence : frozenset of str
        SE, IR, GR, ... ; for Enhanced MR the same words from EchoPulseSequence and InversionRecovery.
    inverted : bool
        IR is named in ScanningSequence, ScanOptions or ImageType, or InversionRecovery is YES.
    inversion_time, echo_time : float or None
        ms, positive.
    contrast_agent : bool
    patient : Patient
    acquired : tuple of (str, float)
        Date and time of acquisition, in an order that sorts: wall clock as read, see
        `scarnode.pipeline.stack.times.in_utc`.
    utc_offset : int or None
        Minutes from UTC of that clock; None where the header states none.
    burned_in : bool
        BurnedInAnnotation is YES.
    lossy : bool
        LossyImageCompression says so: the values were changed, whatever the transfer syntax is now.
    fault : str
        Reason code of what makes the frame unusable; '' for a sound one.
    fault_detail : str
    identity : Identity
        Patient and study, as the results copy them.
    identity_changed : bool
        The same image came with another identity, too.
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    study_instance_uid: str
    series_instance_uid: str
    modality: str
    manufacturer: str
    frame_of_reference_uid: str
    description: str
    name: str
    frame_number: int
    rows: int
    columns: int
    samples_per_pixel: int
    image_type: tuple[str, ...]
    complex_component: str
    position: Vector | None
    orientation: Orientation | None
    pixel_spacing: tuple[float, float] | None
    slice_thickness: float | None
    spacing_between_slices: float | None
    acquisition_type: str
    scanning_sequence: frozenset[str]
    inverted: bool
    inversion_time: float | None
    echo_time: float | None
    contrast_agent: bool
    patient: Patient
    acquired: Moment
    utc_offset: int | None = None
    burned_in: bool = False
    lossy: bool = False
    fault: str = ""
    fault_detail: str = ""
    identity: Identity = NOBODY
    identity_changed: bool = False

    @property
    def geometry(self) -> Geometry:
        """Place, directions and pixel size of a sound frame; ValueError where one is missing."""
        if self.position is None or self.orientation is None or self.pixel_spacing is None:
            raise ValueError("a frame without geometry")
        return Geometry(self.position, self.orientation, self.pixel_spacing)


def read_frames(path: Path) -> tuple[Frame, ...]:
    """Read the header of one DICOM file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    tuple of Frame
        One for each frame; one for an instance that is no image, or whose frames can not be distinguished. `fault`
        holds why a frame can not be used (missing or truncated pixel data, geometry, ...).

    Raises
    ------
    InputError
        The file can not be read, is not DICOM, is cut off before its pixels, or lacks UIDs. `what` starts with a
        reason code. A `SystemFaultError` where the machine is to blame.
    """
    try:
        with open_file(path) as stream:
            opened = open_dataset(stream, _TEXTS)
            dataset = read_dataset(
                opened.stream,
                opened.implicit_vr,
                opened.little_endian,
                stop_when=_at_pixels,
                specific_tags=[BaseTag(tag) for tag in _TAGS],
            )
            uids = _uids(dataset)
            if not all(uids[1:4]):
                raise _no_uids(path, uids, opened)
            _check_uids(path, uids)
            frames = _frames(path, dataset, uids, _pixel_fault(opened, dataset))
            lossy = opened.transfer_syntax_uid in _LOSSY
            return tuple(replace(frame, lossy=True) for frame in frames) if lossy else frames
    except InputError:
        raise
    except OversizedError as error:
        raise InputError(f"OVERSIZED: {error}", path.name, "find out what sent it") from error
    except NotPart10Error as error:
        raise InputError(f"NOT_DICOM: not a DICOM file: {error}", path.name, "send DICOM Part 10 files") from error
    except OSError as error:
        raise_system_fault(error, path.name)
        if error.errno is None:  # pydicom's, for what it does not find in the bytes
            what = "DAMAGED_HEADER: the header can not be parsed (it ends inside a sequence)"
            raise InputError(what, path.name, "send the instance again") from error
        raise InputError(
            f"UNREADABLE: {error.strerror or error}", path.name, "check the file and its rights"
        ) from error
    except Exception as error:  # hostile bytes reach many corners of a parser: one file must never stop the others
        raise_system_fault(error, path.name)
        what = f"DAMAGED_HEADER: the header can not be parsed ({type(error).__name__})"
        raise InputError(what, path.name, "send the instance again") from error


def _at_pixels(tag: BaseTag, _vr: str | None, _length: int) -> bool:
    return tag in _PIXELS


def _uids(dataset: Dataset) -> tuple[str, str, str, str]:
    """SOP class, SOP instance, study, series."""
    sop_class, instance, study, series = (
        text(dataset, tag) for tag in (0x00080016, 0x00080018, 0x0020000D, 0x0020000E)
    )
    return sys.intern(sop_class), instance, sys.intern(study), sys.intern(series)


def _no_uids(path: Path, uids: tuple[str, str, str, str], opened: Dataset10) -> InputError:
    names = ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    missing = ", ".join(name for name, uid in zip(names, uids[1:], strict=True) if not uid)
    if uids[0] == MediaStorageDirectoryStorage or (not uids[0] and _is_directory(path)):
        return InputError("NO_UID: a DICOMDIR lists files and holds no image", path.name, "give the files it lists")
    if not _rest(opened.stream):
        what = f"TRUNCATED_HEADER: the file ends inside its header, before {missing}"
        return InputError(what, path.name, "send the instance again")
    return InputError(f"NO_UID: the header has no {missing}", path.name, "the sender must give every instance its UIDs")


def _check_uids(path: Path, uids: tuple[str, str, str, str]) -> None:
    """Refuse what is no UID in their place: it would stand in the results, and in other programs' paths and pages."""
    for name, uid in zip(("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"), uids[1:], strict=True):
        if not _UID.fullmatch(uid):
            raise InputError(f"BAD_UID: {name} is no UID", path.name, "the sender must give every instance valid UIDs")


def _is_directory(path: Path) -> bool:
    return path.name.upper() == "DICOMDIR"


def _rest(stream: BinaryIO) -> int:
    """Bytes between here and the end."""
    here = stream.tell()
    end = stream.seek(0, 2)
    stream.seek(here)
    return max(end - here, 0)


# --- pixels: are they all there? -----------------------------------------------------------------


def _pixel_fault(opened: Dataset10, dataset: Dataset) -> tuple[str, str]:
    """Detect missing and truncated pixel data by lengths alone (PS3.5 A.4)."""
    stream = opened.stream
    head = stream.read(8)
    order = ">" if opened.transfer_syntax_uid == ExplicitVRBigEndian else "<"
    byteorder: Literal["big", "little"] = "big" if order == ">" else "little"
    if len(head) < 8:
        return "NO_PIXEL_DATA", "the file ends before its pixel data"
    explicit = head[4:6].isalpha() and opened.transfer_syntax_uid != ImplicitVRLittleEndian
    length = int.from_bytes(stream.read(4) if explicit else head[4:8], byteorder)
    left = _rest(stream)
    frames = integer(dataset, 0x00280008) or 1
    if length == 0xFFFFFFFF:
        return _fragments_fault(opened, dataset, frames)
    size = [integer(dataset, tag) or 0 for tag in (0x00280010, 0x00280011, 0x00280100)]
    expected = math.prod(size) // 8 * max(frames, 1) * (integer(dataset, 0x00280002) or 1)
    if not length or not left:
        return "NO_PIXEL_DATA", "PixelData is empty"
    if left < length or length < expected:
        needed = max(length, expected)
        return "TRUNCATED_PIXEL_DATA", f"{min(left, length)} of {needed} bytes of pixel data are there"
    return "", ""


def _fragments_fault(  # noqa: PLR0911 (a ladder of reasons)
    opened: Dataset10, dataset: Dataset, frames: int
) -> tuple[str, str]:
    """Walk the items of encapsulated pixel data: all whole, a delimiter behind them, a fragment a frame at least.

    No fragment may say of itself, or by its length, that it unpacks to something else than the header's frames.
    """
    stream = opened.stream
    size = (integer(dataset, 0x00280010) or 0, integer(dataset, 0x00280011) or 0)
    raw = math.prod(size) * ((integer(dataset, 0x00280100) or 16) + 7) // 8 * (integer(dataset, 0x00280002) or 1)
    count = -1  # the first item is the basic offset table
    while True:
        head = stream.read(8)
        if len(head) < 8:
            return "TRUNCATED_PIXEL_DATA", "the compressed pixel data has no end"
        length = int.from_bytes(head[4:], "little")
        if head[:4] == b"\xfe\xff\xdd\xe0":
            break
        if head[:4] != b"\xfe\xff\x00\xe0" or length > _rest(stream):
            return "TRUNCATED_PIXEL_DATA", "a fragment of the compressed pixel data is cut off"
        count += 1
        following = stream.tell() + length
        if count and opened.transfer_syntax_uid == RLELossless and length > _RLE_GROWTH * raw + _RLE_HEADER:
            return "INCONSISTENT_PIXELS", f"{length} bytes of RLE for a frame of {raw} bytes"
        stated = stated_size(stream.read(min(length, HEAD))) if count else None
        if stated is not None and stated != size:
            detail = (
                f"a compressed frame of {stated[0]} x {stated[1]} pixels where Rows x Columns is {size[0]} x {size[1]}"
            )
            return "INCONSISTENT_PIXELS", detail
        stream.seek(following)
    if count < 1:
        return "NO_PIXEL_DATA", "the compressed pixel data is empty"
    if count < frames:
        return "TRUNCATED_PIXEL_DATA", f"{count} fragments of compressed pixel data for {frames} frames"
    return "", ""


# --- frames --------------------------------------------------------------------------------------


def _frames(path: Path, dataset: Dataset, uids: tuple[str, str, str, str], fault: tuple[str, str]) -> tuple[Frame, ...]:
    whole = _whole(path, dataset, uids)
    if whole.sop_class_uid not in SUPPORTED:
        return (whole,)
    count = integer(dataset, 0x00280008) or 1
    if whole.sop_class_uid not in MULTI_FRAME:
        if count != 1:
            return (replace(whole, fault="INCONSISTENT_FRAMES", fault_detail=f"an MR Image of {count} frames"),)
        return (_checked(whole, fault),)
    groups = items(dataset, _PER_FRAME)
    if len(groups) != count or not 1 <= count <= _MAX_FRAMES:
        detail = f"{count} frames are stated, {len(groups)} are described"
        return (replace(whole, fault=fault[0] or "INCONSISTENT_FRAMES", fault_detail=fault[1] or detail),)
    shared = (items(dataset, _SHARED) or [Dataset()])[0]
    return tuple(
        _checked(_one_of_many(whole, shared, group, index), fault) for index, group in enumerate(groups, start=1)
    )


def _whole(path: Path, dataset: Dataset, uids: tuple[str, str, str, str]) -> Frame:
    """Read the instance's top level: all there is of a single-frame image."""
    description, manufacturer = sys.intern(text(dataset, 0x0008103E)), sys.intern(text(dataset, 0x00080070))
    protocol = "" if manufacturer.upper().startswith("GE") else text(dataset, 0x00181030)
    image_type = texts(dataset, 0x00080008)
    sequence = texts(dataset, 0x00180020)
    acquired, utc_offset = _acquired(dataset)
    return Frame(
        path=path,
        sop_class_uid=uids[0],
        sop_instance_uid=uids[1],
        study_instance_uid=uids[2],
        series_instance_uid=uids[3],
        modality=sys.intern(text(dataset, 0x00080060).upper()),
        manufacturer=manufacturer,
        frame_of_reference_uid=sys.intern(text(dataset, 0x00200052) or str(derived_uid("frame of reference", uids[2]))),
        description=description,
        name=description or sys.intern(protocol),
        frame_number=1,
        rows=integer(dataset, 0x00280010) or 0,
        columns=integer(dataset, 0x00280011) or 0,
        samples_per_pixel=integer(dataset, 0x00280002) or 0,
        image_type=image_type,
        complex_component=_component_word(dataset),
        position=_vector(dataset, 0x00200032, 3),
        orientation=_vector(dataset, 0x00200037, 6),
        pixel_spacing=_vector(dataset, 0x00280030, 2),
        slice_thickness=_positive(dataset, 0x00180050),
        spacing_between_slices=_positive(dataset, 0x00180088),
        acquisition_type=sys.intern(text(dataset, 0x00180023).upper()),
        scanning_sequence=_sequence_words(sequence, dataset),
        inverted=_inverted(sequence, texts(dataset, 0x00180022), image_type, dataset),
        inversion_time=_positive(dataset, 0x00180082) or _positive(dataset, 0x00189079),
        echo_time=_positive(dataset, 0x00180081),
        contrast_agent=bool(text(dataset, 0x00180010) or items(dataset, 0x00180012)),
        patient=read_patient(dataset),
        acquired=acquired,
        utc_offset=utc_offset,
        burned_in=text(dataset, 0x00280301).upper() == "YES",
        lossy=text(dataset, 0x00282110) == "01",
        identity=read_identity(dataset),
    )


def _one_of_many(whole: Frame, shared: Dataset, group: Dataset, number_from_1: int) -> Frame:
    """Read one frame of an Enhanced instance: a functional group of its own, else the shared one (PS3.3 C.7.6.16)."""

    def macro(tag: int) -> Dataset:
        found = items(group, tag) or items(shared, tag)
        return found[0] if found else Dataset()

    frame_type, content, echo = macro(0x00189226), macro(0x00209111), macro(0x00189114)
    modifier, measures = macro(0x00189115), macro(0x00289110)
    legacy = [*items(group, 0x00209171), *items(shared, 0x00209170)]  # what a converter could place nowhere else
    image_type = texts(frame_type, 0x00089007) or whole.image_type
    sequence = [word for dataset in legacy for word in texts(dataset, 0x00180020)]
    options = [word for dataset in legacy for word in texts(dataset, 0x00180022)]
    stated = text(content, 0x00189074)
    acquired, own_offset = date_time(stated) if stated else (whole.acquired, None)
    return replace(
        whole,
        frame_number=number_from_1,
        image_type=image_type,
        complex_component=_component_word(frame_type) or whole.complex_component,
        position=_vector(macro(0x00209113), 0x00200032, 3),
        orientation=_vector(macro(0x00209116), 0x00200037, 6),
        pixel_spacing=_vector(measures, 0x00280030, 2),
        slice_thickness=_positive(measures, 0x00180050),
        spacing_between_slices=_positive(measures, 0x00180088) or whole.spacing_between_slices,
        scanning_sequence=whole.scanning_sequence | _sequence_words(sequence, modifier),
        inverted=whole.inverted or _inverted(sequence, options, image_type, modifier),
        inversion_time=_positive(modifier, 0x00189079)
        or _first(_positive(dataset, 0x00180082) for dataset in legacy)
        or whole.inversion_time,
        echo_time=_positive(echo, 0x00189082)
        or _first(_positive(dataset, 0x00180081) for dataset in legacy)
        or whole.echo_time,
        acquired=acquired,
        utc_offset=whole.utc_offset if own_offset is None else own_offset,
    )


def _component_word(dataset: Dataset) -> str:
    word = text(dataset, 0x00089208).upper()
    if word:
        return word
    code = integer(dataset, 0x0043102F)
    return {0: "MAGNITUDE", 1: "PHASE", 2: "REAL", 3: "IMAGINARY"}.get(code, "") if code is not None else ""


def _sequence_words(sequence: Sequence[str], dataset: Dataset) -> frozenset[str]:
    pulse = text(dataset, 0x00189008).upper()
    enhanced = {"SPIN": ("SE",), "GRADIENT": ("GR",), "BOTH": ("SE", "GR")}.get(pulse, ())
    return frozenset(word for word in (*sequence, *enhanced) if word)


def _inverted(sequence: Sequence[str], options: Sequence[str], image_type: Sequence[str], dataset: Dataset) -> bool:
    return (
        "IR" in sequence
        or "IR" in options
        or any(word == "IR" or word.endswith("_IR") for word in image_type[2:])
        or text(dataset, 0x00189009).upper() == "YES"
    )


def _acquired(dataset: Dataset) -> tuple[Moment, int | None]:
    """Return acquisition date and time, or the next best that sorts images by age, and the clock's offset from UTC."""
    clock = offset(text(dataset, 0x00080201))
    if stated := text(dataset, 0x0008002A):
        found, own = date_time(stated)
        return found, clock if own is None else own
    date = next(filter(None, (text(dataset, tag) for tag in (0x00080022, 0x00080021, 0x00080020))), "")
    time = next(filter(None, (text(dataset, tag) for tag in (0x00080032, 0x00080033, 0x00080031))), "")
    return moment(date, time), clock


def _first(values: Iterable[float | None]) -> float | None:
    return next((value for value in values if value is not None), None)


def _vector(dataset: Dataset, tag: int, length: int) -> tuple | None:
    values = numbers(dataset, tag)
    return values if values is not None and len(values) == length else None


def _positive(dataset: Dataset, tag: int) -> float | None:
    value = number(dataset, tag)
    return value if value is not None and value > 0 else None


def _checked(frame: Frame, pixel_fault: tuple[str, str]) -> Frame:
    """Return the frame with the first fault that makes it unusable."""
    fault = pixel_fault if pixel_fault[0] else _geometry_fault(frame)  # a cut-off header lacks geometry too
    return replace(frame, fault=fault[0], fault_detail=fault[1]) if fault[0] else frame


def _geometry_fault(frame: Frame) -> tuple[str, str]:
    missing = [
        name
        for name, value in (
            ("ImagePositionPatient", frame.position),
            ("ImageOrientationPatient", frame.orientation),
            ("PixelSpacing", frame.pixel_spacing),
        )
        if value is None
    ]
    if missing or frame.position is None or frame.pixel_spacing is None:
        return "NO_GEOMETRY", f"{', '.join(missing)} absent or not numbers"
    if not all(abs(value) <= _MAX_COORDINATE for value in frame.position):  # False for NaN too
        return "BAD_GEOMETRY", "ImagePositionPatient is not a place in a patient"
    if not all(0.01 <= value <= 100 for value in frame.pixel_spacing):
        return "BAD_GEOMETRY", "PixelSpacing is not a size of pixels"
    if not all(1 <= side <= _MAX_SIDE for side in (frame.rows, frame.columns)):
        return "BAD_SIZE", f"{frame.rows} rows x {frame.columns} columns"
    return "", ""
