"""The types of a segmentation."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np


class Tissue(IntEnum):
    """Label of a voxel, in the network's and the SEG's order."""

    BACKGROUND = 0
    BLOOD = 1
    MYOCARDIUM = 2
    """Normal left-ventricular myocardium (without scar)."""
    SCAR = 3


@dataclass(frozen=True)
class ModelIdentity:
    """Which network made a segmentation.

    Attributes
    ----------
    name, version : str
        As in the model card.
    sha256 : str
        Hex digest of the weight file.
    training_data : str
        One line naming what it was trained on, for the report's provenance.
    """

    name: str
    version: str
    sha256: str
    training_data: str


@dataclass(frozen=True)
class Agreement:
    """Readings of one stack against their mean.

    Attributes
    ----------
    lge_percent : tuple of float
        %LGE of every reading.
    wall, scar : float
        Mean Dice of the readings' myocardium (with scar) and of their scar with those of the mean; 1 where no reading
        calls any.
    """

    lge_percent: tuple[float, ...]
    wall: float
    scar: float


@dataclass(frozen=True)
class Segmentation:
    """Labels on the stack's own grid.

    Attributes
    ----------
    labels : numpy.ndarray
        uint8, shape (slices, rows, columns), values of `Tissue`, slices base to apex.
    heart_center : tuple of float or None
        (row, column) of the left ventricle's centre in pixels of the stack's grid; None where no heart was found.
    model : ModelIdentity
    flags : tuple of str
        Quality flags, e.g. ``NO_MYOCARDIUM``.
    right_ventricle : float or None
        Direction from the left ventricle's centre to the right ventricle, radian, atan2(down, right) in mm on the
        image; None where it was not seen.
    agreement : Agreement or None
        None where no heart was found.
    lge_interval : tuple of float or None
        Lower and upper bound of %LGE, percent, by the calibration in the model card; None without one.
    scar_probability : numpy.ndarray or None
        uint8, shape as the labels: 255 times the readings' mean probability of scar, 0 away from the heart.
        The labels are the likeliest tissue without small islands, so no threshold of this gives the scar exactly.
        None where no network made the labels.
    """

    labels: np.ndarray
    heart_center: tuple[float, float] | None
    model: ModelIdentity
    flags: tuple[str, ...] = ()
    right_ventricle: float | None = None
    agreement: Agreement | None = None
    lge_interval: tuple[float, float] | None = None
    scar_probability: np.ndarray | None = None
