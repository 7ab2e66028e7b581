"""A phantom as the DICOM series a scanner would send, and its truth as a DICOM SEG.

Everything is synthetic, says so in ImageComments, and is named after the seed. UIDs derive from the seed and the
settings, so that the same phantom is always the same study.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Literal

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from scarnode.dicom.uids import derived_uid
from scarnode.phantom.cohort import published_test_set
from scarnode.phantom.make import make_cine, make_phantom
from scarnode.phantom.model import Phantom, PhantomSettings
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
class _Study:
    """What all instances of a phantom's study share."""

    phantom: Phantom
    profile: VendorProfile
    key: tuple[str, ...]
    site: str

    def uid(self, *parts: object) -> UID:
        return derived_uid("phantom", *self.key, *map(str, parts))


def _study_of(phantom: Phantom, vendor: str, site: str = SITE) -> _Study:
    if vendor not in VENDORS:
        raise InputError(f"unknown vendor {vendor!r}", "write_dicom", f"take one of {', '.join(VENDORS)}")
    # Magnitude and PSIR of one seed lie in one study.
    settings = repr(replace(phantom.settings, component=None))
    return _Study(phantom, VENDORS[vendor], (str(phantom.seed), settings, vendor), site)


def slice_position(phantom: Phantom, index: int) -> np.ndarray:
    """Return ImagePositionPatient of a slice (counted from 0 at the base): centre of the first voxel, LPS, mm."""
    row, column = np.array(ORIENTATION[:3]), np.array(ORIENTATION[3:])
    normal = np.cross(row, column)
    normal /= np.linalg.norm(normal)  # points to the base
    slices, rows, columns = phantom.image.shape
    corner = np.array(ISOCENTER) - row * (columns - 1) / 2 * phantom.pixel_spacing[1]
    corner = corner - column * (rows - 1) / 2 * phantom.pixel_spacing[0]
    return corner + normal * ((slices - 1) / 2 - index) * phantom.slice_distance


def write_dicom(
    phantom: Phantom,
    folder: Path,
    vendor: str = "siemens",
    *,
    both_components: bool = False,
    enhanced: bool = False,
    series_per_slice: bool | None = None,
    shuffle: bool = False,
    drop: Iterable[int] = (),
    site: str = SITE,
) -> list[Path]:
    """Write a phantom as a vendor's DICOM LGE series.

    Parameters
    ----------
    phantom : Phantom
    folder : Path
        Made if absent. Files are named so that their alphabetical order is not the slices' order when `shuffle`.
    vendor : {"siemens", "ge", "philips", "canon"}
    both_components : bool
        Also write the other component (magnitude beside PSIR), as a vendor that sends both does: a second series,
        or for Philips the same one.
    enhanced : bool
        One Enhanced MR instance per component instead of classic instances (Siemens and Philips).
    series_per_slice : bool, optional
        A series for each slice; the vendor's habit when omitted (Canon's).
    shuffle : bool
        InstanceNumber in random order.
    drop : iterable of int
        Slices (counted from 0 at the base) that are not written.
    site : str
        InstitutionName.

    Returns
    -------
    list of Path
        The files; the phantom's own component first, each base to apex.

    Raises
    ------
    InputError
        If the vendor is unknown, or sends no Enhanced MR.
    """
    study = _study_of(phantom, vendor, site)
    if enhanced and vendor not in ("siemens", "philips"):
        raise InputError(f"{vendor} sends no Enhanced MR here", "write_dicom", "take siemens or philips")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    own_series = study.profile.series_per_slice if series_per_slice is None else series_per_slice
    kept = [index for index in range(len(phantom.image)) if index not in set(drop)]
    numbers = np.arange(1, len(kept) + 1)
    if shuffle:
        numbers = np.random.default_rng([phantom.seed, 17]).permutation(numbers)
    paths = []
    for order, image in enumerate(_components(phantom, both_components)):
        if enhanced:
            from scarnode.phantom.enhanced import enhanced_instance

            dataset = enhanced_instance(image, study.profile, kept, study.uid, _patient_and_study(study), 401 + order)
            paths.append(_save(dataset, folder / f"{image.component}_enhanced.dcm"))
            continue
        shared = study.profile.one_series_for_both and not own_series
        for index, number in zip(kept, numbers.tolist(), strict=True):
            series_key = "both" if shared else image.component
            place = (series_key, index if own_series else "stack")
            dataset = _classic_instance(study, image, index, variant=f"{shuffle}/{own_series}/{both_components}")
            dataset.SeriesInstanceUID = study.uid("series", *place)
            dataset.SeriesNumber = 401 + (index if own_series else 0) + (0 if shared else 100 * order)
            dataset.InstanceNumber = number + (len(kept) * order if shared else 0)
            paths.append(_save(dataset, folder / f"{image.component}_{dataset.InstanceNumber:03d}_{index:02d}.dcm"))
    return paths


