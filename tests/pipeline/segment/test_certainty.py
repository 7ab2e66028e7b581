"""Repeated readings: which slices they take, how they agree, the interval they give."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.pipeline.segment.certainty import Calibration, agreement, lge_interval, lge_percent, readings
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.windows import merge, window_indices


@given(slices=st.integers(1, 9))
@settings(deadline=None, max_examples=9)
def test_every_reading_takes_every_slice_from_a_window_that_holds_it(slices):
    indices = window_indices(slices)
    # Each window's probability says which slice it is.
    windows = torch.tensor(indices, dtype=torch.float32)[:, None, :, None, None].expand(-1, 4, -1, 2, 2)
    taken = readings(windows, slices)
    assert taken.shape == (3, slices, 4, 2, 2)
    assert (taken[:, :, 0, 0, 0] == torch.arange(slices)).all()


def _probabilities(labels: np.ndarray) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.from_numpy(labels).long(), 4).movedim(-1, 1).float()


def _ring(scar_columns: int) -> np.ndarray:
    labels = np.zeros((3, 32, 32), np.uint8)
    labels[:, 8:24, 8:24] = Tissue.MYOCARDIUM
    labels[:, 12:20, 12:20] = Tissue.BLOOD
    labels[:, 8:12, 8 : 8 + scar_columns] = Tissue.SCAR
    return labels


def test_equal_readings_agree_wholly():
    mean = _probabilities(_ring(4))
    found = agreement(torch.stack([mean, mean]), mean)
    assert (found.wall, found.scar) == (1.0, 1.0)
    assert found.lge_percent == (pytest.approx(100 * 16 / 192),) * 2


def test_readings_that_differ_in_scar_agree_on_the_wall_only():
    mean = _probabilities(_ring(4))
    found = agreement(torch.stack([mean, _probabilities(_ring(8))]), mean)
    assert found.wall == 1.0
    assert found.scar == pytest.approx((1 + 2 * 16 / (16 + 32)) / 2)
    assert found.lge_percent[1] == pytest.approx(2 * found.lge_percent[0])


def test_no_scar_in_any_reading_is_agreement():
    mean = _probabilities(_ring(0))
    assert agreement(mean[None], mean).scar == 1.0


def test_what_lies_far_from_the_heart_counts_in_no_reading():
    stray = _ring(0)
    stray[:, 0:3, 28:32] = Tissue.SCAR
    mean = _probabilities(_ring(0))
    assert agreement(_probabilities(stray)[None], mean).lge_percent == (0.0,)


@given(value=st.floats(0, 100), members=st.lists(st.floats(0, 100), min_size=1, max_size=6), factor=st.floats(0, 50))
def test_interval_holds_the_value_and_stays_a_percentage(value, members, factor):
    low, high = lge_interval(value, members, Calibration(factor, 0.9, 0.5, 0.5))
    assert 0 <= low <= value <= high <= 100


def test_without_calibration_there_is_no_interval():
    assert Calibration.from_card({}) is None
    assert lge_interval(10.0, (9.0, 11.0), None) is None


def test_calibration_comes_from_the_card():
    stored = {"interval_factor": 2.0, "coverage": 0.9, "wall_below": 0.8, "scar_below": 0.6, "measured": {}}
    assert Calibration.from_card({"calibration": stored}) == Calibration(2.0, 0.9, 0.8, 0.6)


def test_readings_of_one_window_are_its_slices_and_merge_to_them():
    windows = torch.rand(1, 4, 3, 8, 8).softmax(dim=1)
    assert torch.equal(readings(windows, 3)[0], merge(windows, window_indices(3), 3))


def test_lge_percent_counts_scar_over_all_myocardium():
    assert lge_percent(np.array([0, 1, 2, 2, 2, 3])) == 25
    assert lge_percent(np.array([0, 1])) == 0
