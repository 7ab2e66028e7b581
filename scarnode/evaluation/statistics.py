"""The statistics of the evaluation: agreement, classification at a threshold, tests, each with its source.

Every function takes plain sequences of numbers, one entry a patient. What can not be said (too few patients, no
variance, no positives) is None, never a not-a-number and never an error. Confidence intervals are 95 %, tests are
two-sided.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
_Z = float(stats.norm.ppf((1 + CONFIDENCE) / 2))

Numbers = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % confidence interval; None where undefined."""

    value: float | None
    low: float | None = None
    high: float | None = None


UNDEFINED = Estimate(None)


@dataclass(frozen=True)
class Spread:
    """Values of a group: count, mean, sample standard deviation, quartiles, extremes; None where undefined."""

    n: int
    mean: float | None = None
    sd: float | None = None
    lowest: float | None = None
    first_quartile: float | None = None
    median: float | None = None
    third_quartile: float | None = None
    highest: float | None = None


@dataclass(frozen=True)
class Slope:
    """Slope of a straight line with its standard error; `intercept` is 0 for a line through the origin.

    `degrees_of_freedom` are those of the residuals: n - 1 through the origin, n - 2 otherwise.
    """

    n: int
    slope: Estimate
    standard_error: float | None = None
    intercept: float | None = None
    degrees_of_freedom: int = 0


@dataclass(frozen=True)
class BlandAltman:
    """Mean of (b - a), its standard deviation, and the limits of agreement bias -+ 1.96 SD, each with its interval."""

    n: int
    bias: Estimate
    sd: float | None = None
    lower: Estimate = UNDEFINED
    upper: Estimate = UNDEFINED


@dataclass(frozen=True)
class Test:
    """Outcome of a test; all None where it can not be done."""

    __test__ = False  # not one of pytest's

    statistic: float | None = None
    p: float | None = None
    degrees_of_freedom: float | None = None


@dataclass(frozen=True)
class Agreement:
    """Everything said of one quantity measured by an expert (x) and a reader (y)."""

    n: int
    mean_expert: float | None
    mean_reader: float | None
    pearson: Estimate
    pearson_p: float | None
    origin: Slope
    ordinary: Slope
    concordance: Estimate
    bland_altman: BlandAltman


@dataclass(frozen=True)
class Diagnostic:
    """A yes/no finding against the expert's: counts, and proportions with exact intervals."""

    true_positive: int
    false_negative: int
    false_positive: int
    true_negative: int
    accuracy: Estimate
    sensitivity: Estimate
    specificity: Estimate
    ppv: Estimate
    npv: Estimate
    kappa: float | None


def spread(values: Numbers) -> Spread:
    """Describe a group of values."""
    v = np.asarray(values, float)
    if not len(v):
        return Spread(0)
    low, q1, q2, q3, high = (float(q) for q in np.percentile(v, (0, 25, 50, 75, 100)))
    return Spread(len(v), float(v.mean()), float(v.std(ddof=1)) if len(v) > 1 else None, low, q1, q2, q3, high)


def agree(x: Numbers, y: Numbers) -> Agreement:
    """All measures of agreement of a reader's values `y` with the expert's `x`."""
    a, b = _paired(x, y)
    r, p = pearson(a, b)
    return Agreement(
        len(a),
        float(a.mean()) if len(a) else None,
        float(b.mean()) if len(b) else None,
        r,
        p,
        slope_through_origin(a, b),
        ordinary_slope(a, b),
        concordance(a, b),
        bland_altman(a, b),
    )


def pearson(x: Numbers, y: Numbers) -> tuple[Estimate, float | None]:
    """Pearson's r with Fisher's interval tanh(atanh r -+ 1.96 / sqrt(n - 3)), and p of no correlation.

    Source: R. A. Fisher, Metron 1921;1:3-32; p from t = r sqrt((n - 2) / (1 - r^2)).
    """
    a, b = _paired(x, y)
    r = _correlation(a, b)
    if r is None:
        return UNDEFINED, None
    n = len(a)
    p = float(stats.pearsonr(a, b).pvalue)
    return correlation_interval(r, n), p if np.isfinite(p) else None


def correlation_interval(r: float, n: int) -> Estimate:
    """Fisher's interval of a correlation coefficient found in n patients; without limits below four."""
    if n < 4:
        return Estimate(r)
    with np.errstate(divide="ignore"):
        z, half = np.arctanh(r), _Z / np.sqrt(n - 3)
    return Estimate(r, float(np.tanh(z - half)), float(np.tanh(z + half)))


