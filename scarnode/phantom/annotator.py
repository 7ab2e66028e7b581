"""A second label: what a person with a threshold would have drawn on the same image."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from scarnode.phantom.anatomy import smooth_noise
from scarnode.phantom.model import Phantom

SMALLEST = 4
"""Pixels: islands of so many or fewer are taken away, as the published method does."""


def annotated_label(phantom: Phantom, seed: int = 0) -> np.ndarray:
    """Return an annotator's label of a phantom: contours off by about a millimetre, scar by a threshold inside them.

    Scar is what is brighter than remote (normal) myocardium by n SD, n drawn from 3 to 6, in islands of more than
    `SMALLEST` pixels that overlap true scar: a reader tells ghosts and fat from scar.

    Parameters
    ----------
    phantom : Phantom
    seed : int
        Which annotator.

    Returns
    -------
    numpy.ndarray
        uint8, shape (slices, rows, columns), values of `scarnode.pipeline.segment.model.Tissue`.
    """
    rng = np.random.default_rng([phantom.seed, seed])
    error = rng.uniform(0.4, 1.2)
    label = np.zeros_like(phantom.label)
    rows, columns = np.indices(label.shape[1:])
    pixel = phantom.pixel_spacing[0]
    for index, truth in enumerate(phantom.label):
        shift = [error / pixel * smooth_noise(rng, truth.shape, (12 / pixel,) * 2, "nearest") for _ in range(2)]
        moved = [np.rint(axis + by).astype(int) for axis, by in zip((rows, columns), shift, strict=True)]
        inside = [axis.clip(0, size - 1) for axis, size in zip(moved, truth.shape, strict=True)]
        drawn = truth[inside[0], inside[1]]
        label[index] = np.where(drawn == 3, 2, drawn)
    normal = phantom.image[phantom.label == 2]
    if not (phantom.label == 3).any() or len(normal) < 2:
        return label
    threshold = normal.mean() + rng.uniform(3, 6) * 1.4826 * np.median(np.abs(normal - np.median(normal)))
    for index, drawn in enumerate(label):
        pieces, count = ndimage.label((drawn == 2) & (phantom.image[index] > threshold))
        sizes = np.bincount(pieces.ravel(), minlength=count + 1)
        touching = np.unique(pieces[phantom.label[index] == 3])
        kept = [piece for piece in touching if piece and sizes[piece] > SMALLEST]
        label[index][np.isin(pieces, kept)] = 3
    return label
