"""Segmentations as a viewer saves them after a person changed them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.pixels.utils import pack_bits
from pydicom.uid import generate_uid

READER = "Reader^Rita"
Change = Callable[[dict[str, np.ndarray]], None]
"""Changes the labels (0 or a segment number) of each image, by SOP Instance UID, in place."""


def edited(seg: Dataset, change: Change, *, drop_empty: bool = False, order: Sequence[int] | None = None) -> Dataset:
    """Give a copy of a BINARY SEG of single-frame images with changed labels, as a new object.

    Parameters
    ----------
    drop_empty : bool
        Frames without a voxel are left out, as most viewers do it.
    order : sequence of int, optional
        Where each frame of the copy comes from.
    """
    copy = deepcopy(seg)
    copy.SOPInstanceUID = copy.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    copy.SeriesInstanceUID = generate_uid()
    copy.SeriesDescription, copy.Manufacturer, copy.ContentCreatorName = "Edited", "A viewer", READER
    for item in copy.SegmentSequence:
        item.SegmentAlgorithmType = "SEMIAUTOMATIC"
    groups = list(copy.PerFrameFunctionalGroupsSequence)
    keys = [(image_of(group), int(group.SegmentIdentificationSequence[0].ReferencedSegmentNumber)) for group in groups]
    labels = {image: np.zeros((copy.Rows, copy.Columns), np.uint8) for image, _ in keys}
    for (image, number), frame in zip(keys, copy.pixel_array, strict=True):
        labels[image][frame > 0] = number
    change(labels)
    frames = np.stack([labels[image] == number for image, number in keys]).astype(np.uint8)
    order = range(len(groups)) if order is None else order
    kept = [index for index in order if not drop_empty or frames[index].any()]
    copy.PerFrameFunctionalGroupsSequence = [groups[index] for index in kept]
    copy.NumberOfFrames = len(kept)
    copy.PixelData = pack_bits(frames[kept])
    return copy


def image_of(group: Dataset) -> str:
    """Give the SOP Instance UID of the image that a frame was drawn on."""
    return group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID


def save(dataset: Dataset, path: Path) -> Path:
    """Write a dataset as a DICOM file."""
    dataset.save_as(path, enforce_file_format=True)
    return path
