"""Drop what is called myocardium beyond the base or the apex, where there is no ventricle."""

from __future__ import annotations

import numpy as np
import torch

from scarnode.pipeline.segment.model import Tissue

SMALLEST_SHARE = 0.25
"""Of the neighbouring slice's wall: below it the wall of an end slice may be a fragment."""
SMALLEST_ARC = 0.5
"""Of the full circle around the neighbour's ventricle: a wall that covers more is kept, however thin."""
_SECTORS = 36


def drop_fragments(probabilities: torch.Tensor) -> torch.Tensor:
    """Make slices background whose wall is a fragment of the neighbour's, from both ends of the ventricle inwards.

    A slice beside the atrium or below the apex shows a sliver at most: a wall far smaller than its neighbour's that
    covers only a part of the circle. The apex itself is kept: its wall is a small disc, which covers all of it. Slices
    between others are never dropped: a gap there is a fault that the flags must show.

    Parameters
    ----------
    probabilities : torch.Tensor
        (slices, classes, rows, columns), on a grid of square pixels.

    Returns
    -------
    torch.Tensor
        The same tensor where nothing is dropped, else a copy.
    """
    labels = probabilities.max(dim=1).indices.numpy()
    walls = labels >= Tissue.MYOCARDIUM
    seen = np.flatnonzero(walls.any(axis=(1, 2))).tolist()
    dropped = []
    for end, inward in ((0, 1), (-1, -2)):
        while len(seen) > 1 and _is_fragment(walls[seen[end]], walls[seen[inward]], labels[seen[inward]]):
            dropped.append(seen.pop(end))
    if not dropped:
        return probabilities
    kept = probabilities.clone()
    kept[dropped] = 0.0
    kept[dropped, Tissue.BACKGROUND] = 1.0
    return kept


def _is_fragment(wall: np.ndarray, neighbour: np.ndarray, neighbour_labels: np.ndarray) -> bool:
    if wall.sum() >= SMALLEST_SHARE * neighbour.sum():
        return False
    center = np.argwhere(neighbour_labels != Tissue.BACKGROUND).mean(axis=0)
    down, right = (np.argwhere(wall) - center).T
    sector = ((np.arctan2(down, right) + np.pi) / (2 * np.pi) * _SECTORS).astype(int) % _SECTORS
    return len(np.unique(sector)) <= SMALLEST_ARC * _SECTORS