def slope_through_origin(x: Numbers, y: Numbers) -> Slope:
    """Slope of y = b x: b = sum(xy) / sum(x^2), standard error sqrt(sum((y - b x)^2) / (n - 1) / sum(x^2)).

    The publication's figure 5 states its lines so ("y = 0.93x"). Source: J. G. Eisenhauer, Teaching Statistics
    2003;25:76-80.
    """
    a, b = _paired(x, y)
    slope = _slope(a, b)
    if slope is None or len(a) < 2:
        return Slope(len(a), Estimate(slope), intercept=0.0 if slope is not None else None)
    free = len(a) - 1
    error = float(np.sqrt(((b - slope * a) ** 2).sum() / free / (a @ a)))
    return Slope(len(a), _t_interval(slope, error, free), error, 0.0, free)


def ordinary_slope(x: Numbers, y: Numbers) -> Slope:
    """Slope of y = a + b x by least squares, with the interval of Student's t at n - 2 degrees of freedom."""
    a, b = _paired(x, y)
    if len(a) < 3 or not _varies(a):
        return Slope(len(a), UNDEFINED)
    off, free = a - a.mean(), len(a) - 2
    slope = float(off @ b / (off @ off))
    intercept = float(b.mean() - slope * a.mean())
    error = float(np.sqrt(((b - intercept - slope * a) ** 2).sum() / free / (off @ off)))
    return Slope(len(a), _t_interval(slope, error, free), error, intercept, free)


def bland_altman(x: Numbers, y: Numbers) -> BlandAltman:
    """Bias mean(y - x) and limits of agreement.

    Standard errors: SD / sqrt(n) of the bias, SD sqrt(1 / n + 1.96^2 / (2 (n - 1))) of a limit. Source: Bland and
    Altman, Lancet 1986;1:307-310, and Stat Methods Med Res 1999;8:135-160.
    """
    a, b = _paired(x, y)
    n = len(a)
    if n < 2:
        return BlandAltman(n, Estimate(float((b - a)[0]) if n else None))
    difference = b - a
    bias, sd = float(difference.mean()), float(difference.std(ddof=1))
    at_limit = sd * np.sqrt(1 / n + _Z**2 / (2 * (n - 1)))
    lower, upper = (_t_interval(bias + side * _Z * sd, at_limit, n - 1) for side in (-1, 1))
    return BlandAltman(n, _t_interval(bias, sd / np.sqrt(n), n - 1), sd, lower, upper)


def concordance(x: Numbers, y: Numbers) -> Estimate:
    """Lin's concordance correlation coefficient 2 s_xy / (s_x^2 + s_y^2 + (mean x - mean y)^2), moments over n.

    The interval is that of its z-transform. Source: L. I.-K. Lin, Biometrics 1989;45:255-268 with the variance as
    corrected in 2000;56:324-325.
    """
    a, b = _paired(x, y)
    n, r = len(a), _correlation(a, b)
    if r is None:
        return UNDEFINED
    shift = (a.mean() - b.mean()) ** 2
    c = float(2 * r * a.std() * b.std() / (a.var() + b.var() + shift))
    if n < 4 or r == 0 or abs(c) >= 1:
        return Estimate(c)
    u2 = shift / (a.std() * b.std())
    variance = (
        (1 - r**2) * c**2 / ((1 - c**2) * r**2)
        + 2 * c**3 * (1 - c) * u2 / (r * (1 - c**2) ** 2)
        - c**4 * u2**2 / (2 * r**2 * (1 - c**2) ** 2)
    ) / (n - 2)
    if not np.isfinite(variance) or variance < 0:
        return Estimate(c)
    half = _Z * np.sqrt(variance)
    return Estimate(c, float(np.tanh(np.arctanh(c) - half)), float(np.tanh(np.arctanh(c) + half)))


def kruskal_wallis(groups: Mapping[str, Numbers]) -> Test:
    """Return whether a value differs between groups (vendors, say), by ranks: H, p, degrees of freedom.

    Groups without a value are left out. Source: Kruskal and Wallis, J Am Stat Assoc 1952;47:583-621.
    """
    values = [np.asarray(group, float) for group in groups.values() if len(group)]
    if len(values) < 2 or sum(map(len, values)) < 3 or not _varies(np.concatenate(values)):
        return Test()
    found = stats.kruskal(*values)
    return Test(float(found.statistic), float(found.pvalue), len(values) - 1)


