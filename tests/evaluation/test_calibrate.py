"""Calibration on made-up readings whose answer is known."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.evaluation.calibrate import (
    Reading,
    calibrate,
    calibrate_segmenter,
    measured_coverage,
    measured_flag,
    read,
    roc,
)
from scarnode.evaluation.domain_shifts import FINDER_SHIFTS, SHIFTS
from scarnode.pipeline.segment.certainty import Calibration
from scarnode.pipeline.segment.model import Agreement, ModelIdentity, Segmentation
from tests.training.toys import toy_case


def _reading(patient: int, error: float, spread: float = 1.0, agreement: float = 0.9, dice: float = 0.8) -> Reading:
    return Reading(f"p{patient}", 20.0, 20.0 + error, spread, agreement, agreement, dice, dice)


def test_the_factor_is_the_conformal_quantile_of_the_errors():
    cases = [_reading(i, error=i + 1.0) for i in range(19)]
    assert calibrate(cases, coverage=0.9).interval_factor == 18.0  # the ceil(.9 x 20)th of 19


def test_too_few_cases_promise_nothing():
    with pytest.raises(ValueError, match="5 cases can not promise"):
        calibrate([_reading(i, 1.0) for i in range(5)], coverage=0.9)


@given(st.integers(0, 1000))
@settings(deadline=None, max_examples=10)
def test_coverage_is_reached_whatever_the_errors_look_like(seed):
    rng = np.random.default_rng(seed)
    spreads = rng.uniform(0.5, 5, 400)
    cases = [
        _reading(i, error, s)
        for i, (error, s) in enumerate(zip(rng.standard_t(2, 400) * spreads, spreads, strict=True))
    ]
    found = measured_coverage(cases, 0.9)
    assert found.cases == 400
    assert 0.88 <= found.reached <= 0.92


def test_looks_of_one_patient_leave_together():
    # One patient with huge errors: its own looks must not widen the interval that it is judged by.
    cases = [_reading(i, 1.0) for i in range(60)] + [_reading(99, 50.0) for _ in range(6)]
    assert measured_coverage(cases, 0.9).reached == pytest.approx(60 / 66)


def test_roc_of_a_perfect_and_of_a_useless_score():
    perfect = roc([0.2, 0.3, 0.8, 0.9], [0.1, 0.4, 0.6, 0.9])
    assert (perfect.area, perfect.sensitivity, perfect.specificity) == (1.0, 1.0, 1.0)
    assert 0.3 < perfect.threshold < 0.8
    useless = roc([0.5, 0.5, 0.5, 0.5], [0.1, 0.9, 0.2, 0.8])
    assert useless.area == 0.5


def test_harder_images_count_for_the_limit_of_the_myocardium_alone():
    cases = [_reading(i, 1.0) for i in range(20)]
    wrong = [_reading(i, 90.0, agreement=0.6, dice=0.1) for i in range(3)]
    found = calibrate(cases, harder=wrong)
    assert 0.6 < found.wall_below < 0.9
    assert (found.scar_below, found.interval_factor) == (0.0, 1.0)


def test_a_flag_is_measured_with_limits_that_never_saw_the_patient():
    def outline(reading: Reading) -> tuple[float, float]:
        return reading.wall_agreement, reading.wall_dice

    good = [_reading(i, 1.0) for i in range(8)]
    bad = [_reading(i, 1.0, agreement=0.5 + i / 100, dice=0.2) for i in range(4)]
    found = measured_flag([*good, *bad], outline)
    assert (found.bad, found.bad_flagged, found.good, found.good_flagged) == (4, 4, 8, 0)
    alone = measured_flag([*good, *bad[:1]], outline)  # without that patient nothing is known of bad outlines
    assert (alone.bad, alone.bad_flagged) == (1, 0)


@given(st.lists(st.tuples(st.integers(0, 20), st.booleans()), min_size=2, max_size=30))
def test_area_is_the_share_of_pairs_in_right_order(cases):
    score, bad = [s / 20 for s, _ in cases], [b for _, b in cases]
    found = roc(score, [0.0 if b else 1.0 for b in bad])
    pairs = [
        (s < t) + 0.5 * (s == t)
        for s, b in zip(score, bad, strict=True)
        if b
        for t, c in zip(score, bad, strict=True)
        if not c
    ]
    if pairs:
        assert found.area == pytest.approx(np.mean(pairs))
    else:
        assert math.isnan(found.area)
        assert found.threshold == 0.0  # nothing to go by: nothing is flagged


def test_a_case_is_read_from_its_segmentation():
    case = toy_case(0, scar=True)
    model = ModelIdentity("m", "1", "0" * 64, "toys")
    found = Segmentation(case.label, (1.0, 1.0), model, agreement=Agreement((10.0, 12.0), 0.9, 0.7))
    reading = read(case, found)
    assert (reading.wall_dice, reading.scar_dice, reading.lge_expert) == (1.0, 1.0, reading.lge_network)
    assert reading.spread == pytest.approx(1 + 1 + 0.1 * reading.lge_network)
    assert read(case, Segmentation(case.label, None, model)) is None
    assert read(SHIFTS[0](case), found).patient == reading.patient


class _Drifting:
    """A segmenter whose scar is the wider, and whose readings differ the more, the noisier the image is."""

    def segment(self, image, pixel_spacing):
        labels = (np.asarray(image) > 200).astype(np.uint8) * 3
        labels[:, :20] = 2
        found = Agreement((10.0, 12.0), 0.9, 0.7)
        return Segmentation(labels, (1.0, 1.0), ModelIdentity("m", "1", "0" * 64, "toys"), agreement=found)


def test_a_segmenter_is_calibrated_on_enough_patients_only():
    few = [toy_case(i, scar=True) for i in range(9)]
    assert calibrate_segmenter(few, _Drifting()) is None
    cine = [replace(case, source="acdc") for case in few]
    assert calibrate_segmenter([*few, *cine], _Drifting()) is None
    stored = calibrate_segmenter([*few, toy_case(9, scar=True)], _Drifting())
    assert Calibration.from_card({"calibration": stored}).interval_factor > 0
    assert stored["measured"]["coverage"]["cases"] == 10 * (1 + len(SHIFTS))
    wall = stored["measured"]["wall_dice_below_half"]
    assert wall["bad"] + wall["good"] == 10 * (1 + len(FINDER_SHIFTS))  # the myocardium is asked about under more looks
    json.dumps(stored, allow_nan=False)  # a card is strict JSON
