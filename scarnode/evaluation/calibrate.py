"""Calibration of the agreement of repeated readings: the %LGE interval, and the limits of flagged outlines."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from scipy.integrate import trapezoid

from scarnode.cases.model import Case, is_synthetic
from scarnode.evaluation.domain_shifts import FINDER_SHIFTS, SHIFTS
from scarnode.pipeline.segment.certainty import Calibration, lge_percent, likeness, spread
from scarnode.pipeline.segment.model import Segmentation, Tissue

if TYPE_CHECKING:
    from scarnode.pipeline.segment.predict import Segmenter

CINE = ("acdc",)
"""Sets that are no late enhancement."""
BAD_BELOW = 0.5
"""Dice below which an outline is bad."""
FEWEST_PATIENTS = 10
"""Enough for a coverage of 90 %, with a margin."""


@dataclass(frozen=True)
class Reading:
    """One case as expert and network see it.

    Attributes
    ----------
    patient : str
        Cases of one patient, e.g. its domain shifts, leave the calibration together.
    lge_expert, lge_network : float
        Percent.
    spread : float
        `scarnode.pipeline.segment.certainty.spread`, points.
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
    """How well a score separates bad outlines (Dice < .5) from others.

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


@dataclass(frozen=True)
class Flagged:
    """How a flag does whose limit was set without the patient it is asked about.

    Attributes
    ----------
    bad, bad_flagged : int
        Images with a Dice below .5, and how many of them are flagged.
    good, good_flagged : int
        The others.
    """

    bad: int
    bad_flagged: int
    good: int
    good_flagged: int


def calibrate(cases: Sequence[Reading], coverage: float = 0.9, harder: Sequence[Reading] = ()) -> Calibration:
    """Calibration for the model card.

    Parameters
    ----------
    harder : sequence of Reading
        Images that count for the limit of the myocardium's outline alone: there must be some that go wrong.

    Raises
    ------
    ValueError
        Fewer cases than the coverage needs: with n cases at most n / (n + 1) can be promised.
    """
    wall, scar = _roc(_wall, [*cases, *harder]), _roc(_scar, cases)
    return Calibration(_factor(cases, coverage), coverage, wall.threshold, scar.threshold)


def calibrate_segmenter(cases: Sequence[Case], segmenter: Segmenter, coverage: float = 0.9) -> dict | None:
    """Calibration of a weight file on cases it never saw, as the model card stores it.

    Every case is read as it is and under the shifts of `scarnode.evaluation.domain_shifts`, because the flags and the
    interval are meant for other scanners' images. The limit of the myocardium's outline also uses `FINDER_SHIFTS`
    (inverted contrast, folded edges): under the others hardly any outline fails. Sets without late enhancement of
    patients are skipped.

    Returns
    -------
    dict or None
        Fields of `Calibration`, and under ``measured`` what they reached; None with fewer than ten patients.
    """
    real = [case for case in cases if case.source not in CINE and not is_synthetic(case)]
    if len({case.patient or case.name for case in real}) < FEWEST_PATIENTS:
        return None
    readings = _read_all(real, segmenter, (None, *SHIFTS))
    harder = _read_all(real, segmenter, [look for look in FINDER_SHIFTS if look not in SHIFTS])
    every = [*readings, *harder]
    sources = ", ".join(sorted({case.source for case in real}))
    return {
        **asdict(calibrate(readings, coverage, harder)),
        "measured": {
            "on": f"{len(real)} patients of {sources}, each under {len(SHIFTS) + 1} looks"
            f" (the myocardium's limit: {len(FINDER_SHIFTS) + 1})",
            "coverage": asdict(measured_coverage(readings, coverage)),
            "wall_dice_below_half": {**_summary(_roc(_wall, every)), "left_out": asdict(measured_flag(every, _wall))},
            "scar_dice_below_half": {
                **_summary(_roc(_scar, readings)),
                "left_out": asdict(measured_flag(readings, _scar)),
            },
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


def roc(agreement: Sequence[float], dice: Sequence[float], bad_below: float = BAD_BELOW) -> Roc:
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


def measured_flag(cases: Sequence[Reading], outline: Callable[[Reading], tuple[float, float]]) -> Flagged:
    """How often a flag is right, leaving one patient out after the other.

    Parameters
    ----------
    outline : callable
        Returns a reading's agreement and Dice.
    """
    bad: list[bool] = []
    good: list[bool] = []
    for patient in sorted({c.patient for c in cases}):
        limit = _roc(outline, [c for c in cases if c.patient != patient]).threshold
        for agreement, dice in (outline(c) for c in cases if c.patient == patient):
            (bad if dice < BAD_BELOW else good).append(agreement < limit)
    return Flagged(len(bad), sum(bad), len(good), sum(good))


def _read_all(
    cases: Sequence[Case], segmenter: Segmenter, looks: Iterable[Callable[[Case], Case] | None]
) -> list[Reading]:
    """Return readings of every case under every domain shift (None: as it is) in which a heart is found."""
    seen = (case if look is None else look(case) for case in cases for look in looks)
    found = (read(case, segmenter.segment(case.image, case.pixel_spacing)) for case in seen)
    return [reading for reading in found if reading]


def _wall(reading: Reading) -> tuple[float, float]:
    return reading.wall_agreement, reading.wall_dice


def _scar(reading: Reading) -> tuple[float, float]:
    return reading.scar_agreement, reading.scar_dice


def _roc(outline: Callable[[Reading], tuple[float, float]], cases: Sequence[Reading]) -> Roc:
    pairs = [outline(case) for case in cases]
    return roc([agreement for agreement, _ in pairs], [dice for _, dice in pairs])


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
