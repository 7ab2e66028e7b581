"""Source studies for the tests: a short axis of a left ventricle written as DICOM, and the `Stack` of it by hand."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage

from scarnode.dicom.uids import derived_uid
from scarnode.pipeline.measure import Measurements, measure
from scarnode.pipeline.measure.model import AhaSegment, Burden, ThresholdMeasurement, Transmurality
from scarnode.pipeline.report import Provenance
from scarnode.pipeline.report.pictures import draw_sheet
from scarnode.pipeline.report.source import read_header
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.stack.model import Component, Flag, SourceFrame, Stack

ORIENTATION = (0.7132, 0.7010, 0.0, -0.2987, 0.3039, -0.9047)
MODEL = ModelIdentity("lge3d", "2026.1", "ab12" * 16, "synthetic phantom and 62 real cases")
MADE_AT = datetime(2026, 3, 14, 15, 9, 26, 535897)


@dataclass(frozen=True)
class Spec:
    """What a source study looks like. `header` overrides attributes; None removes one."""

    slices: int = 8
    rows: int = 64
    columns: int = 72
    pixel_spacing: tuple[float, float] = (1.5, 1.5)
    depths: tuple[float, ...] = ()
    form: str = "series"
    """"series", "series per slice", "enhanced" or "enhanced mixed"."""
    component: Component = Component.MAGNITUDE
    scar: bool = True
    heart: bool = True
    header: dict = field(default_factory=dict)
    manufacturer: str = "SIEMENS"
    flags: tuple[Flag, ...] = ()
    complete: bool = False
    """Interval, burden, 17 segments and thresholds, by hand."""


@dataclass(frozen=True)
class Case:
    """A written study with everything `build_results` takes."""

    stack: Stack
    volume: np.ndarray
    segmentation: Segmentation
    measurements: Measurements
    files: tuple[Path, ...]
    provenance: Provenance

    @property
    def arguments(self) -> tuple:
        return self.stack, self.volume, self.segmentation, self.measurements, self.provenance


def make_case(folder: Path, spec: Spec = Spec()) -> Case:
    """Write a study into `folder` and give its stack, images and segmentation."""
    folder.mkdir(parents=True, exist_ok=True)
    labels = _labels(spec)
    volume = _images(labels)
    normal = np.cross(ORIENTATION[:3], ORIENTATION[3:])
    if normal @ np.array((-0.634, 0.645, 0.426)) < 0:
        normal = -normal
    depths = spec.depths or tuple(10.0 * k for k in range(spec.slices))
    positions = [tuple(float(v) for v in np.round(np.array((-120.5, -80.25, 200.125)) - d * normal, 4)) for d in depths]
    write = _write_enhanced if spec.form.startswith("enhanced") else _write_classic
    frames, files = write(folder, spec, volume, positions)
    stack = Stack(
        study_instance_uid=_study(spec),
        frame_of_reference_uid=derived_uid("for", str(spec)),
        component=spec.component,
        description="de_tfi_sa",
        rows=spec.rows,
        columns=spec.columns,
        pixel_spacing=spec.pixel_spacing,
        orientation=ORIENTATION,
        slice_thickness=8.0,
        spacing_between_slices=10.0,
        frames=tuple(frames),
        flags=spec.flags,
    )
    flags = () if spec.heart else ("NO_MYOCARDIUM",)
    center = (spec.rows / 2, spec.columns / 2) if spec.heart else None
    segmentation = Segmentation(labels, center, MODEL, flags, np.pi if spec.complete else None)
    key = hashlib.sha256(str(spec).encode()).hexdigest()
    provenance = Provenance(key, "feed" * 16, "0.1.0", MADE_AT)
    numbers = measure(stack, volume, segmentation)
    if spec.complete:
        numbers = replace(numbers, **COMPLETE)
    return Case(stack, volume, segmentation, numbers, tuple(files), provenance)


COMPLETE = {
    "lge_interval": (5.5, 21.5),
    "burden": Burden.INDETERMINATE,
    "segments": tuple(
        AhaSegment(number, 0.0, None, None)
        if number == 17
        else AhaSegment(number, 5.0 + number, 6.25 * (number - 1), list(Transmurality)[(number - 1) % 5])
        for number in range(1, 18)
    ),
    "by_threshold": (
        ThresholdMeasurement("5 SD", 12.5, 14.5),
        ThresholdMeasurement("6 SD", 10.25, 12.0),
        ThresholdMeasurement("FWHM", 8.0, 9.25),
    ),
}
"""Fields of `Measurements` that the small ventricle of these sources does not give."""


def _study(spec: Spec) -> str:
    return str(derived_uid("study", str(spec)))


def _labels(spec: Spec) -> np.ndarray:
    """A tapering ring around the image's centre with a patchy scar; every slice differs from every other."""
    labels = np.zeros((spec.slices, spec.rows, spec.columns), np.uint8)
    if not spec.heart:
        return labels
    y, x = np.mgrid[: spec.rows, : spec.columns]
    y = (y - spec.rows * 0.5) * spec.pixel_spacing[0]
    x = (x - spec.columns * 0.47) * spec.pixel_spacing[1]
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    for k in range(spec.slices):
        outer = 34.0 - 16.0 * k / max(spec.slices, 2)
        inner = outer - 10.0
        labels[k][radius < outer] = Tissue.MYOCARDIUM
        labels[k][radius < inner] = Tissue.BLOOD
        if spec.scar and k % 3 != 2:
            middle = np.abs(radius - (outer + inner) / 2) < 3.4
            labels[k][middle & (np.abs(angle - 0.3 * k + 1) < 0.5)] = Tissue.SCAR
    return labels


