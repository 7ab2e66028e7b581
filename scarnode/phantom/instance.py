"""One instance of a phantom's study: geometry, headers and pixels, and how it is written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from scarnode.dicom.uids import derived_uid
from scarnode.phantom.model import Phantom
from scarnode.phantom.vendors import VENDORS, VendorProfile
from scarnode.util.durable import replace_durably
from scarnode.util.errors import InputError

ORIENTATION = (0.7132, 0.7010, 0.0, -0.2987, 0.3039, -0.9047)
"""A short axis: directions along a row and along a column, LPS."""
ISOCENTER = (45.0, -35.0, -10.0)
"""LPS, mm: middle of the stack's middle image."""
COMMENT = "Synthetic image: digital phantom, not a patient. Research use only, not for diagnostic use"
IMPLEMENTATION = derived_uid("scarnode", "phantom writer")


SITE = "Synthetic"
"""InstitutionName where no site is named."""


@dataclass(frozen=True)
class PhantomStudy:
    """What all instances of a phantom's study share."""

    phantom: Phantom
    profile: VendorProfile
    key: tuple[str, ...]
    site: str

    def uid(self, *parts: object) -> UID:
        """Return the UID of a part of the study."""
        return derived_uid("phantom", *self.key, *map(str, parts))


def study_of(phantom: Phantom, vendor: str, site: str = SITE) -> PhantomStudy:
    """Return the study of a phantom and its twin; InputError where the vendor is unknown."""
    if vendor not in VENDORS:
        raise InputError(f"unknown vendor {vendor!r}", "write_dicom", f"take one of {', '.join(VENDORS)}")
    # Twins (magnitude and PSIR of one seed) lie in one study.
    settings = repr(replace(phantom.settings, component=None))
    return PhantomStudy(phantom, VENDORS[vendor], (str(phantom.seed), settings, vendor), site)


def slice_position(phantom: Phantom, index: int) -> np.ndarray:
    """Return ImagePositionPatient of a slice (counted from 0 at the base): centre of the first voxel, LPS, mm."""
    row, column = np.array(ORIENTATION[:3]), np.array(ORIENTATION[3:])
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)  # points to the base
    slices, rows, columns = phantom.image.shape
    corner = np.array(ISOCENTER) - row * (columns - 1) / 2 * phantom.pixel_spacing[1]
    corner = corner - column * (rows - 1) / 2 * phantom.pixel_spacing[0]
    return corner + normal * ((slices - 1) / 2 - index) * phantom.slice_distance


def save(dataset: Dataset, path: Path) -> Path:
    """Write an instance as a file, whole or not at all."""
    encoded = BytesIO()
    dataset.save_as(encoded, enforce_file_format=True)
    replace_durably(path, [encoded.getvalue()], sync=False)
    return path


def patient_and_study(study: PhantomStudy) -> Dataset:
    """Return what every instance says of patient, study, frame of reference and equipment."""
    seed = study.phantom.seed
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = f"PHANTOM^SEED{seed}"
    dataset.PatientID = f"SYN-{seed:06d}"
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.PatientAge = "050Y"
    dataset.PatientWeight = "75"
    dataset.StudyInstanceUID = study.uid("study")
    dataset.StudyID = f"S{seed % 10**9}"
    dataset.StudyDescription = "Synthetic cardiac MR"
    dataset.StudyDate = dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = "20240101"
    dataset.StudyTime = "100000"
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = "101500"
    dataset.AccessionNumber = f"SYN{seed % 10**9}"
    dataset.ReferringPhysicianName = ""
    dataset.FrameOfReferenceUID = study.uid("frame of reference")
    dataset.PositionReferenceIndicator = ""
    dataset.Manufacturer = study.profile.manufacturer
    dataset.ManufacturerModelName = study.profile.model
    dataset.SoftwareVersions = study.profile.software
    dataset.DeviceSerialNumber = "0"
    dataset.InstitutionName = study.site
    dataset.Modality = "MR"
    dataset.BodyPartExamined = "HEART"
    dataset.PatientPosition = "HFS"
    dataset.ImageComments = COMMENT
    return dataset


def classic_instance(study: PhantomStudy, phantom: Phantom, index: int, variant: str = "") -> Dataset:
    """Return one MR Image Storage instance without series and instance number."""
    profile, component = study.profile, phantom.component
    dataset = patient_and_study(study)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = study.uid("instance", component, index, variant)
    dataset.file_meta = file_meta_of(dataset)
    dataset.ImageType = list(profile.image_type[component])
    dataset.SeriesDescription = profile.description[component]
    dataset.ProtocolName = profile.protocol
    dataset.AcquisitionTime = f"1015{index:02d}"
    dataset.AcquisitionNumber = index + 1
    dataset.ScanningSequence = list(profile.scanning_sequence)
    dataset.SequenceVariant = ["SK", "MP"]
    dataset.ScanOptions = ["CG", *profile.scan_options]
    dataset.MRAcquisitionType = "3D" if phantom.slice_thickness < 6 else "2D"
    dataset.SliceThickness = f"{phantom.slice_thickness:g}"
    dataset.SpacingBetweenSlices = f"{phantom.slice_distance:g}"
    dataset.RepetitionTime = f"{phantom.repetition_time:g}"
    dataset.EchoTime = f"{phantom.echo_time:g}"
    dataset.FlipAngle = f"{phantom.flip_angle:g}"
    if profile.states_inversion_time:
        dataset.InversionTime = f"{phantom.inversion_time:g}"
    dataset.MagneticFieldStrength = "1.5"
    dataset.ImagingFrequency = "63.67"
    dataset.ImagedNucleus = "1H"
    dataset.EchoTrainLength = 1
    dataset.NumberOfAverages = "1"
    dataset.TriggerTime = f"{0.7 * phantom.rr_interval:.1f}"
    dataset.HeartRate = round(60000 / phantom.rr_interval)
    dataset.ContrastBolusAgent = "Gadolinium"
    dataset.ImageOrientationPatient = [f"{value:g}" for value in ORIENTATION]
    position = slice_position(phantom, index)
    dataset.ImagePositionPatient = [f"{value:.6f}" for value in position]
    dataset.SliceLocation = f"{-phantom.slice_distance * index:.4f}"
    dataset.PixelSpacing = [f"{value:g}" for value in phantom.pixel_spacing]
    if profile.manufacturer.startswith("GE"):
        block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x2F, "SS", 0 if component == "magnitude" else 2)
    if profile.manufacturer.startswith("Philips"):
        dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = "0", "1", "US"
    set_pixels(dataset, phantom.image[index])
    return dataset


def file_meta_of(dataset: Dataset) -> FileMetaDataset:
    """Return the file meta information of an instance."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = "SCARNODE_PHANTOM"
    return meta


def set_pixels(dataset: Dataset, image: np.ndarray) -> None:
    """Set pixels of 12 bits stored in 16, with the window a scanner would suggest.

    `image` may have frames before rows and columns.
    """
    stored = np.clip(np.rint(image), 0, 4095).astype("<u2")
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.Rows, dataset.Columns = stored.shape[-2:]
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
    dataset.PixelData = stored.tobytes()
    if stored.ndim == 2:
        low, high = np.percentile(stored, [1, 99.5])
        dataset.WindowCenter = f"{(low + high) / 2:.0f}"
        dataset.WindowWidth = f"{max(high - low, 2):.0f}"
