"""The types of the report: provenance and result objects."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import datetime

from pydicom.dataset import Dataset

from scarnode.pipeline.segment.model import Tissue


@dataclass(frozen=True)
class Origin:
    """What a corrected SEG says of itself, for the report that is made from it.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid, series_instance_uid : str
    segments : dict of Tissue to int
        Segment number of each tissue; a tissue may be missing (viewers leave out segments without a voxel).
    by_hand : bool
        Every one of these segments has SegmentAlgorithmType MANUAL; else one is SEMIAUTOMATIC: a network's outline that
        a person changed.
    creator : str
        ContentCreatorName as it stands there; empty where it is absent.
    saved_on : str
        ContentDate, YYYYMMDD; empty where it is absent.
    """

    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str
    segments: dict[Tissue, int]
    by_hand: bool
    creator: str
    saved_on: str


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
    correction : Origin or None
        The SEG of a person that was measured in place of the network's.
    """

    job_key: str
    input_digest: str
    software_version: str
    made_at: datetime
    predecessor: tuple[str, str] | None = None
    correction: Origin | None = None


@dataclass(frozen=True)
class ResultObjects:
    """The DICOM datasets of one result, ready to be written with ``Dataset.save_as(enforce_file_format=True)``.

    Attributes
    ----------
    seg : pydicom.Dataset or None
        Segmentation Storage; None where the analysis failed, and for a correction, whose SEG is the person's.
    sr : pydicom.Dataset
        Comprehensive 3D SR, TID 1500.
    sc : pydicom.Dataset
        RGB Secondary Capture: the report page.
    pdf : pydicom.Dataset or None
        Encapsulated PDF: the same page; None where no destination takes it, as for all below.
    labelmap : pydicom.Dataset or None
        Label Map Segmentation.
    probability : pydicom.Dataset or None
        Segmentation Storage, FRACTIONAL: probability of scar.
    """

    seg: Dataset | None
    sr: Dataset
    sc: Dataset
    pdf: Dataset | None = None
    labelmap: Dataset | None = None
    probability: Dataset | None = None

    def items(self) -> Iterator[tuple[str, Dataset]]:
        """Kind and dataset of every object that was made."""
        for field in fields(self):
            dataset = getattr(self, field.name)
            if dataset is not None:
                yield field.name, dataset
