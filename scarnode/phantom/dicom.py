"""A phantom as the DICOM series a scanner would send, and its truth as a DICOM SEG.

Everything is synthetic, says so in ImageComments, and is named after the seed. UIDs derive from the seed and the
settings, so that the same phantom is always the same study.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np

from scarnode.phantom.cohort import published_test_set
from scarnode.phantom.enhanced import enhanced_instance
from scarnode.phantom.instance import SITE, classic_instance, patient_and_study, save, set_pixels, study_of
from scarnode.phantom.make import make_cine, make_phantom
from scarnode.phantom.model import Phantom, PhantomSettings
from scarnode.phantom.truth import truth_segmentation
from scarnode.phantom.vendors import VENDORS
from scarnode.util.errors import InputError


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
    study = study_of(phantom, vendor, site)
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
            dataset = enhanced_instance(image, study.profile, kept, study.uid, patient_and_study(study), 401 + order)
            paths.append(save(dataset, folder / f"{image.component}_enhanced.dcm"))
            continue
        shared = study.profile.one_series_for_both and not own_series
        for index, number in zip(kept, numbers.tolist(), strict=True):
            series_key = "both" if shared else image.component
            place = (series_key, index if own_series else "stack")
            dataset = classic_instance(study, image, index, variant=f"{shuffle}/{own_series}/{both_components}")
            dataset.SeriesInstanceUID = study.uid("series", *place)
            dataset.SeriesNumber = 401 + (index if own_series else 0) + (0 if shared else 100 * order)
            dataset.InstanceNumber = number + (len(kept) * order if shared else 0)
            paths.append(save(dataset, folder / f"{image.component}_{dataset.InstanceNumber:03d}_{index:02d}.dcm"))
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
    study = study_of(phantom, vendor)
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    images = make_cine(phantom, phases, slices)
    paths = []
    for phase in range(len(images)):
        for place in range(images.shape[1]):
            dataset = classic_instance(study, phantom, 1 + 2 * place)
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
            set_pixels(dataset, images[phase, place])
            paths.append(save(dataset, folder / f"cine_{dataset.InstanceNumber:03d}.dcm"))
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
    return save(truth_segmentation(phantom, sources), Path(path))
