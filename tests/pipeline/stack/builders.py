"""Small DICOM studies as the vendors write them, for tests.

`slices` gives the datasets of one classic MR series (base to apex), `enhanced` one Enhanced MR instance, `save` writes
either in any transfer syntax. The default is a short-axis stack of ten 8 mm slices every 10 mm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as DicomSequence
from pydicom.uid import UID, EnhancedMRImageStorage, ExplicitVRBigEndian, ExplicitVRLittleEndian, MRImageStorage

from scarnode.dicom.uids import derived_uid

SHORT_AXIS = (0.7132, 0.7010, 0.0, -0.2987, 0.3039, -0.9047)
BASE = np.array((-0.634, 0.645, 0.426))
FOUR_CHAMBER = (0.7071, -0.7071, 0.0, 0.3, 0.3, -0.9055)
TWO_CHAMBER = (-0.634, 0.645, 0.426, 0.0, 0.0, -1.0)
AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)

LGE_2D = {"ScanningSequence": ["GR", "IR"], "EchoTime": 1.6, "RepetitionTime": 700.0, "FlipAngle": 25.0}
"""What an inversion-recovery gradient echo says of itself."""


@dataclass(frozen=True)
class Study:
    """UIDs of one study; the same seed names the same study."""

    seed: str = "study"

    @property
    def uid(self) -> str:
        return str(derived_uid("test study", self.seed))

    @property
    def frame_of_reference(self) -> str:
        return str(derived_uid("test frame of reference", self.seed))

    def series(self, number: int) -> str:
        return str(derived_uid("test series", self.seed, str(number)))

    def instance(self, series: int, number: int, copy: str = "") -> str:
        return str(derived_uid("test instance", self.seed, str(series), str(number), copy))


def image(index: int, rows: int = 16, columns: int = 16) -> np.ndarray:
    """A picture that no other index has: uint16, shape (rows, columns), values to 4000."""
    return np.random.default_rng(index).integers(1, 4000, (rows, columns)).astype(np.uint16)


def orthonormal(orientation: Sequence[float]) -> tuple[float, ...]:
    """The orientation with its rounding errors removed."""
    row = np.array(orientation[:3]) / np.linalg.norm(orientation[:3])
    column = np.array(orientation[3:]) - np.dot(orientation[3:], row) * row
    column /= np.linalg.norm(column)
    return tuple(float(f"{value:.8f}") for value in (*row, *column))


def positions(
    count: int, spacing: float = 10.0, orientation: Sequence[float] = SHORT_AXIS, base: np.ndarray = BASE
) -> list[tuple[float, ...]]:
    """ImagePositionPatient of a stack, base to apex."""
    normal = np.cross(orientation[:3], orientation[3:])
    normal = normal / np.linalg.norm(normal)
    normal = normal if normal @ base >= 0 else -normal
    start = np.array([-20.0, -60.0, 80.0])
    return [tuple(float(f"{value:.5f}") for value in start - index * spacing * normal) for index in range(count)]


def blank(study: Study, series: int, number: int, sop_class: str = MRImageStorage, modality: str = "MR") -> Dataset:
    """A dataset with the identifiers of an instance and nothing else."""
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID = sop_class
    ds.SOPInstanceUID = study.instance(series, number)
    ds.StudyInstanceUID = study.uid
    ds.SeriesInstanceUID = study.series(series)
    ds.StudyDate = ds.SeriesDate = ds.AcquisitionDate = "20240305"
    ds.StudyTime = "101500"
    ds.SeriesTime = ds.AcquisitionTime = f"{10 + series // 60:02d}{series % 60:02d}00"
    ds.Modality = modality
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Phantom^Test", "TEST1", "19700101", "O"
    ds.AccessionNumber = ds.StudyID = "1"
    ds.SeriesNumber, ds.InstanceNumber = series, number
    return ds


def put_pixels(ds: Dataset, pixels: np.ndarray) -> None:
    """Give a dataset 16-bit grey pixels, shape (rows, columns) or (frames, rows, columns)."""
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 16 if pixels.dtype.kind == "i" else 12, 15
    ds.HighBit = ds.BitsStored - 1
    ds.PixelRepresentation = int(pixels.dtype.kind == "i")
    ds.add_new("PixelData", "OW", np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).tobytes())


def slices(
    study: Study | None = None,
    series: int = 1,
    description: str = "de_overview_tfi_psir_sa_MAG",
    manufacturer: str = "SIEMENS",
    count: int = 10,
    spacing: float = 10.0,
    thickness: float = 8.0,
    orientation: Sequence[float] = SHORT_AXIS,
    at: Sequence[Sequence[float]] | None = None,
    pixels: Callable[[int], np.ndarray] = image,
    first_number: int = 1,
    defaults: dict[str, Any] | None = None,
    **elements: Any,
) -> list[Dataset]:
    """The datasets of one classic MR series, base to apex.

    `at` gives the positions (else `count` slices every `spacing` mm). `elements` are set by keyword on every dataset; a
    callable is called with the slice's index, None removes the element.
    """
    study = study or Study()
    at = positions(count, spacing, orientation) if at is None else at
    found = []
    for index, position in enumerate(at):
        ds = blank(study, series, first_number + index)
        ds.Manufacturer, ds.SeriesDescription = manufacturer, description
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM", "DIS2D"]
        ds.FrameOfReferenceUID = study.frame_of_reference
        ds.MRAcquisitionType = "2D"
        ds.ImagePositionPatient, ds.ImageOrientationPatient = list(position), list(orientation)
        ds.PixelSpacing, ds.SliceThickness = [1.4, 1.4], thickness
        put_pixels(ds, pixels(index))
        for keyword, value in {**(LGE_2D if defaults is None else defaults), **elements}.items():
            put(ds, keyword, value(index) if callable(value) else value)
        found.append(ds)
    return found


def put(ds: Dataset, keyword: str, value: Any) -> None:
    """Set an element by keyword, or remove it (None). ``GE_COMPONENT`` stands for GE's private (0043,102F)."""
    if keyword == "GE_COMPONENT":
        block = ds.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x2F, "SS", value)
    elif value is None:
        if keyword in ds:
            del ds[keyword]
    else:
        setattr(ds, keyword, value)


