"""Find the heart: a coarse network over the whole field of view, then re-centring on a first outline."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from scipy import ndimage

from scarnode.segment.grid import Grid
from scarnode.segment.model import Tissue
from scarnode.segment.windows import normalise

_REACH = 45.0
"""mm around the brightest place of the summed map that belongs to the heart: a large left ventricle's radius."""


def find_heart(
    network: Callable[[torch.Tensor], torch.Tensor],
    volume: torch.Tensor,
    pixel_spacing: tuple[float, float],
    spacing: float,
) -> tuple[float, float] | None:
    """Centre of the left ventricle, first guess.

    The coarse network looks at every slice on its own. Its left-ventricle probabilities are summed over the slices,
    because the
    ventricle stays at one place through a short-axis stack while look-alikes (aorta, stomach, spine) do not.

    Parameters
    ----------
    network : callable
        (slices, 1, 1, rows, columns) to logits.
    volume : torch.Tensor
        float32, (slices, rows, columns), finite.
    pixel_spacing : tuple of float
        mm.
    spacing : float
        Pixel size of the network's grid, mm.

    Returns
    -------
    tuple of float or None
        (row, column) in source pixels; None where nothing looks like a left ventricle.
    """
    shape = volume.shape[1:]
    # Whole field of view, as many pixels as it needs: rounded up to what four levels of pooling can halve.
    patch = tuple(max(64, 8 * int(np.ceil(n * s / spacing / 8))) for n, s in zip(shape, pixel_spacing, strict=True))
    center = tuple((n - 1) / 2 for n in shape)
    grid = Grid(center, tuple(shape), pixel_spacing, spacing, patch)
    images = normalise(grid.to_network(volume[:, None])[:, 0])
    windows = images[:, None, None]
    probability = torch.cat([network(part).float().softmax(dim=1) for part in windows.split(16)])[:, :, 0]
    ventricle = 1 - probability[:, Tissue.BACKGROUND].cpu().numpy()
    ventricle[ventricle < 0.2] = 0
    summed = ndimage.gaussian_filter(ventricle.sum(axis=0), 12.0 / spacing)
    peak = np.unravel_index(summed.argmax(), summed.shape)
    if summed[peak] < 0.05:
        return None
    rows, columns = np.indices(patch)
    near = np.hypot(rows - peak[0], columns - peak[1]) * spacing <= _REACH
    weight = (ventricle.sum(axis=0) * near).astype(float)
    found = [float((weight * axis).sum() / weight.sum()) for axis in (rows, columns)]
    return tuple(
        c + (f - (n - 1) / 2) * spacing / s for c, f, n, s in zip(center, found, patch, pixel_spacing, strict=True)
    )


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
