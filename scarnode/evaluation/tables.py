"""The publication's tables: statistics of a group of cases, and of two readers of the same cases."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from scarnode.evaluation import statistics as st
from scarnode.evaluation.metrics import CaseResult

_T = TypeVar("_T")

LARGE_SCAR = 15.0
"""%LGE from which scar counts as large (Chan et al., Circulation 2014;130:484)."""
UNKNOWN = "unknown"
"""Name of the group of cases whose vendor or site is unknown."""


@dataclass(frozen=True)
class FalseScar:
    """What a reader calls scar in cases where the expert sees none.

    Attributes
    ----------
    percent : Spread
        Of the reader's myocardium.
    volume : Spread or None
        mL; None where the pixel size is unknown.
    cases_with_any, cases_above_5_percent, unflagged_above_5_percent : int
        The last: cases above 5 % without any quality flag.
    """

    percent: st.Spread
    volume: st.Spread | None
    cases_with_any: int
    cases_above_5_percent: int
    unflagged_above_5_percent: int


@dataclass(frozen=True)
class GroupSummary:
    """One reader in one group of cases.

    Attributes
    ----------
    cases, scarred, both_empty : int
        All; with scar by the expert; with scar by neither.
    volume : Agreement or None
        Scar volume, mL; None where the pixel size is unknown.
    lge : Agreement
        %LGE.
    dice_scar : Spread
        Cases with scar by the expert only, as published; a scar that was not called at all counts as 0.
    dice_classes : dict
        Of the same cases, how many are poor, moderate, good, excellent.
    dice_myocardium, dice_blood, hd95, center_error, seconds : Spread
    lost : int
        Hearts not found, or found too far away.
    false_scar : FalseScar
    false_positive_volume : Spread or None
        mL called scar outside the expert's scar, all cases.
    large_scar : Diagnostic
        %LGE >= 15.
    interval_holds : Estimate
        Share of the cases with an interval of %LGE whose interval holds the expert's value.
    interval_width : Spread
        Points.
    """

    cases: int
    scarred: int
    both_empty: int
    volume: st.Agreement | None
    lge: st.Agreement
    dice_scar: st.Spread
    dice_classes: dict[str, int]
    dice_myocardium: st.Spread
    dice_blood: st.Spread
    hd95: st.Spread
    center_error: st.Spread
    seconds: st.Spread
    lost: int
    false_scar: FalseScar
    false_positive_volume: st.Spread | None
    large_scar: st.Diagnostic
    interval_holds: st.Estimate
    interval_width: st.Spread


@dataclass(frozen=True)
class SlopesAndCorrelations:
    """How two readers' slopes and correlations with the expert differ.

    `welch` and `fisher` treat the readers' patients as different ones, as the publication did; `slope`, `correlation`
    (differences by paired bootstrap) and `meng` know that they are the same.
    """

    welch: st.Test
    fisher: st.Test
    meng: st.Test
    slope: st.Estimate
    correlation: st.Estimate


@dataclass(frozen=True)
class Difference:
    """Two readers of the same cases, first against second.

    Attributes
    ----------
    dice : Estimate
        Mean difference of scar Dice, by paired bootstrap.
    wilcoxon : Test
        Of scar Dice.
    wilcoxon_myocardium : Test
        Of the myocardium's Dice.
    kruskal : Test
        Of scar Dice as if from different patients, as published.
    lge, volume : SlopesAndCorrelations or None
    """

    first: str
    second: str
    cases: int
    dice: st.Estimate
    wilcoxon: st.Test
    wilcoxon_myocardium: st.Test
    kruskal: st.Test
    lge: SlopesAndCorrelations
    volume: SlopesAndCorrelations | None


def summarise_group(results: Sequence[CaseResult]) -> GroupSummary:
    """Everything the tables say of one reader in a group of cases.

    Raises
    ------
    ValueError
        There is no case, or a case comes twice.
    """
    if not results or len({(r.source, r.name) for r in results}) < len(results):
        raise ValueError("give one reader's results, one a case")
    scarred, free = [r for r in results if r.has_scar], [r for r in results if not r.has_scar]
    dice = _scar_dice(scarred)
    above = [r for r in free if r.lge_reader > 5]
    bounds = [(*r.lge_interval, r.lge_expert) for r in results if r.lge_interval]
    return GroupSummary(
        len(results),
        len(scarred),
        sum(r.dice_scar is None for r in results),
        _volumes(results, lambda r: (r.scar_expert, r.scar_reader), lambda pair: st.agree(*pair)),
        st.agree(*_pairs(results, lambda r: (r.lge_expert, r.lge_reader))),
        st.spread(dice),
        {name: sum(st.dice_class(d) == name for d in dice) for name, _ in st.DICE_CLASSES},
        st.spread([r.dice_myocardium for r in results]),
        st.spread([r.dice_blood for r in results]),
        st.spread([r.hd95_myocardium for r in results if r.hd95_myocardium is not None]),
        st.spread([r.center_error for r in results if r.center_error is not None]),
        st.spread([r.seconds for r in results]),
        sum(r.lost for r in results),
        FalseScar(
            st.spread([r.lge_reader for r in free]),
            _volumes(free, lambda r: (r.scar_reader,), lambda one: st.spread(one[0])),
            sum(r.lge_reader > 0 for r in free),
            len(above),
            sum(not r.flags for r in above),
        ),
        _volumes(results, lambda r: (r.false_scar,), lambda one: st.spread(one[0])),
        st.classify([r.lge_expert for r in results], [r.lge_reader for r in results], LARGE_SCAR),
        st.proportion(sum(low <= expert <= high for low, high, expert in bounds), len(bounds)),
        st.spread([high - low for low, high, _ in bounds]),
    )


def compare_readers(first: Sequence[CaseResult], second: Sequence[CaseResult], seed: int = 0) -> Difference:
    """Return tests between two readers on the cases that both read."""
    other = {(r.source, r.name): r for r in second}
    matched = [(a, other[a.source, a.name]) for a in first if (a.source, a.name) in other]
    if not matched:
        raise ValueError("the two readers have no case in common")
    sides = [a for a, _ in matched], [b for _, b in matched]
    dice = [_scar_dice([r for r in side if r.has_scar]) for side in sides]
    lge = [r.lge_expert for r in sides[0]]
    first_lge, second_lge = ([r.lge_reader for r in side] for side in sides)
    scar = [r.scar_expert for r in sides[0]]
    first_scar, second_scar = ([r.scar_reader for r in side] for side in sides)
    return Difference(
        sides[0][0].reader,
        sides[1][0].reader,
        len(matched),
        st.paired_bootstrap(lambda a, b: float(np.mean(a - b)), *dice, seed=seed),
        st.wilcoxon(*dice),
        st.wilcoxon(*([r.dice_myocardium for r in side] for side in sides)),
        st.kruskal_wallis({"first": dice[0], "second": dice[1]}),
        _slopes_and_correlations(lge, first_lge, second_lge, seed),
        None if None in scar else _slopes_and_correlations(scar, first_scar, second_scar, seed),
    )


def by(results: Sequence[CaseResult], attribute: str) -> dict[str, list[CaseResult]]:
    """Results in groups by vendor, site, domain shift, reader ..., in the order of the group's name."""
    groups: dict[str, list[CaseResult]] = {}
    for result in results:
        groups.setdefault(getattr(result, attribute) or UNKNOWN, []).append(result)
    return dict(sorted(groups.items(), key=lambda item: (item[0] == UNKNOWN, item[0])))