def enhanced(
    study: Study | None = None,
    series: int = 1,
    description: str = "LGE_SAX",
    manufacturer: str = "Philips",
    count: int = 10,
    spacing: float = 10.0,
    components: Sequence[str] = ("MAGNITUDE",),
    frame_types: Sequence[Sequence[str]] = (("ORIGINAL", "PRIMARY", "M", "NONE"),),
    orientation: Sequence[float] = SHORT_AXIS,
    inversion_time: float = 300.0,
    rescale: Callable[[int], tuple[float, float]] | None = None,
    pixels: Callable[[int], np.ndarray] = image,
    order: Sequence[int] | None = None,
    number: int = 1,
) -> Dataset:
    """One Enhanced MR instance: for each component `count` frames; `order` shuffles the frames."""
    study = study or Study()
    ds = blank(study, series, number, EnhancedMRImageStorage)
    ds.Manufacturer, ds.SeriesDescription = manufacturer, description
    ds.ImageType = list(frame_types[0])
    ds.FrameOfReferenceUID = study.frame_of_reference
    ds.MRAcquisitionType = "2D"
    ds.EchoPulseSequence = "GRADIENT"
    at = positions(count, spacing, orientation)
    wanted = [(c, i) for c in range(len(components)) for i in range(count)]
    wanted = [wanted[k] for k in order] if order is not None else wanted
    ds.NumberOfFrames = len(wanted)
    put_pixels(ds, np.stack([pixels(i + 100 * c) for c, i in wanted]))
    shared = Dataset()
    shared.PlaneOrientationSequence = [_item(ImageOrientationPatient=list(orientation))]
    shared.PixelMeasuresSequence = [_item(PixelSpacing=[1.4, 1.4], SliceThickness=8.0)]
    shared.MRModifierSequence = [_item(InversionRecovery="YES", InversionTimes=inversion_time)]
    shared.MREchoSequence = [_item(EffectiveEchoTime=1.6)]
    ds.SharedFunctionalGroupsSequence = [shared]
    groups = []
    for component, index in wanted:
        group = Dataset()
        group.PlanePositionSequence = [_item(ImagePositionPatient=list(at[index]))]
        group.MRImageFrameTypeSequence = [
            _item(FrameType=list(frame_types[component]), ComplexImageComponent=components[component])
        ]
        group.FrameContentSequence = [
            _item(
                FrameAcquisitionDateTime=f"20240305{ds.AcquisitionTime}.{index:06d}",
                StackID="1",
                InStackPositionNumber=index + 1,
            )
        ]
        if rescale is not None:
            slope, intercept = rescale(index)
            group.PixelValueTransformationSequence = [
                _item(RescaleSlope=slope, RescaleIntercept=intercept, RescaleType="US")
            ]
        groups.append(group)
    ds.PerFrameFunctionalGroupsSequence = DicomSequence(groups)
    return ds


def _item(**elements: Any) -> Dataset:
    ds = Dataset()
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def save(datasets: Dataset | Iterable[Dataset], folder: Path, syntax: str = ExplicitVRLittleEndian) -> list[Path]:
    """Write datasets as DICOM files into a folder, named by a counter (never by their place in the stack)."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = [datasets] if isinstance(datasets, Dataset) else list(datasets)
    taken = len(list(folder.iterdir()))
    return [write(ds, folder / f"{taken + index:05d}.dcm", syntax) for index, ds in enumerate(listed)]


def write(ds: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian, sender: str = "SCANNER") -> Path:
    """Write one dataset; the native transfer syntaxes by pydicom, the compressed ones by GDCM."""
    native = UID(syntax) if not UID(syntax).is_encapsulated else ExplicitVRLittleEndian
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = native
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.file_meta.SourceApplicationEntityTitle = sender
    original = ds.get("PixelData")
    if native == ExplicitVRBigEndian and original:
        ds.PixelData = np.frombuffer(original, "<u2").astype(">u2").tobytes()
    ds.save_as(path, enforce_file_format=True, implicit_vr=None, little_endian=None)
    if native == ExplicitVRBigEndian and original:
        ds.PixelData = original
    if UID(syntax).is_encapsulated:
        compress(path, syntax)
    return path


def compress(path: Path, syntax: str) -> None:
    """Transcode a file in place with GDCM."""
    import gdcm

    reader = gdcm.PixmapReader()
    reader.SetFileName(str(path))
    assert reader.Read(), f"GDCM can not read {path.name}"
    change = gdcm.ImageChangeTransferSyntax()
    change.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(str(syntax))))
    change.SetInput(reader.GetPixmap())
    assert change.Change(), f"GDCM can not encode {syntax}"
    writer = gdcm.PixmapWriter()
    writer.SetFileName(str(path))
    writer.SetFile(reader.GetFile())
    writer.SetPixmap(change.GetOutputAsPixmap())
    assert writer.Write(), f"GDCM can not write {path.name}"
