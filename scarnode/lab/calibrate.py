"""What the agreement of repeated readings is worth: the %LGE interval, and from where on an outline is flagged."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.integrate import trapezoid

from scarnode.lab.cases import Case, is_synthetic
from scarnode.lab.looks import LOOKS
from scarnode.segment.certainty import Calibration, lge_percent, likeness, spread
from scarnode.segment.model import Segmentation, Tissue

if TYPE_CHECKING:
    from scarnode.segment.predict import Segmenter

CINE = ("acdc",)
"""Sets that are no late enhancement."""
FEWEST_PATIENTS = 10
"""For a coverage of 90 %, with some room."""


@dataclass(frozen=True)
class Reading:
    """One case as expert and network see it.

    Attributes
    ----------
    patient : str
        Cases of one patient (other looks of it, say) leave the calibration together.
    lge_expert, lge_network : float
        Percent.
    spread : float
        `scarnode.segment.certainty.spread`, points.
    wall_agreement, scar_agreement : float
    wall_dice, scar_dice : float
        Network against expert; `scar_dice` is 1 where neither calls scar.
    """

    patient: str
    lge_expert: float
    lge_network: float
    spread: float
    wall_agreement: float
    scar_agreement: float
    wall_dice: float
    scar_dice: float


@dataclass(frozen=True)
class Roc:
    """How well a score tells bad outlines (Dice < .5) from others.

    Attributes
    ----------
    bad, good : int
        Cases.
    area : float
        Under the curve; not-a-number where there are no bad or no good cases.
    threshold : float
        Agreement below which a case is flagged: largest sensitivity + specificity (Youden, Cancer 1950;3:32).
    sensitivity, specificity : float
        At the threshold, on these cases.
    curve : tuple of (float, float)
        (1 - specificity, sensitivity) from (0, 0) to (1, 1).
    """

    bad: int
    good: int
    area: float
    threshold: float
    sensitivity: float
    specificity: float
    curve: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Coverage:
    """How often the %LGE interval held the expert's value, each patient left out of its own calibration.

    Attributes
    ----------
    cases : int
    aimed, reached : float
        Shares.
    width : float
        Median width, points.
    """

    cases: int
    aimed: float
    reached: float
    width: float


def read(case: Case, found: Segmentation) -> Reading | None:
    """Numbers of one segmented case; None where no heart was found."""
    if found.agreement is None:
        return None
    network, expert = found.labels, case.label
    value = lge_percent(network)
    return Reading(
        case.patient or case.name,
        lge_percent(expert),
        value,
        spread(value, found.agreement.lge_percent),
        found.agreement.wall,
        found.agreement.scar,
        likeness(expert >= Tissue.MYOCARDIUM, network >= Tissue.MYOCARDIUM),
        likeness(expert == Tissue.SCAR, network == Tissue.SCAR),
    )


def calibrate(cases: Sequence[Reading], coverage: float = 0.9) -> Calibration:
    """Calibration for the model card.

    Raises
    ------
    ValueError
        Fewer cases than the coverage needs: with n cases at most n / (n + 1) can be promised.
    """
    wall, scar = _rocs(cases)
    return Calibration(_factor(cases, coverage), coverage, wall.threshold, scar.threshold)


def calibrate_segmenter(cases: Sequence[Case], segmenter: Segmenter, coverage: float = 0.9) -> dict | None:
    """Calibration of a weight file on cases it never saw, as the model card stores it.

    Every case is read as it is and under the looks of `scarnode.lab.looks`: other scanners' images are what the
    flags and the interval are for. Sets that are no late enhancement of patients are passed over.

    Returns
    -------
    dict or None
        Fields of `Calibration`, and under ``measured`` what they reached; None with fewer than ten patients.
    """
    real = [case for case in cases if case.source not in CINE and not is_synthetic(case)]
    if len({case.patient or case.name for case in real}) < FEWEST_PATIENTS:
        return None
    seen = [shown for case in real for shown in (case, *(look(case) for look in LOOKS))]
    readings = [r for r in (read(case, segmenter.segment(case.image, case.pixel_spacing)) for case in seen) if r]
    wall, scar = _rocs(readings)
    sources = ", ".join(sorted({case.source for case in real}))
    return {
        **asdict(calibrate(readings, coverage)),
        "measured": {
            "on": f"{len(real)} patients of {sources}, each under {len(LOOKS) + 1} looks",
            "coverage": asdict(measured_coverage(readings, coverage)),
            "wall_dice_below_half": _summary(wall),
            "scar_dice_below_half": _summary(scar),
        },
    }


def measured_coverage(cases: Sequence[Reading], coverage: float = 0.9) -> Coverage:
    """Coverage and width of the interval, leaving one patient out after the other."""
    held, widths = [], []
    for patient in sorted({c.patient for c in cases}):
        factor = _factor([c for c in cases if c.patient != patient], coverage)
        for case in (c for c in cases if c.patient == patient):
            half = factor * case.spread
            held.append(abs(case.lge_expert - case.lge_network) <= half)
            widths.append(min(100.0, case.lge_network + half) - max(0.0, case.lge_network - half))
    return Coverage(len(held), coverage, float(np.mean(held)), float(np.median(widths)))


def roc(agreement: Sequence[float], dice: Sequence[float], bad_below: float = 0.5) -> Roc:
    """ROC of "Dice below `bad_below`" against low agreement."""
    score, bad = np.asarray(agreement, float), np.asarray(dice, float) < bad_below
    n_bad, n_good = int(bad.sum()), int((~bad).sum())
    if not n_bad or not n_good:
        return Roc(n_bad, n_good, math.nan, 0.0, math.nan, math.nan, ())
    # A case is flagged below the cut; half way between two values, so that the cut means the same on other machines.
    between = [(a + b) / 2 for a, b in pairwise(np.unique(score))]
    cuts = [-math.inf, *between, math.inf]
    points = [(float((score < cut)[~bad].mean()), float((score < cut)[bad].mean())) for cut in cuts]
    best = max(range(len(cuts)), key=lambda i: points[i][1] - points[i][0])
    area = float(trapezoid([y for _, y in points], [x for x, _ in points]))
    threshold = cuts[best] if math.isfinite(cuts[best]) else (0.0 if cuts[best] < 0 else 1.0)
    return Roc(n_bad, n_good, area, float(threshold), points[best][1], 1 - points[best][0], tuple(points))


def _rocs(cases: Sequence[Reading]) -> tuple[Roc, Roc]:
    """Of the myocardium's outline and of the scar's."""
    wall = roc([c.wall_agreement for c in cases], [c.wall_dice for c in cases])
    return wall, roc([c.scar_agreement for c in cases], [c.scar_dice for c in cases])


def _summary(found: Roc) -> dict:
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value for key, value in asdict(found).items()
    }


def _factor(cases: Sequence[Reading], coverage: float) -> float:
    """Conformal quantile of the errors in units of the spread."""
    scores = sorted(abs(c.lge_expert - c.lge_network) / c.spread for c in cases)
    rank = math.ceil(coverage * (len(scores) + 1))
    if rank > len(scores):
        raise ValueError(f"{len(scores)} cases can not promise a coverage of {coverage}")
    return scores[rank - 1]
