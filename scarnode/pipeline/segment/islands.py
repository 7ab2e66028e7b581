"""Scar of a few pixels is noise: drop it."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scarnode.pipeline.segment.model import Tissue

SMALLEST_ISLAND = 4
"""Scar islands of this many network pixels or fewer are dropped, as published."""


def drop_islands(labels: np.ndarray, without_scar: np.ndarray, largest: float) -> np.ndarray:
    """Replace scar islands of at most `largest` pixels (in a slice; diagonals connect) by the next likeliest tissue.

    Parameters
    ----------
    labels, without_scar : numpy.ndarray
        uint8, (slices, rows, columns); `without_scar` holds the likeliest tissue other than scar.
    largest : float
        Pixels of the largest island that is dropped.
    """
    cleaned = labels.copy()
    for label, other in zip(cleaned, without_scar, strict=True):
        islands, _ = ndimage.label(label == Tissue.SCAR, structure=np.ones((3, 3)))
        small = np.bincount(islands.ravel()) <= largest
        small[0] = False
        drop = small[islands]
        label[drop] = other[drop]
    return cleaned