def _images(labels: np.ndarray) -> np.ndarray:
    rng = np.random.default_rng(7)
    grey = np.array([130.0, 480.0, 60.0, 640.0])[labels]
    return (grey + rng.normal(0, 18, labels.shape)).clip(0).astype(np.float32)


def _common(spec: Spec, sop_class: str, sop_uid: str, series: str, number: int) -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = sop_class, sop_uid
    ds.StudyInstanceUID, ds.SeriesInstanceUID = _study(spec), series
    ds.StudyDate, ds.StudyTime, ds.AccessionNumber, ds.StudyID = "20260301", "101112", "A77", "S1"
    ds.SeriesDate = ds.AcquisitionDate = ds.ContentDate = "20260301"
    ds.SeriesTime = ds.AcquisitionTime = ds.ContentTime = "101500"
    ds.Modality, ds.Manufacturer, ds.ManufacturerModelName = "MR", spec.manufacturer, "Example"
    ds.PatientName, ds.PatientID, ds.PatientBirthDate, ds.PatientSex = "Doe^Jane", "P1", "19700203", "F"
    ds.PatientAge, ds.ReferringPhysicianName, ds.StudyDescription = "056Y", "Ref^Erring", "Cardiac MR"
    ds.SeriesDescription, ds.SeriesNumber, ds.InstanceNumber = "de_tfi_sa", number, 1
    ds.BodyPartExamined, ds.PatientPosition, ds.SoftwareVersions = "HEART", "HFS", "VE11"
    ds.FrameOfReferenceUID, ds.PositionReferenceIndicator = derived_uid("for", str(spec)), ""
    ds.Rows, ds.Columns, ds.SamplesPerPixel, ds.PhotometricInterpretation = spec.rows, spec.columns, 1, "MONOCHROME2"
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = 16, 12, 11, 0
    return ds


def _override(ds: Dataset, spec: Spec) -> None:
    for keyword, value in spec.header.items():
        if value is None:
            if keyword in ds:
                delattr(ds, keyword)
        else:
            setattr(ds, keyword, value)


def _save(ds: Dataset, path: Path) -> Path:
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    ds.file_meta.MediaStorageSOPClassUID = ds.SOPClassUID
    ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
    ds.save_as(path, enforce_file_format=True)
    return path


