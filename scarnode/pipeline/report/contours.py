"""Outlines of masks, for the SR's coordinates and for the picture."""

from __future__ import annotations

from collections.abc import Container

import numpy as np
from scipy import ndimage
from skimage.measure import find_contours

from scarnode.pipeline.segment.model import Tissue


def outlines(mask: np.ndarray) -> list[np.ndarray]:
    """Trace the closed borders of a mask.

    Parameters
    ----------
    mask : numpy.ndarray
        bool, shape (rows, columns).

    Returns
    -------
    list of numpy.ndarray
        Longest first; each of shape (points, 2), (column, row), first point = last point, in DICOM's image-relative
        coordinates: (0, 0) is the outer corner of the first pixel, (0.5, 0.5) its centre (PS3.3 section C.18.6).
    """
    if not mask.any():
        return []
    traced = find_contours(np.pad(mask, 1).astype(np.float32), 0.5)
    return sorted((contour[:, ::-1] - 0.5 for contour in traced), key=len, reverse=True)


def left_ventricle(labels: np.ndarray) -> np.ndarray:
    """Return everything inside the epicardium: blood, myocardium, scar and what they enclose.

    Parameters
    ----------
    labels : numpy.ndarray
        uint8, shape (rows, columns), values of `Tissue`.
    """
    inside = labels != Tissue.BACKGROUND
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows):  # the rest of the image would take most of the time
        box = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        inside[box] = ndimage.binary_fill_holes(inside[box])
    return inside


def region(labels: np.ndarray, tissue: Tissue | None, taken: Container[int] = ()) -> tuple[int, np.ndarray]:
    """Choose the slice and the outline that a viewer shows for a number.

    The slice with the most of the tissue; where there is none of it, the outline of the left ventricle that was
    searched; where there is no heart, the middle of the middle image.

    Parameters
    ----------
    labels : numpy.ndarray
        uint8, shape (slices, rows, columns).
    tissue : Tissue or None
        None for the whole left ventricle.
    taken : container of int
        Slices to leave alone while there are others: viewers write the texts of one slice over each other.

    Returns
    -------
    tuple of int and numpy.ndarray
        Index of the slice, and its outline as `outlines` gives it.
    """
    for wanted in (labels == tissue if tissue is not None else None, labels != Tissue.BACKGROUND):
        if wanted is not None and wanted.any():
            counts = np.count_nonzero(wanted, axis=(1, 2))
            shown = np.flatnonzero(counts).tolist()
            index = max([place for place in shown if place not in taken] or shown, key=lambda place: counts[place])
            return index, outlines(wanted[index])[0]
    free = [index for index in range(len(labels)) if index not in taken]
    return min(free or [0], key=lambda index: abs(index - len(labels) // 2)), _middle(labels.shape[1:])


def slice_region(labels: np.ndarray) -> np.ndarray:
    """Return the outline of the left ventricle on one slice, the middle of the image where it shows none."""
    found = outlines(left_ventricle(labels))
    return found[0] if found else _middle(labels.shape)


def _middle(shape: tuple[int, ...]) -> np.ndarray:
    """Outline the middle of an image, half as high and wide: viewers write their text beside it, still on the image."""
    rows, columns = shape
    top, left, bottom, right = rows / 4, columns / 4, rows * 3 / 4, columns * 3 / 4
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom), (left, top)])