def welch_slopes(a: Slope, b: Slope) -> Test:
    """Return whether two slopes differ, as if from different patients.

    t = (b1 - b2) / sqrt(s1^2 + s2^2), df = (s1^2 + s2^2)^2 / (s1^4 / df1 + s2^4 / df2), where df1 and df2 are those of
    the slopes (n - 2 for ordinary ones). The publication's test. Source: B. L. Welch, Biometrika 1947;34:28-35.
    """
    if not a.standard_error or not b.standard_error or a.slope.value is None or b.slope.value is None:
        return Test()
    v1, v2 = a.standard_error**2, b.standard_error**2
    if not v1 + v2:
        return Test()
    t = (a.slope.value - b.slope.value) / np.sqrt(v1 + v2)
    free = (v1 + v2) ** 2 / (v1**2 / a.degrees_of_freedom + v2**2 / b.degrees_of_freedom)
    return Test(float(t), float(2 * stats.t.sf(abs(t), free)), float(free))


def fisher_z(r1: float | None, n1: int, r2: float | None, n2: int) -> Test:
    """Return whether two correlations from different patients differ: z = (atanh r1 - atanh r2) / sqrt(1/(n1-3) +
    1/(n2-3)).

    The publication's test. Source: R. A. Fisher, Metron 1921;1:3-32.
    """
    if r1 is None or r2 is None or min(n1, n2) < 4 or max(abs(r1), abs(r2)) >= 1:
        return Test()
    z = (np.arctanh(r1) - np.arctanh(r2)) / np.sqrt(1 / (n1 - 3) + 1 / (n2 - 3))
    return Test(float(z), float(2 * stats.norm.sf(abs(z))))


def meng_z(r1: float | None, r2: float | None, between: float | None, n: int) -> Test:
    """Return whether two correlations with the same expert differ, both readers having read the same patients.

    Parameters
    ----------
    r1, r2 : float or None
        Correlation of each reader with the expert.
    between : float or None
        Correlation of the readers with each other.
    n : int
        Patients.

    Notes
    -----
    z = (atanh r1 - atanh r2) sqrt((n - 3) / (2 (1 - between) h)), h = (1 - f m) / (1 - m), m = (r1^2 + r2^2) / 2,
    f = min(1, (1 - between) / (2 (1 - m))). Source: Meng, Rosenthal and Rubin, Psychol Bull 1992;111:172-175.
    """
    if r1 is None or r2 is None or between is None or n < 4 or max(abs(r1), abs(r2)) >= 1 or between >= 1:
        return Test()
    mean = (r1**2 + r2**2) / 2
    f = min(1.0, (1 - between) / (2 * (1 - mean)))
    h = (1 - f * mean) / (1 - mean)
    z = (np.arctanh(r1) - np.arctanh(r2)) * np.sqrt((n - 3) / (2 * (1 - between) * h))
    return Test(float(z), float(2 * stats.norm.sf(abs(z)))) if np.isfinite(z) else Test()


def correlated_correlations(expert: Numbers, first: Numbers, second: Numbers) -> Test:
    """Meng's z of two readers' values of the same patients against the expert's."""
    truth, a = _paired(expert, first)
    _, b = _paired(expert, second)
    return meng_z(_correlation(truth, a), _correlation(truth, b), _correlation(a, b), len(truth))


def wilcoxon(x: Numbers, y: Numbers) -> Test:
    """Return whether paired values differ, by signed ranks; pairs without a difference are left out (Wilcoxon's way).

    Source: F. Wilcoxon, Biometrics Bulletin 1945;1:80-83.
    """
    a, b = _paired(x, y)
    if not (a != b).any():
        return Test()
    found = stats.wilcoxon(a, b)
    return Test(float(found.statistic), float(found.pvalue))


