"""The evaluation's statistics against published and recomputed values, against scipy, and in their limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scarnode.evaluation import statistics as s

values = st.floats(-1e3, 1e3).map(lambda v: round(v, 3))


@st.composite
def pairs(draw, smallest=0, largest=30, count=2):
    n = draw(st.integers(smallest, largest))
    return [draw(st.lists(values, min_size=n, max_size=n)) for _ in range(count)]


def line(slope: float, r: float, n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """x and y whose least-squares slope and correlation are exactly these."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=n)
    x = (x - x.mean()) / x.std()
    noise = rng.normal(size=n)
    noise -= noise.mean() + x * (noise @ x / n)
    return x, slope * x + noise / noise.std() * slope * np.sqrt(1 / r**2 - 1)


# --- the values that the published evaluation must give


@pytest.mark.parametrize(
    ("successes", "trials", "expected"),
    [(202, 207, (0.9758, 0.9445, 0.9921)), (10, 12, (0.8333, 0.5159, 0.9791)), (192, 195, (0.9846, 0.9557, 0.9968))],
)
def test_exact_interval_of_the_published_proportions(successes, trials, expected):
    found = s.proportion(successes, trials)
    assert (found.value, found.low, found.high) == pytest.approx(expected, abs=5e-5)


def test_the_published_table_at_15_percent():
    table = s.diagnostic(10, 2, 3, 192)
    assert (table.accuracy.value, table.sensitivity.value, table.specificity.value) == pytest.approx(
        (0.9758, 0.8333, 0.9846), abs=5e-5
    )
    assert (round(table.ppv.value, 2), round(table.npv.value, 2), round(table.kappa, 2)) == (0.77, 0.99, 0.79)
    expert = [20.0] * 12 + [3.0] * 195
    reader = [15.0] * 10 + [14.9] * 2 + [40.0] * 3 + [0.0] * 192
    assert s.classify(expert, reader, 15) == table


@pytest.mark.parametrize(("r", "low", "high"), [(0.91, 0.883, 0.931), (0.88, 0.845, 0.907)])
def test_interval_of_the_published_correlations(r, low, high):
    found, p = s.pearson(*line(1.0, r, 207))
    assert (found.value, found.low, found.high) == pytest.approx((r, low, high), abs=5e-4)
    assert p < 0.001


def test_fisher_z_of_the_published_correlations():
    found = s.fisher_z(0.91, 207, 0.83, 207)
    assert (found.statistic, found.p) == (pytest.approx(3.428, abs=5e-4), pytest.approx(0.00061, abs=5e-6))


def test_welch_t_of_slopes_like_the_published():
    deep, flat = s.ordinary_slope(*line(0.93, 0.91, 207)), s.ordinary_slope(*line(0.70, 0.83, 207, seed=1))
    assert (deep.slope.value, flat.slope.value) == pytest.approx((0.93, 0.70))
    assert (deep.standard_error, flat.standard_error) == pytest.approx((0.0296, 0.0329), abs=6e-5)
    test = s.welch_slopes(deep, flat)
    assert (test.statistic, test.degrees_of_freedom) == (
        pytest.approx(5.20, abs=5e-3),
        pytest.approx(405.6, abs=0.05),
    )
    assert test.p < 0.001


def test_meng_z_of_its_authors_example():
    found = s.meng_z(0.63, -0.03, -0.19, 15)
    assert (round(found.statistic, 2), round(found.p, 2)) == (1.68, 0.09)


@pytest.mark.parametrize(
    ("dice", "name"),
    [
        (0, "poor"),
        (0.249, "poor"),
        (0.25, "moderate"),
        (0.49, "moderate"),
        (0.5, "good"),
        (0.74, "good"),
        (0.75, "excellent"),
        (1, "excellent"),
    ],
)
def test_published_classes_of_dice(dice, name):
    assert s.dice_class(dice) == name


# --- by hand


def test_slope_through_the_origin_by_hand():
    found = s.slope_through_origin([1, 2, 3], [2, 2, 4])
    assert found.slope.value == pytest.approx(18 / 14)
    residuals = np.array([2, 2, 4]) - 18 / 14 * np.array([1, 2, 3])
    assert found.standard_error == pytest.approx(np.sqrt((residuals**2).sum() / 2 / 14))
    assert found.slope.high - found.slope.value == pytest.approx(stats.t.ppf(0.975, 2) * found.standard_error)


