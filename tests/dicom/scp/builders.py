"""Small MR instances, as a scanner would send them."""

from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

STUDY = "1.2.826.0.1.3680043.8.498.1"


def instance(number: int = 1, study: str = STUDY, value: int = 0, **attributes) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = MRImageStorage
    dataset.SOPInstanceUID = f"{study}.9.{number}"
    dataset.StudyInstanceUID = study
    dataset.SeriesInstanceUID = f"{study}.1"
    dataset.PatientID = "SYN-1"
    dataset.PatientName = "PHANTOM^ONE"
    dataset.AccessionNumber = "A1"
    dataset.StudyDate = "20260102"
    dataset.Modality = "MR"
    dataset.InstanceNumber = number
    dataset.Rows = dataset.Columns = 16
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
    dataset.PixelRepresentation = 0
    dataset.PixelData = np.full((16, 16), value, np.uint16).tobytes()
    for keyword, wanted in attributes.items():
        setattr(dataset, keyword, wanted)
    return dataset


def write(folder: Path, *datasets: Dataset) -> list[Path]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for dataset in datasets:
        path = folder / f"{generate_uid()}.dcm"
        dataset.save_as(path, enforce_file_format=True)
        paths.append(path)
    return paths
