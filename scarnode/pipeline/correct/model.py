"""The types of corrections: received SEG, its origin, the corrected labels."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from scarnode.pipeline.report.model import Origin

SEG_CLASSES = ("1.2.840.10008.5.1.4.1.1.66.4", "1.2.840.10008.5.1.4.1.1.66.7")
"""Segmentation Storage and Label Map Segmentation Storage."""


@dataclass(frozen=True)
class ReceivedSeg:
    """A Segmentation that was received and may be a correction.

    Attributes
    ----------
    path : Path
        The file as it came.
    sop_class_uid, sop_instance_uid, series_instance_uid : str
    """

    path: Path
    sop_class_uid: str
    sop_instance_uid: str
    series_instance_uid: str


@dataclass(frozen=True)
class Corrected:
    """A corrected segmentation on the grid of its stack.

    Attributes
    ----------
    labels : numpy.ndarray
        uint8, shape (slices, rows, columns), values of `Tissue`, slices base to apex.
    origin : Origin
    flags : tuple of str
        ``NO_SCAR_SEGMENT``: no segment is coded as scar; that counts as no scar.
    """

    labels: np.ndarray
    origin: Origin
    flags: tuple[str, ...] = ()