def dice_by_vendor(results: Sequence[CaseResult]) -> st.Test:
    """Kruskal-Wallis test of scar Dice over the vendors that are known, as published."""
    groups = by([r for r in results if r.has_scar and r.vendor], "vendor")
    return st.kruskal_wallis({vendor: _scar_dice(group) for vendor, group in groups.items()})


def _scar_dice(scarred: Sequence[CaseResult]) -> list[float]:
    return [r.dice_scar or 0.0 for r in scarred]


def _pairs(results: Sequence[CaseResult], pick: Callable[[CaseResult], tuple]) -> list[list[Any]]:
    """Columns of what is picked from each result."""
    return [list(column) for column in zip(*map(pick, results), strict=True)]


def _volumes(results: Sequence[CaseResult], pick: Callable, describe: Callable[[list], _T]) -> _T | None:
    """Return the agreement of volumes, or None where they are unknown."""
    if not results or any(r.scar_expert is None for r in results):
        return None
    return describe(_pairs(results, pick))


def _slopes_and_correlations(
    expert: list[Any], first: list[Any], second: list[Any], seed: int
) -> SlopesAndCorrelations:
    n = len(expert)
    r1, r2 = st.correlation(expert, first), st.correlation(expert, second)

    def differ(of: Callable) -> Callable[..., float | None]:
        def difference(truth: np.ndarray, a: np.ndarray, b: np.ndarray) -> float | None:
            one, two = of(truth, a), of(truth, b)
            return None if one is None or two is None else one - two

        return difference

    return SlopesAndCorrelations(
        st.welch_slopes(st.slope_through_origin(expert, first), st.slope_through_origin(expert, second)),
        st.fisher_z(r1, n, r2, n),
        st.correlated_correlations(expert, first, second),
        st.paired_bootstrap(differ(st.origin_slope), expert, first, second, seed=seed),
        st.paired_bootstrap(differ(st.correlation), expert, first, second, seed=seed),
    )