def write_cine(
    phantom: Phantom, folder: Path, vendor: str = "siemens", phases: int = 12, slices: int = 3
) -> list[Path]:
    """Write a short-axis cine series into the phantom's study: a decoy that is not LGE.

    Parameters
    ----------
    phantom : Phantom
    folder : Path
    vendor : {"siemens", "ge", "philips", "canon"}
    phases, slices : int

    Returns
    -------
    list of Path
    """
    study = _study_of(phantom, vendor)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images = make_cine(phantom, phases, slices)
    paths = []
    for phase in range(len(images)):
        for place in range(images.shape[1]):
            dataset = _classic_instance(study, phantom, 1 + 2 * place)
            dataset.SOPInstanceUID = study.uid("cine", phase, place)
            dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
            dataset.SeriesInstanceUID = study.uid("series", "cine")
            dataset.SeriesNumber = 301
            dataset.InstanceNumber = 1 + place * phases + phase
            dataset.SeriesDescription = study.profile.cine_description
            dataset.ProtocolName = study.profile.protocol if vendor == "ge" else study.profile.cine_description
            dataset.ImageType = ["ORIGINAL", "PRIMARY", *(("M", "NORM") if vendor == "siemens" else ("OTHER",))]
            dataset.ScanningSequence, dataset.SequenceVariant, dataset.ScanOptions = "GR", "SK", "CG"
            for keyword in ("InversionTime", "ContrastBolusAgent"):
                if keyword in dataset:
                    delattr(dataset, keyword)
            dataset.RepetitionTime, dataset.EchoTime, dataset.FlipAngle = "38.4", "1.4", "60"
            dataset.TriggerTime = f"{phantom.rr_interval * phase / phases:.1f}"
            dataset.CardiacNumberOfImages = phases
            _set_pixels(dataset, images[phase, place])
            paths.append(_save(dataset, folder / f"cine_{dataset.InstanceNumber:03d}.dcm"))
    return paths


def write_cohort(
    folder: Path, count: int, seed: int = 0, vendor: str = "mix", settings: PhantomSettings | None = None
) -> list[Path]:
    """Write `count` synthetic patients, one sub-folder each, with the LGE series and the true SEG.

    Parameters
    ----------
    folder : Path
        Gets ``SYN-<seed>/lge/*.dcm`` and ``SYN-<seed>/truth.dcm``.
    count : int
    seed : int
        Patients have the seeds seed, seed + 1, ...
    vendor : {"siemens", "ge", "philips", "canon", "mix"}
        ``mix`` cycles through the vendors.
    settings : PhantomSettings, optional

    Returns
    -------
    list of Path
        The patients' folders.
    """
    if count < 1:
        raise InputError(f"count is {count}", "write_cohort", "give 1 or more")
    names = list(VENDORS) if vendor == "mix" else [vendor]
    folders = []
    for patient in range(seed, seed + count):
        phantom = make_phantom(patient, settings)
        folders.append(_write_patient(folder, phantom, names[(patient - seed) % len(names)], SITE))
    return folders


def write_published_test_set(folder: Path) -> list[Path]:
    """Write the synthetic counterpart of the publication's test set (`published_test_set`) as `write_cohort` does."""
    return [_write_patient(folder, phantom, site.vendor, site.name) for site, phantom in published_test_set()]


def _write_patient(folder: Path, phantom: Phantom, vendor: str, site: str) -> Path:
    own = Path(folder) / f"SYN-{phantom.seed:06d}"
    files = write_dicom(phantom, own / "lge", vendor, site=site)
    write_truth(phantom, files, own / "truth.dcm")
    return own


def _components(phantom: Phantom, both_components: bool) -> list[Phantom]:
    if not both_components:
        return [phantom]
    other: Literal["magnitude", "psir"] = "psir" if phantom.component == "magnitude" else "magnitude"
    return [phantom, make_phantom(phantom.seed, replace(phantom.settings, component=other))]


def _save(dataset: Dataset, path: Path) -> Path:
    encoded = BytesIO()
    dataset.save_as(encoded, enforce_file_format=True)
    replace_durably(path, [encoded.getvalue()], sync=False)
    return path


def _patient_and_study(study: _Study) -> Dataset:
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


def _classic_instance(study: _Study, phantom: Phantom, index: int, variant: str = "") -> Dataset:
    """One MR Image Storage instance without series and instance number."""
    profile, component = study.profile, phantom.component
    dataset = _patient_and_study(study)
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = study.uid("instance", component, index, variant)
    dataset.file_meta = _file_meta(dataset)
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
    _set_pixels(dataset, phantom.image[index])
    return dataset


def _file_meta(dataset: Dataset) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = IMPLEMENTATION
    meta.ImplementationVersionName = "SCARNODE_PHANTOM"
    return meta


def _set_pixels(dataset: Dataset, image: np.ndarray) -> None:
    """12 bits stored in 16, with the window a scanner would suggest; `image` may have frames before rows, columns."""
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


def write_truth(phantom: Phantom, sources: list[Path], path: Path) -> Path:
    """Write the phantom's true labels as a DICOM SEG beside the series it belongs to.

    Parameters
    ----------
    phantom : Phantom
    sources : list of Path
        Classic instances written by `write_dicom` (one component is enough; of two the phantom's own is used).
    path : Path

    Returns
    -------
    Path

    Raises
    ------
    InputError
        If none of the sources is an instance of this phantom, or they are Enhanced MR.
    """
    from scarnode.phantom.truth import truth_segmentation

    return _save(truth_segmentation(phantom, sources), Path(path))