def _write_classic(folder, spec, volume, positions):
    frames, files = [], []
    for k, position in enumerate(positions):
        series = derived_uid("series", str(spec), str(k if spec.form == "series per slice" else 0))
        uid = derived_uid("image", str(spec), str(k))
        ds = _common(spec, MRImageStorage, uid, series, 10 + (k if spec.form == "series per slice" else 0))
        ds.InstanceNumber = k + 1
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "NORM"]
        ds.ScanningSequence, ds.SequenceVariant, ds.ScanOptions, ds.MRAcquisitionType = ["GR", "IR"], "SK", "", "2D"
        ds.RepetitionTime, ds.EchoTime, ds.InversionTime, ds.EchoTrainLength = 800, 1.5, 300, 1
        ds.PixelSpacing, ds.SliceThickness = list(spec.pixel_spacing), 8
        ds.ImageOrientationPatient, ds.ImagePositionPatient = list(ORIENTATION), list(position)
        ds.PixelData = volume[k].astype("<u2").tobytes()
        _override(ds, spec)
        files.append(_save(ds, folder / f"src{k:03d}.dcm"))
        frames.append(SourceFrame(files[-1], MRImageStorage, str(uid), str(series), 1, position))
    return frames, files


def _write_enhanced(folder, spec, volume, positions):
    """All slices in one instance; mixed: each position once as phase-corrected and once as magnitude, in reverse."""
    uid, series = derived_uid("image", str(spec)), derived_uid("series", str(spec))
    ds = _common(spec, EnhancedMRImageStorage, uid, series, 10)
    order = [(k, "MAGNITUDE") for k in range(spec.slices)]
    if spec.form == "enhanced mixed":
        order = [(k, part) for k in reversed(range(spec.slices)) for part in ("REAL", "MAGNITUDE")]
    ds.ImageType = ["ORIGINAL", "PRIMARY", "CARDIAC", "NONE"]
    ds.InstanceNumber, ds.NumberOfFrames = 1, len(order)
    ds.ContentQualification, ds.AcquisitionDateTime, ds.AcquisitionDuration = "RESEARCH", "20260301101500", 1.0
    ds.ResonantNucleus, ds.KSpaceFiltering, ds.MagneticFieldStrength, ds.ApplicableSafetyStandardAgency = (
        "1H",
        "NONE",
        1.5,
        "IEC",
    )
    ds.VolumetricProperties, ds.VolumeBasedCalculationTechnique, ds.ComplexImageComponent = "VOLUME", "NONE", "MIXED"
    ds.PixelPresentation, ds.AcquisitionContrast, ds.AcquisitionNumber = "MONOCHROME", "T1", 1
    ds.BurnedInAnnotation, ds.LossyImageCompression, ds.PresentationLUTShape = "NO", "00", "IDENTITY"
    ds.PulseSequenceName, ds.DeviceSerialNumber = "tfl", "1"
    for keyword in ("AcquisitionContextSequence",):
        setattr(ds, keyword, [])
    organisation = Dataset()
    organisation.DimensionOrganizationUID = derived_uid("dim", str(spec))
    ds.DimensionOrganizationSequence = [organisation]
    ds.DimensionIndexSequence = []
    for tag, group in ((0x00209057, 0x00209111), (0x00189127, 0x00189226)):
        item = Dataset()
        item.DimensionOrganizationUID = organisation.DimensionOrganizationUID
        item.DimensionIndexPointer, item.FunctionalGroupPointer = tag, group
        ds.DimensionIndexSequence.append(item)
    ds.SharedFunctionalGroupsSequence = [Dataset()]
    frames, per_frame, pixels = [], [], []
    path = folder / "src000.dcm"
    for number, (k, part) in enumerate(order, 1):
        item = Dataset()
        for keyword, attributes in {
            "FrameContentSequence": {
                "InStackPositionNumber": k + 1,
                "StackID": "1",
                "DimensionIndexValues": [k + 1, 1],
            },
            "PlanePositionSequence": {"ImagePositionPatient": list(positions[k])},
            "PlaneOrientationSequence": {"ImageOrientationPatient": list(ORIENTATION)},
            "PixelMeasuresSequence": {"PixelSpacing": list(spec.pixel_spacing), "SliceThickness": 8},
            "MRModifierSequence": {"InversionRecovery": "YES", "InversionTimes": [300.0]},
            "MRImageFrameTypeSequence": {
                "FrameType": ["ORIGINAL", "PRIMARY", "CARDIAC", "NONE"],
                "PixelPresentation": "MONOCHROME",
                "VolumetricProperties": "VOLUME",
                "VolumeBasedCalculationTechnique": "NONE",
                "ComplexImageComponent": part,
                "AcquisitionContrast": "T1",
            },
        }.items():
            inner = Dataset()
            for name, value in attributes.items():
                setattr(inner, name, value)
            setattr(item, keyword, [inner])
        per_frame.append(item)
        image = volume[k] if part == "MAGNITUDE" else volume[k][::-1]
        pixels.append(image.astype("<u2").tobytes())
        if part == "MAGNITUDE":
            frames.append((k, SourceFrame(path, EnhancedMRImageStorage, str(uid), str(series), number, positions[k])))
    ds.PerFrameFunctionalGroupsSequence = per_frame
    ds.PixelData = b"".join(pixels)
    _override(ds, spec)
    _save(ds, path)
    return [frame for _, frame in sorted(frames, key=lambda pair: pair[0])], [path]


