"""Scar by intensity inside a given myocardium: n SD above remote myocardium, and full width at half maximum.

Each method sees the image and the wall (myocardium with scar) and calls part of the wall scar. None knows where scar is
likely, so each is only as good as the contour it is given.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from scarnode.pipeline.segment.islands import SMALLEST_ISLAND, drop_islands
from scarnode.pipeline.segment.model import Tissue

ISLAND = SMALLEST_ISLAND * 1.4**2
"""mm2 of the largest scar island that is dropped: what the network drops at its pixel size of 1.4 mm."""
_BINS = 12
"""Sectors of 30 degrees; two neighbours together are a candidate for remote myocardium."""


@dataclass(frozen=True)
class Wall:
    """The input of a threshold method.

    Attributes
    ----------
    image : numpy.ndarray
        float, (slices, rows, columns), as stored.
    wall : numpy.ndarray
        bool, same shape: normal myocardium and scar.
    remote : numpy.ndarray
        bool, same shape: myocardium taken as healthy, slice by slice.
    """

    image: np.ndarray
    wall: np.ndarray
    remote: np.ndarray


Method = Callable[[Wall], np.ndarray]
"""Takes a `Wall`, gives bool (slices, rows, columns): brighter than normal, islands not yet dropped."""


def call_scar(
    image: np.ndarray,
    wall: np.ndarray,
    method: Method,
    pixel_spacing: tuple[float, float],
    remote: np.ndarray | None = None,
) -> np.ndarray:
    """Labels of the wall by one method: normal myocardium, scar, and background outside.

    Parameters
    ----------
    image : numpy.ndarray
        (slices, rows, columns), any scale.
    wall : numpy.ndarray
        Same shape, bool or integer (not zero: wall).
    method : callable
        Called with a `Wall`, e.g. `full_width_half_maximum` or a partial of `above_remote`.
    pixel_spacing : tuple of float
        mm, for the size of the islands that are dropped (as the network drops them).
    remote : numpy.ndarray, optional
        Same shape: healthy myocardium by an observer; `find_remote` by default.

    Returns
    -------
    numpy.ndarray
        uint8, values of `Tissue`.
    """
    image, wall = np.asarray(image, float), np.asarray(wall) != 0
    normal = np.where(wall, np.uint8(Tissue.MYOCARDIUM), np.uint8(Tissue.BACKGROUND))
    if not wall.any():
        return normal
    chosen = find_remote(image, wall) if remote is None else (np.asarray(remote) != 0) & wall
    scar = method(Wall(image, wall, chosen)) & wall
    labels = np.where(scar, np.uint8(Tissue.SCAR), normal)
    return drop_islands(labels, normal, ISLAND / (pixel_spacing[0] * pixel_spacing[1]))


def find_remote(image: np.ndarray, wall: np.ndarray) -> np.ndarray:
    """Remote myocardium of each slice: of the twelve overlapping 60 degree sectors the one with the lowest mean.

    Sectors turn around the middle of the wall. Those with fewer than a twelfth of the slice's wall, or fewer than eight
    pixels, do not count; where none counts, the whole wall of the slice is remote.

    Parameters
    ----------
    image, wall : numpy.ndarray
        (slices, rows, columns).

    Returns
    -------
    numpy.ndarray
        bool, same shape.
    """
    remote = np.zeros(wall.shape, bool)
    for picture, inside, chosen in zip(image, wall, remote, strict=True):
        places = np.argwhere(inside)
        if not len(places):
            continue
        off = places - places.mean(axis=0)
        sector = ((np.arctan2(off[:, 0], off[:, 1]) / (2 * np.pi) + 0.5) * _BINS).astype(int) % _BINS
        count = np.bincount(sector, minlength=_BINS)
        total = np.bincount(sector, picture[inside], minlength=_BINS)
        pixels, sums = count + np.roll(count, -1), total + np.roll(total, -1)
        enough = pixels >= max(8, len(places) / _BINS)
        if not enough.any():
            chosen[inside] = True
            continue
        first = int(np.where(enough, sums / np.maximum(pixels, 1), np.inf).argmin())
        chosen[inside] = (sector == first) | (sector == (first + 1) % _BINS)
    return remote


def above_remote(wall: Wall, deviations: float) -> np.ndarray:
    """Brighter than mean + `deviations` SD of the slice's remote myocardium (n-SD).

    Sources: Kim et al., Circulation 1999;100:1992 (2 SD); Flett et al., JACC Cardiovasc Imaging 2011;4:150 (2 to 6 SD).
    Slices without remote myocardium have no scar.
    """
    mean, sd = _remote_statistics(wall)
    return wall.wall & (wall.image > mean + deviations * sd)


def full_width_half_maximum(wall: Wall, above_baseline: bool) -> np.ndarray:
    """Brighter than half of the brightest enhancement.

    The enhancement is what exceeds remote + 5 SD, without islands of four pixels or fewer, over the whole stack; where
    there is none there is no scar. Its brightest pixel gives the maximum M. Threshold: M / 2, counted from zero signal
    (Amado et al., J Am Coll Cardiol 2004;44:2383; Flett et al., JACC Cardiovasc Imaging 2011;4:150), or with
    `above_baseline` half way between M and the slice's remote mean (Hsu et al., J Magn Reson Imaging 2006;23:298),
    which does not depend on where an image's zero is.
    """
    mean, _ = _remote_statistics(wall)
    enhanced = above_remote(wall, 5)
    labels = np.where(enhanced, np.uint8(Tissue.SCAR), np.uint8(0))
    enhanced = drop_islands(labels, np.zeros_like(labels), SMALLEST_ISLAND) == Tissue.SCAR
    if not enhanced.any():
        return np.zeros(wall.wall.shape, bool)
    highest = wall.image[enhanced].max()
    threshold = (highest + mean) / 2 if above_baseline else highest / 2
    return wall.wall & (wall.image > threshold)


def _remote_statistics(wall: Wall) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of each slice's remote myocardium, (slices, 1, 1); infinite mean where there is none."""
    count = wall.remote.sum(axis=(1, 2), keepdims=True)
    at_least_one = np.maximum(count, 1)
    mean = np.sum(wall.image, axis=(1, 2), keepdims=True, where=wall.remote) / at_least_one
    off = (wall.image - mean) ** 2
    sd = np.sqrt(np.sum(off, axis=(1, 2), keepdims=True, where=wall.remote) / np.maximum(count - 1, 1))
    return np.where(count > 0, mean, np.inf), sd
