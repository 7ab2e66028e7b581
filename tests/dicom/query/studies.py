"""Small studies for archives: several series, of which some are MR."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import MRImageStorage, SecondaryCaptureImageStorage, generate_uid

from tests.harness.peers import make_object


@dataclass(frozen=True)
class Kept:
    """A study on disk: its UID, its files, and which of them are MR."""

    uid: str
    paths: tuple[Path, ...]
    mr: tuple[Path, ...]


def make_study(
    folder: Path,
    accession: str = "ACC-1",
    patient: str = "4711",
    day: str = "20260110",
    description: str = "Cardiac MR",
    series: Sequence[tuple[str, int]] = (("MR", 3), ("MR", 2), ("OT", 2)),
    time: str = "101500",
    uid: str = "",
) -> Kept:
    """Write a study with series of these modalities and numbers of images."""
    folder.mkdir(parents=True, exist_ok=True)
    uid, paths, mr = uid or str(generate_uid()), [], []
    for number, (modality, images) in enumerate(series):
        of_series = str(generate_uid())
        for image in range(images):
            sop_class = MRImageStorage if modality == "MR" else SecondaryCaptureImageStorage
            path = make_object(folder / f"{number}-{image}.dcm", sop_class, study=uid)
            dataset = dcmread(path)
            dataset.SpecificCharacterSet = "ISO_IR 192"
            dataset.SeriesInstanceUID, dataset.Modality, dataset.SeriesNumber = of_series, modality, number
            dataset.PatientID, dataset.AccessionNumber = patient, accession
            dataset.StudyDate, dataset.StudyTime, dataset.StudyDescription = day, time, description
            dataset.SeriesDescription, dataset.InstanceNumber = f"series {number}", image + 1
            dataset.save_as(path, enforce_file_format=True)
            paths.append(path)
            mr += [path] if modality == "MR" else []
    return Kept(uid, tuple(paths), tuple(mr))