NAMES = ("seg.dcm", "sr.dcm", "sc.dcm")
TYPE_2 = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyDate", "StudyTime", "StudyID", "ReferringPhysicianName", "AccessionNumber"),
)
_SMALL = {"rows": 48, "columns": 40, "slices": 4, "pixel_spacing": (2.0, 2.0)}


def small(**changes):
    return Spec(**{**_SMALL, **changes})


FAILED = "failed analysis"
REASON = "PixelData can not be decoded (attempt 1 of 3)"
MATRIX = {
    FAILED: small(slices=6),
    "one series": small(),
    "series per slice": small(slices=10, form="series per slice"),
    "enhanced": small(form="enhanced", manufacturer="Philips Medical Systems"),
    "enhanced mixed": small(form="enhanced mixed", manufacturer="Siemens Healthineers"),
    "GE": small(manufacturer="GE MEDICAL SYSTEMS"),
    "Canon": small(manufacturer="CANON_MEC"),
    "PSIR": small(component=Component.PSIR, flags=(Flag.PSIR_ONLY,)),
    "unequal gaps": small(depths=(0, 10, 20.5, 40), flags=(Flag.MISSING_SLICE, Flag.UNEQUAL_SPACING)),
    "one slice": small(slices=1, flags=(Flag.FEW_SLICES,)),
    "three slices": small(slices=3),
    "forty slices": small(slices=40, depths=tuple(1.5 * k for k in range(40))),
    "non-square": small(pixel_spacing=(1.7, 2.6)),
    "251 x 253": small(rows=251, columns=253, slices=3),
    "everything": small(complete=True, form="enhanced"),
    "no scar": small(scar=False),
    "no heart": small(heart=False),
    "Japanese": small(
        header={
            "SpecificCharacterSet": ["", "ISO 2022 IR 87"],
            "PatientName": "Yamada^Tarou=山田^太郎=やまだ^たろう",
        }
    ),
    "Chinese": small(header={"SpecificCharacterSet": "GB18030", "PatientName": "Wang^XiaoDong=王^小东"}),
    "Arabic": small(header={"SpecificCharacterSet": "ISO_IR 127", "PatientName": "قباني^لنزار"}),
    "Latin-1": small(header={"PatientName": "Müller-Ångström^Jörg^É^Dr^Jr"}),
    "empty type 2": small(header=dict.fromkeys((*TYPE_2, "Manufacturer"), "")),
    "absent type 2": small(
        header=dict.fromkeys(
            (*TYPE_2, "Manufacturer", "PatientAge", "SpecificCharacterSet", "PositionReferenceIndicator")
        )
    ),
    "over-long": small(header={"StudyID": "A" * 40, "AccessionNumber": "B" * 30}),
    "broken values": small(
        header={
            "PatientSex": "female",
            "PatientAge": "56",
            "PatientSize": "175.123456789",
            "StudyTime": "25:61",
            "PatientBirthDate": "1970.02.03",
        }
    ),
    "two values where one is allowed": small(
        header={"StudyID": ["S1", "S2"], "ReferringPhysicianName": ["A^B", "C^D"]}
    ),
}


def render_sheet(stack, volume, segmentation, measurements, provenance):
    """Draw the report page alone, from what `build_results` takes."""
    return draw_sheet(stack, volume, segmentation, measurements, read_header(stack), provenance)
