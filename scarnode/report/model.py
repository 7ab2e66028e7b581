"""The types that enter and leave the report room."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pydicom.dataset import Dataset


@dataclass(frozen=True)
class Provenance:
    """What a result was made from and by, besides the model.

    Attributes
    ----------
    job_key : str
        Hex digest of input, model and settings; every UID of the result derives from it.
    input_digest : str
        Hex digest of the source images.
    software_version : str
    made_at : datetime
        When the analysis was first made. Part of the result, so that a re-run writes the same objects.
    predecessor : tuple of (str, str) or None
        (SOP Instance UID, Series Instance UID) of the SR which this result revises.
    """

    job_key: str
    input_digest: str
    software_version: str
    made_at: datetime
    predecessor: tuple[str, str] | None = None


@dataclass(frozen=True)
class ResultObjects:
    """The DICOM datasets of one result, ready to be written with ``Dataset.save_as(enforce_file_format=True)``.

    Attributes
    ----------
    seg : pydicom.Dataset
        Segmentation Storage, BINARY.
    sr : pydicom.Dataset
        Comprehensive 3D SR, TID 1500.
    sc : pydicom.Dataset
        RGB Secondary Capture: the contact sheet.
    """

    seg: Dataset
    sr: Dataset
    sc: Dataset
