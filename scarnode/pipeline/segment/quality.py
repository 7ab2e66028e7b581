"""Quality flags: signs that an outline may be wrong and needs a check. They are no grades.

The limits of shape are judgement. Those of agreement were measured, and come from the model card.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from scipy import ndimage

from scarnode.pipeline.segment.certainty import Calibration
from scarnode.pipeline.segment.model import Agreement, Tissue

NO_HEART = "NO_HEART"
"""Nothing in the images looks like a left ventricle."""
NO_MYOCARDIUM = "NO_MYOCARDIUM"
"""No voxel was called myocardium or scar."""
AREA_JUMP = "AREA_JUMP"
"""The ventricle's area changes by more than 60 % between neighbouring slices away from base and apex."""
CENTER_JUMP = "CENTER_JUMP"
"""The ventricle's centre moves by more than 15 mm between neighbouring slices."""
OPEN_RING = "OPEN_RING"
"""In a middle slice the myocardium does not close around the blood pool."""
BAD_NULLING = "BAD_NULLING"
"""In half of the slices or more even dark myocardium is as bright as blood: the inversion time missed the null. Also
where the image was outlined in white for black (`scarnode.pipeline.segment.windows.blood_is_darker`)."""
UNSURE_MYOCARDIUM = "UNSURE_MYOCARDIUM"
"""Repeated readings outline the myocardium differently."""
UNSURE_SCAR = "UNSURE_SCAR"
"""Repeated readings outline the scar differently."""


def quality_flags(
    labels: np.ndarray,
    pixel_spacing: tuple[float, float],
    image: np.ndarray | None = None,
    agreement: Agreement | None = None,
    calibration: Calibration | None = None,
    *,
    badly_nulled: bool = False,
) -> tuple[str, ...]:
    """Return flags of an outline.

    Parameters
    ----------
    labels : numpy.ndarray
        (slices, rows, columns), values of `Tissue`, base to apex.
    pixel_spacing : tuple of float
        mm.
    image : numpy.ndarray, optional
        What was outlined, same shape.
    agreement, calibration : optional
        How far repeated readings agree, and below which agreement they are flagged.
    badly_nulled : bool
        It is known already that the inversion time missed the null: the image was outlined in white for black.
    """
    wall = (labels == Tissue.MYOCARDIUM) | (labels == Tissue.SCAR)
    if not wall.any():
        return (NO_MYOCARDIUM,)
    flags = []
    ventricle = labels != Tissue.BACKGROUND
    area = ventricle.sum(axis=(1, 2)).astype(float)
    seen = np.flatnonzero(area)
    middle = seen[len(seen) // 4 : len(seen) - len(seen) // 4]
    if any(abs(area[b] - area[a]) > 0.6 * max(area[a], area[b]) for a, b in pairwise(middle)):
        flags.append(AREA_JUMP)
    centers = np.array([np.argwhere(ventricle[i]).mean(axis=0) * pixel_spacing for i in seen])
    if (np.hypot(*np.diff(centers, axis=0).T) > 15).any():
        flags.append(CENTER_JUMP)
    if any(_is_open(labels[i], wall[i]) for i in middle):
        flags.append(OPEN_RING)
    if badly_nulled or (image is not None and _is_badly_nulled(labels, wall, image)):
        flags.append(BAD_NULLING)
    if agreement is not None and calibration is not None:
        if agreement.wall < calibration.wall_below:
            flags.append(UNSURE_MYOCARDIUM)
        if agreement.scar < calibration.scar_below:
            flags.append(UNSURE_SCAR)
    return tuple(flags)


def _is_open(label: np.ndarray, wall: np.ndarray) -> bool:
    """Return whether more than a twentieth of the blood pool's edge touches background instead of wall."""
    blood = label == Tissue.BLOOD
    if not blood.any():
        return True
    rim = ndimage.binary_dilation(blood) & ~blood
    return bool((rim & ~wall).sum() > 0.05 * rim.sum())


def _is_badly_nulled(labels: np.ndarray, wall: np.ndarray, image: np.ndarray) -> bool:
    """Return whether a quarter of the myocardium or less is darker than half of the blood, in half of the slices or
    more.
    """
    wrong = [
        np.percentile(pixels[muscle], 25) >= np.median(pixels[label == Tissue.BLOOD])
        for label, muscle, pixels in zip(labels, wall, image, strict=True)
        if muscle.sum() >= 20 and (label == Tissue.BLOOD).sum() >= 20
    ]
    return bool(wrong) and float(np.mean(wrong)) >= 0.5
