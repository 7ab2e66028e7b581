"""How well a segmenter reads cases whose contours are known: per case, and in sum."""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import numpy as np

from scarnode.lab.cases import Case
from scarnode.segment.heart import ventricle_center
from scarnode.segment.model import Tissue

if TYPE_CHECKING:
    from scarnode.segment.predict import Segmenter


@dataclass(frozen=True)
class CaseResult:
    """One case, end to end: the segmenter found the heart itself.

    Attributes
    ----------
    name, source : str
    dice_blood, dice_myocardium : float
        Over the whole volume; myocardium includes scar.
    dice_scar : float or None
        None where neither the expert nor the network calls scar.
    has_scar : bool
        By the expert.
    lge_expert, lge_network : float
        %LGE = scar / (scar + normal myocardium), percent.
    center_error : float or None
        Distance of the found centre of the ventricle from the expert's, mm in the plane; None where none was found.
    seconds : float
    flags : tuple of str
    """

    name: str
    source: str
    dice_blood: float
    dice_myocardium: float
    dice_scar: float | None
    has_scar: bool
    lge_expert: float
    lge_network: float
    center_error: float | None
    seconds: float
    flags: tuple[str, ...]


def evaluate(cases: Iterable[Case], segmenter: Segmenter) -> list[CaseResult]:
    """Segment each case from its image alone and compare with the expert's labels."""
    results = []
    for case in cases:
        began = time.monotonic()
        found = segmenter.segment(case.image, case.pixel_spacing)
        seconds = time.monotonic() - began
        truth, labels = case.label, found.labels
        center = ventricle_center(truth)
        error = None
        if center is not None and found.heart_center is not None:
            error = float(np.hypot(*np.multiply(np.subtract(found.heart_center, center), case.pixel_spacing)))
        scar = dice(truth == Tissue.SCAR, labels == Tissue.SCAR)
        results.append(
            CaseResult(
                case.name,
                case.source,
                dice(truth == Tissue.BLOOD, labels == Tissue.BLOOD) or 0.0,
                dice(truth >= Tissue.MYOCARDIUM, labels >= Tissue.MYOCARDIUM) or 0.0,
                scar,
                case.has_scar,
                lge_percent(truth),
                lge_percent(labels),
                error,
                seconds,
                found.flags,
            )
        )
    return results


def summarise(results: Sequence[CaseResult]) -> dict[str, float | int | None]:
    """Means over cases, as a flat table.

    Scar Dice counts cases with scar by the expert only (as the publication does); false scar is the network's %LGE in
    cases
    without; %LGE bias is the mean of network minus expert over all cases.
    """
    if not results:
        raise ValueError("no case was evaluated")
    scarred = [r for r in results if r.has_scar]
    free = [r.lge_network for r in results if not r.has_scar]
    errors = [r.center_error for r in results]
    lost = sum(e is None or e > 30 for e in errors)
    difference = [r.lge_network - r.lge_expert for r in results]
    pair = np.array([(r.lge_expert, r.lge_network) for r in results])
    varied = len(results) > 2 and bool((pair.std(axis=0) > 0).all())
    return {
        "cases": len(results),
        "dice_blood": statistics.fmean(r.dice_blood for r in results),
        "dice_myocardium": statistics.fmean(r.dice_myocardium for r in results),
        "dice_myocardium_lowest": min(r.dice_myocardium for r in results),
        "dice_scar": statistics.fmean(r.dice_scar or 0.0 for r in scarred) if scarred else None,
        "cases_with_scar": len(scarred),
        "lge_bias_points": statistics.fmean(difference),
        "lge_difference_sd": statistics.pstdev(difference),
        "lge_pearson_r": float(np.corrcoef(pair.T)[0, 1]) if varied else None,
        "false_scar_percent_median": statistics.median(free) if free else None,
        "false_scar_percent_highest": max(free) if free else None,
        "hearts_lost": lost,
        "center_error_mm_median": statistics.median(e for e in errors if e is not None) if lost < len(errors) else None,
        "center_error_mm_highest": max((e for e in errors if e is not None), default=None),
        "seconds_median": statistics.median(r.seconds for r in results),
    }


def as_rows(results: Sequence[CaseResult]) -> list[dict]:
    """Results as plain dictionaries, for JSON or a table."""
    return [asdict(result) for result in results]


def dice(a: np.ndarray, b: np.ndarray) -> float | None:
    """Return 2 |A and B| / (|A| + |B|); None where both are empty."""
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else None


def lge_percent(labels: np.ndarray) -> float:
    """%LGE of a label volume with equal slice distances; 0 without myocardium."""
    scar, normal = int((labels == Tissue.SCAR).sum()), int((labels == Tissue.MYOCARDIUM).sum())
    return 100.0 * scar / (scar + normal) if scar + normal else 0.0