def test_bland_altman_by_hand():
    found = s.bland_altman([1, 2, 3, 4], [2, 2, 5, 5])
    assert found.bias.value == 1
    assert found.sd == pytest.approx(np.sqrt(2 / 3))
    assert (found.lower.value, found.upper.value) == pytest.approx((1 - 1.96 * found.sd, 1 + 1.96 * found.sd), abs=1e-4)


def test_concordance_is_r_times_accuracy():
    x, y = line(0.8, 0.9, 50)
    y = y + 0.3
    r, c = s.correlation(x, y), s.concordance(x, y).value
    ratio = np.std(x) / np.std(y)
    assert c == pytest.approx(r * 2 / (ratio + 1 / ratio + 0.3**2 / (np.std(x) * np.std(y))))


def test_kruskal_and_wilcoxon_are_scipy_s():
    groups = {"a": [0.1, 0.5, 0.4], "b": [0.6, 0.7, 0.9, 0.8], "none": []}
    expected = stats.kruskal(groups["a"], groups["b"])
    found = s.kruskal_wallis(groups)
    assert (found.statistic, found.p, found.degrees_of_freedom) == (expected.statistic, expected.pvalue, 1)
    x, y = np.arange(9.0), np.arange(9.0)[::-1] / 2
    assert s.wilcoxon(x, y).p == stats.wilcoxon(x, y).pvalue


def test_ordinary_slope_is_scipy_s():
    x, y = line(0.8, 0.7, 25)
    found, expected = s.ordinary_slope(x, y + 3), stats.linregress(x, y + 3)
    assert (found.slope.value, found.standard_error, found.intercept) == pytest.approx(
        (expected.slope, expected.stderr, expected.intercept)
    )


# --- do the intervals and tests keep what they promise? (seeded simulation)


def covered(estimate: s.Estimate, truth: float) -> bool:
    return estimate.low <= truth <= estimate.high


def test_intervals_cover_the_truth_19_times_in_20():
    rng = np.random.default_rng(1)
    hits = {"concordance": [], "limit": [], "origin": [], "bootstrap": []}
    for i in range(400):
        x = rng.normal(0, 1, 60)
        y = 0.2 + 0.9 * x + rng.normal(0, 0.5, 60)
        hits["concordance"].append(covered(s.concordance(x, y), 2 * 0.9 / (1 + 0.81 + 0.25 + 0.04)))
        sd = np.sqrt(0.01 + 0.25)
        hits["limit"].append(covered(s.bland_altman(x, y).upper, 0.2 + 1.959964 * sd))
        hits["origin"].append(covered(s.slope_through_origin(x, y - 0.2).slope, 0.9))
        if i < 100:
            found = s.paired_bootstrap(s.origin_slope, x, y - 0.2, seed=i, resamples=300)
            hits["bootstrap"].append(covered(found, 0.9))
    shares = {name: np.mean(hit) for name, hit in hits.items()}
    assert all(0.9 < share < 0.985 for share in shares.values()), shares


def test_meng_calls_one_in_twenty_equal_pairs_different_and_fisher_fewer():
    """Two readers of the same patients: Fisher's z, made for different patients, is too cautious, Meng's is not."""
    rng = np.random.default_rng(2)
    meng, fisher = [], []
    for _ in range(800):
        truth = rng.normal(size=80)
        shared = rng.normal(size=80)
        a, b = (truth + 0.6 * shared + 0.3 * rng.normal(size=80) for _ in range(2))
        meng.append(s.correlated_correlations(truth, a, b).p < 0.05)
        fisher.append(s.fisher_z(s.correlation(truth, a), 80, s.correlation(truth, b), 80).p < 0.05)
    assert 0.03 < np.mean(meng) < 0.075
    assert np.mean(fisher) < 0.02


# --- properties


@settings(deadline=None, max_examples=20)
@given(pairs(smallest=3))
def test_pearson_is_symmetric_bounded_and_scipy_s(sample):
    x, y = sample
    found, _ = s.pearson(x, y)
    assert found == s.pearson(y, x)[0]
    if found.value is None:
        assert np.ptp(x) == 0 or np.ptp(y) == 0
        return
    assert -1 <= found.value <= 1
    assert found.value == pytest.approx(stats.pearsonr(x, y).statistic, abs=1e-6)
    if found.low is not None:
        assert found.low <= found.value <= found.high
        interval = stats.pearsonr(x, y).confidence_interval()
        assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(pairs(smallest=3))
