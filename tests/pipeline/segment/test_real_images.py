"""Real late-enhancement images that the shipped weights were not trained on, end to end."""

import json

import numpy as np
import pytest

from scarnode.cases.model import read_acdc, read_emidec
from scarnode.evaluation.metrics import evaluate, summarise
from scarnode.pipeline.segment import shipped_weights
from scarnode.pipeline.segment.predict import Segmenter


@pytest.fixture(scope="module")
def held_out() -> set[str]:
    card = json.loads(shipped_weights().with_suffix(".json").read_text())
    return set(card["data"]["held_out"])


@pytest.mark.slow
def test_held_out_cases_are_outlined(real_data, held_out):
    names = sorted(name for name in held_out if name.startswith("emidec/"))
    assert len(names) >= 15
    cases = [case for case in read_emidec(real_data / "emidec") if f"emidec/{case.name}" in names[::5]]
    summary = summarise(evaluate(cases, Segmenter(device="cpu")))
    assert summary["hearts_lost"] == 0
    assert summary["dice_blood"] > 0.85
    assert summary["dice_myocardium"] > 0.7


@pytest.mark.slow
def test_the_heart_is_found_in_another_kind_of_image(real_data, held_out):
    """Cine images of another centre: black borders, other matrix, strong contrast."""
    names = sorted(name for name in held_out if name.startswith("acdc/"))
    cases = [case for case in read_acdc(real_data / "acdc_ed") if f"acdc/{case.name}" in names[::6]]
    summary = summarise(evaluate(cases, Segmenter(device="cpu")))
    assert summary["hearts_lost"] == 0
    assert summary["center_error_mm_highest"] < 15


def test_off_centre_heart_and_black_border(real_data, held_out):
    name = min(name for name in held_out if name.startswith("emidec/"))
    (case,) = [case for case in read_emidec(real_data / "emidec") if f"emidec/{case.name}" == name]
    segmenter = Segmenter(device="cpu")
    plain = segmenter.segment(case.image, case.pixel_spacing)
    padded = np.pad(case.image, ((0, 0), (120, 0), (0, 90)))
    moved = segmenter.segment(padded, case.pixel_spacing)
    shift = np.subtract(moved.heart_center, plain.heart_center) - (120, 0)
    assert np.hypot(*shift) * case.pixel_spacing[0] < 8


@pytest.mark.slow
def test_the_right_ventricle_lies_where_it_was_outlined(real_data, held_out):
    names = sorted(name for name in held_out if name.startswith("acdc/"))
    segmenter = Segmenter(device="cpu")
    errors = []
    for case in (case for case in read_acdc(real_data / "acdc_ed") if f"acdc/{case.name}" in names[1::4]):
        found = segmenter.segment(case.image, case.pixel_spacing).right_ventricle
        right, left = (np.argwhere(mask).mean(axis=0)[1:] for mask in (case.right_ventricle, case.label != 0))
        difference = found - np.arctan2(*(right - left))
        errors.append(abs(np.degrees((difference + np.pi) % (2 * np.pi) - np.pi)))
    assert len(errors) == 5
    assert np.median(errors) < 10
    assert max(errors) < 75
