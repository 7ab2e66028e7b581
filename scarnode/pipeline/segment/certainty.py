"""Agreement of repeated readings of one stack, and the certainty of %LGE and outline that follows from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from scarnode.pipeline.segment.model import Agreement, Tissue

if TYPE_CHECKING:
    import torch

MIRRORS: tuple[tuple[int, ...], ...] = ((), (-2, -1))
"""The ways in which a stack is read: as it is, and turned by half."""


@dataclass(frozen=True)
class Calibration:
    """Calibration of the agreement for one weight file, measured by `scarnode.evaluation.calibrate`; part of the card.

    Attributes
    ----------
    interval_factor : float
        Half the width of the %LGE interval over `spread`.
    coverage : float
        Share of the calibration's cases whose true %LGE their interval is to hold.
    wall_below, scar_below : float
        Agreement below which the outline of the myocardium, or of the scar, is flagged.
    """

    interval_factor: float
    coverage: float
    wall_below: float
    scar_below: float

    @classmethod
    def from_card(cls, card: Mapping[str, Any]) -> Calibration | None:
        """Calibration in a model card; None where the card has none."""
        stored = card.get("calibration")
        return cls(**{key: float(stored[key]) for key in cls.__dataclass_fields__}) if stored else None


def readings(windows: torch.Tensor, slices: int) -> torch.Tensor:
    """Read every slice as the first, the middle and the last of its window, where there is such a window.

    Parameters
    ----------
    windows : torch.Tensor
        Class probabilities (windows, classes, 3, rows, columns), windows stepped by one slice.

    Returns
    -------
    torch.Tensor
        (3, slices, classes, rows, columns).
    """
    import torch  # not above: measure and report know the flags, and need no torch

    number = torch.arange(slices)
    return torch.stack(
        [
            windows[window, :, number - window]
            for window in ((number - place).clamp(0, len(windows) - 1) for place in range(windows.shape[2]))
        ]
    )


def most_likely(probabilities: torch.Tensor, classes: int) -> np.ndarray:
    """Return the likeliest class (uint8) along the axis `classes`; the first of equals.

    Not torch's argmax, which is seven times slower along an axis that is not the last.
    """
    return probabilities.max(dim=classes).indices.numpy().astype(np.uint8)


def agreement(members: torch.Tensor, mean: torch.Tensor) -> Agreement:
    """Compare readings with their mean.

    Parameters
    ----------
    members : torch.Tensor
        (readings, slices, classes, rows, columns), class probabilities.
    mean : torch.Tensor
        (slices, classes, rows, columns), cleaned: what lies away from its heart counts in no reading.
    """
    labels = most_likely(mean, 1)
    # a square of seven pixels, side by side: a sixth of the work
    near = ndimage.binary_dilation(labels != Tissue.BACKGROUND, np.ones((1, 7, 1)))
    near = ndimage.binary_dilation(near, np.ones((1, 1, 7)))
    for slices, rows, columns in ndimage.find_objects(near.astype(np.uint8)):  # one box, beyond which nothing counts
        near, labels = near[slices, rows, columns], labels[slices, rows, columns]
        members = members[:, slices, :, rows, columns]
    each = np.where(near, most_likely(members, 2), Tissue.BACKGROUND)
    return Agreement(
        tuple(lge_percent(reading) for reading in each),
        float(np.mean([likeness(reading >= Tissue.MYOCARDIUM, labels >= Tissue.MYOCARDIUM) for reading in each])),
        float(np.mean([likeness(reading == Tissue.SCAR, labels == Tissue.SCAR) for reading in each])),
    )


def spread(lge_percent: float, members: Sequence[float]) -> float:
    """How uncertain a %LGE seems, in points, up to a factor: the readings' spread, and a share of %LGE itself."""
    return float(1.0 + np.std(members) + 0.1 * lge_percent)


def lge_interval(
    lge_percent: float, members: Sequence[float], calibration: Calibration | None
) -> tuple[float, float] | None:
    """Interval of %LGE around the measured one; None without calibration.

    Split conformal prediction with a normalised score (Lei et al., J Am Stat Assoc 2018;113:1094).
    """
    if calibration is None:
        return None
    half = calibration.interval_factor * spread(lge_percent, members)
    return max(0.0, lge_percent - half), min(100.0, lge_percent + half)


def lge_percent(labels: np.ndarray) -> float:
    """%LGE of a label volume with equal slice distances; 0 without myocardium."""
    scar, normal = int((labels == Tissue.SCAR).sum()), int((labels == Tissue.MYOCARDIUM).sum())
    return 100.0 * scar / (scar + normal) if scar + normal else 0.0


def dice(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return 2 |A and B| / (|A| + |B|); None where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None


def likeness(a: np.ndarray, b: np.ndarray) -> float:
    """Dice, and 1 where both are empty: nothing is like nothing."""
    value = dice(a, b)
    return 1.0 if value is None else value