def paired_bootstrap(
    statistic: Callable[..., float | None], *samples: Numbers, seed: int = 0, resamples: int = 2000
) -> Estimate:
    """Percentile interval of a statistic of paired samples: patients are drawn, each with all its values.

    Parameters
    ----------
    statistic : callable
        Takes as many arrays as there are samples; None where undefined.
    samples : sequence of float
        Equally long.
    seed : int
        The same seed gives the same interval.

    Notes
    -----
    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13. Without limits where more than a
    tenth of the draws have no value.
    """
    arrays = [np.asarray(sample, float) for sample in samples]
    n = len(arrays[0])
    value = statistic(*arrays) if n else None
    if value is None or n < 3:
        return Estimate(value)
    rng = np.random.default_rng(seed)
    drawn = [statistic(*(array[rows] for array in arrays)) for rows in rng.integers(n, size=(resamples, n))]
    defined = [d for d in drawn if d is not None]
    if len(defined) < 0.9 * resamples:
        return Estimate(value)
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(defined, (tail, 100 - tail))
    return Estimate(value, float(low), float(high))


def proportion(successes: int, trials: int) -> Estimate:
    """Share with its exact interval. Source: Clopper and Pearson, Biometrika 1934;26:404-413."""
    if not trials:
        return UNDEFINED
    interval = stats.binomtest(int(successes), int(trials)).proportion_ci(CONFIDENCE, method="exact")
    return Estimate(successes / trials, float(interval.low), float(interval.high))


def classify(expert: Numbers, reader: Numbers, threshold: float) -> Diagnostic:
    """Reader against expert in who reaches `threshold` (15 %LGE: extensive scar, Chan et al., Circulation 2014)."""
    a, b = _paired(expert, reader)
    truth, call = a >= threshold, b >= threshold
    return diagnostic(
        int((truth & call).sum()), int((truth & ~call).sum()), int((~truth & call).sum()), int((~truth & ~call).sum())
    )


def diagnostic(true_positive: int, false_negative: int, false_positive: int, true_negative: int) -> Diagnostic:
    """Proportions of a two-by-two table; kappa is J. Cohen's, Educ Psychol Meas 1960;20:37-46."""
    tp, fn, fp, tn = true_positive, false_negative, false_positive, true_negative
    n = tp + fn + fp + tn
    chance = ((tp + fn) * (tp + fp) + (fp + tn) * (fn + tn)) / n**2 if n else 1.0
    kappa = ((tp + tn) / n - chance) / (1 - chance) if chance < 1 else None
    return Diagnostic(
        tp,
        fn,
        fp,
        tn,
        proportion(tp + tn, n),
        proportion(tp, tp + fn),
        proportion(tn, tn + fp),
        proportion(tp, tp + fp),
        proportion(tn, tn + fn),
        kappa,
    )


DICE_CLASSES: tuple[tuple[str, float], ...] = (("poor", 0.0), ("moderate", 0.25), ("good", 0.5), ("excellent", 0.75))
"""The publication's classes of Dice, each with its lowest value."""


def dice_class(dice: float) -> str:
    """Class of a Dice score as published: below .25 poor, below .5 moderate, below .75 good, else excellent."""
    return [name for name, lowest in DICE_CLASSES if dice >= lowest][-1]


def correlation(x: Numbers, y: Numbers) -> float | None:
    """Pearson's r alone, quick enough for a bootstrap."""
    return _correlation(*_paired(x, y))


def origin_slope(x: Numbers, y: Numbers) -> float | None:
    """Slope through the origin alone, quick enough for a bootstrap."""
    return _slope(*_paired(x, y))


def _paired(x: Numbers, y: Numbers) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(x, float), np.asarray(y, float)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"values of {a.shape} and {b.shape} are not pairs")
    return a, b


def _varies(values: np.ndarray) -> bool:
    """Return whether there is variance beyond rounding, so that dividing by it means something."""
    return bool(np.ptp(values) > 1e-9 * max(float(np.abs(values).max()), 1e-100)) if len(values) else False


def _correlation(a: np.ndarray, b: np.ndarray) -> float | None:
    if len(a) < 3 or not _varies(a) or not _varies(b):
        return None
    # Scaled first: the squares of very small or very large numbers leave floating point's range.
    u, v = (d / np.abs(d).max() for d in (a - a.mean(), b - b.mean()))
    return float(np.clip(u @ v / np.sqrt((u @ u) * (v @ v)), -1, 1))


def _slope(a: np.ndarray, b: np.ndarray) -> float | None:
    squares = float(a @ a)
    return float(a @ b / squares) if squares > 0 else None


def _t_interval(value: float, error: float, free: int) -> Estimate:
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, free)) * error
    return Estimate(float(value), float(value - half), float(value + half))
