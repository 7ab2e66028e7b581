"""Find the heart: a coarse network over the whole field of view, then re-centring on a first outline."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch
from scipy import ndimage

from scarnode.pipeline.segment.grid import Grid
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.windows import normalise

RIGHT_VENTRICLE = 4
"""The finder's class beside those of `Tissue`."""
FINDER_CLASSES = 5
_T = TypeVar("_T")
_REACH = 45.0
"""mm around the brightest place of the summed map that belongs to the heart: a large left ventricle's radius."""


@dataclass(frozen=True)
class Heart:
    """Where the left ventricle lies, and to which side of it the right one.

    Attributes
    ----------
    center : tuple of float
        (row, column) of the left ventricle in source pixels.
    right_ventricle : float or None
        Direction from the left ventricle's centre to the right ventricle's, radian, atan2(down, right) in mm on the
        image, from all slices together; None where no right ventricle is seen.
    """

    center: tuple[float, float]
    right_ventricle: float | None


def find_heart(
    network: Callable[[torch.Tensor, list[list[int]]], torch.Tensor],
    volume: torch.Tensor,
    pixel_spacing: tuple[float, float],
    spacing: float,
) -> Heart | None:
    """Find the left ventricle, first guess, and the side of the right one.

    The coarse network looks at every slice on its own. Its left-ventricle probabilities are summed over the slices,
    because the
    ventricle stays at one place through a short-axis stack while look-alikes (aorta, stomach, spine) do not.

    Parameters
    ----------
    network : callable
        (slices, rows, columns) and ``[[0], [1], ...]`` to logits (slices, classes, 1, rows, columns).
    volume : torch.Tensor
        float32, (slices, rows, columns), finite.
    pixel_spacing : tuple of float
        mm.
    spacing : float
        Pixel size of the network's grid, mm.

    Returns
    -------
    Heart or None
        None where nothing looks like a left ventricle.
    """
    shape = (volume.shape[1], volume.shape[2])
    # Whole field of view, as many pixels as it needs: rounded up to what four levels of pooling can halve.
    sides = (max(64, 8 * int(np.ceil(n * s / spacing / 8))) for n, s in zip(shape, pixel_spacing, strict=True))
    patch = _pair(sides)
    center = _pair((n - 1) / 2 for n in shape)
    grid = Grid(center, shape, pixel_spacing, spacing, patch)
    images = normalise(grid.to_network(volume[:, None])[:, 0])
    parts = [network(part, [[i] for i in range(len(part))]).softmax(dim=1) for part in images.split(16)]
    probability = torch.cat(parts)[:, :, 0]
    ventricle = probability[:, Tissue.BLOOD : Tissue.SCAR + 1].sum(dim=1).cpu().numpy()
    ventricle[ventricle < 0.2] = 0
    summed = ndimage.gaussian_filter(ventricle.sum(axis=0), 12.0 / spacing)
    peak = np.unravel_index(summed.argmax(), summed.shape)
    if summed[peak] < 0.05:
        return None
    rows, columns = np.indices(patch)
    near = np.hypot(rows - peak[0], columns - peak[1]) * spacing <= _REACH
    weight = (ventricle.sum(axis=0) * near).astype(float)
    found = [float((weight * axis).sum() / weight.sum()) for axis in (rows, columns)]
    at = _pair(
        c + (f - (n - 1) / 2) * spacing / s for c, f, n, s in zip(center, found, patch, pixel_spacing, strict=True)
    )
    if probability.shape[1] < FINDER_CLASSES:
        return Heart(at, None)
    return Heart(at, _side(probability[:, RIGHT_VENTRICLE].cpu().numpy(), found, spacing))


def _pair(values: Iterable[_T]) -> tuple[_T, _T]:
    row, column = values
    return row, column


def _side(right: np.ndarray, center: list[float], spacing: float) -> float | None:
    """Direction of the mean place of the right ventricle near the left one's centre."""
    rows, columns = np.indices(right.shape[1:])
    down, across = (rows - center[0]) * spacing, (columns - center[1]) * spacing
    near = np.hypot(down, across) <= 2 * _REACH
    weight = np.where(right > 0.3, right, 0).sum(axis=0) * near
    if weight.sum() * spacing**2 < 100.0:  # mm2 over all slices: less than a trace
        return None
    return float(np.arctan2((weight * down).sum(), (weight * across).sum()))


def ventricle_center(labels: np.ndarray) -> tuple[float, float] | None:
    """Middle of the left ventricle (blood, normal myocardium and scar): mean position of its voxels.

    Parameters
    ----------
    labels : numpy.ndarray
        (slices, rows, columns), values of `Tissue`.

    Returns
    -------
    tuple of float or None
        (row, column) in pixels; None where no voxel is labelled.
    """
    inside = np.argwhere(labels != Tissue.BACKGROUND)
    if not len(inside):
        return None
    return float(inside[:, 1].mean()), float(inside[:, 2].mean())