def test_concordance_never_exceeds_correlation(sample):
    x, y = sample
    c, r = s.concordance(x, y), s.correlation(x, y)
    assert (c.value is None) == (r is None)
    if r is not None:
        assert abs(c.value) <= abs(r) + 1e-9
        assert c.value == pytest.approx(s.concordance(y, x).value, abs=1e-9)
        if c.low is not None:
            assert -1 <= c.low <= c.value <= c.high <= 1


@settings(deadline=None, max_examples=20)
@given(pairs(smallest=2), st.floats(0.1, 10))
def test_slopes_scale_with_the_reader_and_biases_turn_with_the_order(sample, factor):
    x, y = sample
    slope, scaled = (s.slope_through_origin(x, v).slope.value for v in (y, np.multiply(y, factor)))
    assert (slope is None) == (scaled is None)
    if slope is not None:
        assert scaled == pytest.approx(factor * slope, rel=1e-6, abs=1e-9)
    there, back = s.bland_altman(x, y), s.bland_altman(y, x)
    assert there.bias.value == pytest.approx(-back.bias.value)
    assert there.lower.value == pytest.approx(-back.upper.value)
    assert there.lower.low <= there.lower.value <= there.bias.value <= there.upper.value <= there.upper.high


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 300), st.integers(0, 300))
def test_proportions_are_inside_their_interval_and_mirror(successes, failures):
    found, mirrored = (s.proportion(k, successes + failures) for k in (successes, failures))
    if not successes + failures:
        assert found == s.UNDEFINED
        return
    assert 0 <= found.low <= found.value <= found.high <= 1
    assert (found.low, found.high) == pytest.approx((1 - mirrored.high, 1 - mirrored.low))


@settings(deadline=None, max_examples=20)
@given(st.tuples(*[st.integers(0, 50)] * 4))
def test_two_by_two_tables_of_any_counts(counts):
    tp, fn, fp, tn = counts
    table = s.diagnostic(*counts)
    assert (table.sensitivity.value is None) == (tp + fn == 0)
    assert (table.ppv.value is None) == (tp + fp == 0)
    swapped = s.diagnostic(tp, fp, fn, tn)  # expert and reader change places
    assert swapped.kappa == table.kappa
    assert swapped.ppv == table.sensitivity
    if table.kappa is not None:
        assert -1 - 1e-9 <= table.kappa <= 1
        assert fn + fp > 0 or table.kappa == pytest.approx(1)


@settings(deadline=None, max_examples=20)
@given(pairs(count=3))
def test_nothing_crashes_or_is_not_a_number(sample):
    """Whatever the group (empty, one case, all alike): a number, or None."""
    truth, a, b = sample
    found = [s.agree(truth, a), s.spread(a), s.wilcoxon(a, b), s.correlated_correlations(truth, a, b)]
    found += [s.kruskal_wallis({"a": a, "b": b}), s.classify(a, b, 0.5)]
    found += [s.welch_slopes(s.ordinary_slope(truth, a), s.ordinary_slope(truth, b))]
    found += [s.fisher_z(s.correlation(truth, a), len(a), s.correlation(truth, b), len(b))]
    found += [s.paired_bootstrap(s.correlation, truth, a, resamples=20)]
    assert "nan" not in repr(found)
    for test in (found[2], found[3], found[4], found[6], found[7]):
        assert test.p is None or 0 <= test.p <= 1


@settings(deadline=None, max_examples=20)
@given(pairs(smallest=4, count=3))
def test_comparing_two_readers_turns_its_sign_with_their_order(sample):
    truth, a, b = sample
    there, back = s.correlated_correlations(truth, a, b), s.correlated_correlations(truth, b, a)
    assert (there.statistic is None) == (back.statistic is None)
    if there.statistic is not None:
        assert there.statistic == pytest.approx(-back.statistic, rel=1e-6, abs=1e-9)


def test_the_bootstrap_repeats_itself():
    x, y = line(1, 0.8, 30)
    assert s.paired_bootstrap(s.correlation, x, y, seed=3) == s.paired_bootstrap(s.correlation, x, y, seed=3)
    assert s.paired_bootstrap(s.correlation, x, y, seed=3) != s.paired_bootstrap(s.correlation, x, y, seed=4)


def test_values_that_are_no_pairs():
    with pytest.raises(ValueError, match="not pairs"):
        s.pearson([1, 2, 3], [1, 2])
