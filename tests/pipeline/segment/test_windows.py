"""Sliding windows: which slices they see, and how they are merged."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.windows import (
    blood_is_darker,
    brighten,
    merge,
    normalise,
    predict_windows,
    window_indices,
)


@given(st.integers(1, 60))
def test_windows_step_by_one_and_cover_every_slice(slices):
    windows = window_indices(slices)
    assert len(windows) == max(slices - 2, 1)
    assert {i for window in windows for i in window} == set(range(slices))
    assert all(len(window) == 3 for window in windows)
    if slices >= 3:
        counts = np.bincount(np.concatenate(windows), minlength=slices)
        expected = [min(i + 1, slices - i, 3, slices - 2) for i in range(slices)]
        assert counts.tolist() == expected


def test_no_slices_is_an_error():
    with pytest.raises(ValueError, match="at least one"):
        window_indices(0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 2**31), st.sampled_from(["mean", "max"]))
def test_merge_equals_the_plain_definition(slices, seed, how):
    windows = window_indices(slices)
    probabilities = torch.rand(len(windows), 4, 3, 2, 5, generator=torch.Generator().manual_seed(seed)).softmax(1)
    merged = merge(probabilities, windows, slices, how)
    assert merged.shape == (slices, 4, 2, 5)
    for i in range(slices):
        seen = [probabilities[w, :, p] for w, window in enumerate(windows) for p, s in enumerate(window) if s == i]
        expected = torch.stack(seen).mean(0)
        if how == "max":
            expected[Tissue.SCAR] = torch.stack(seen)[:, Tissue.SCAR].max(0).values
        torch.testing.assert_close(merged[i], expected)


def test_mean_merge_stays_a_probability():
    windows = window_indices(7)
    probabilities = torch.rand(len(windows), 4, 3, 4, 4).softmax(1)
    torch.testing.assert_close(merge(probabilities, windows, 7).sum(1), torch.ones(7, 4, 4))


def test_unknown_merge():
    with pytest.raises(ValueError, match="'mean' and 'max'"):
        merge(torch.rand(1, 4, 3, 2, 2), [[0, 1, 2]], 3, "median")


def test_each_window_sees_its_own_slices_whatever_the_batch():
    stack = torch.arange(6.0).reshape(6, 1, 1).expand(6, 8, 8).contiguous()

    def network(slices: torch.Tensor, windows: list[list[int]]) -> torch.Tensor:
        image = slices[torch.tensor(windows)][:, None]
        return torch.cat([image, -image, image * 0, image * 0], dim=1)

    large, indices = predict_windows(network, stack, batch=16)
    small, _ = predict_windows(network, stack, batch=1)
    torch.testing.assert_close(large, small)
    expected = network(stack, indices).softmax(1)
    torch.testing.assert_close(large, expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.floats(1e-3, 1e4), st.floats(-1e4, 1e4))
def test_normalise_forgets_scale_and_offset(seed, scale, offset):
    image = torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(normalise(image * scale + offset), normalise(image), atol=1e-5, rtol=0)
    assert normalise(image).abs().max() <= 1.5


def test_normalise_constant_and_nearly_empty_slices():
    slices = torch.zeros(2, 32, 32)
    slices[1, 3, 4] = 5
    scaled = normalise(slices)
    assert torch.isfinite(scaled).all()
    assert not scaled[0].any()
    assert scaled[1, 3, 4] == 1


def _heart(muscle: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A slice from black to white with a piece of myocardium of that grey (0 to 1)."""
    grey = torch.linspace(0, 1, 40 * 40).reshape(1, 40, 40)
    where = torch.zeros_like(grey, dtype=torch.bool)
    where[0, 10:20, 10:20] = True
    return normalise(torch.where(where, muscle, grey)), where


@pytest.mark.parametrize(
    ("blood", "muscle", "scarred", "scar", "darker"),
    [
        (0.6, 0.1, 0.2, 0.9, False),  # nulled, scar brighter than blood
        (0.6, 0.1, 0.7, 0.9, False),  # most of the wall is such scar: the rest of it is dark
        (0.1, 0.8, 0.0, 0.5, True),  # before the null
        (0.1, 0.8, 0.1, 0.5, True),
    ],
)
def test_blood_darker_than_the_wall(blood, muscle, scarred, scar, darker):
    outline = torch.zeros(2, 32, 32, dtype=torch.uint8)
    outline[:, 8:24, 8:24] = Tissue.MYOCARDIUM
    outline[:, 12:20, 12:20] = Tissue.BLOOD
    wall = outline == Tissue.MYOCARDIUM
    images = torch.where(outline == Tissue.BLOOD, blood, 0.0)
    images[wall] = torch.where(torch.arange(int(wall.sum())) < scarred * wall.sum(), scar, muscle)
    assert blood_is_darker(2 * images - 1, outline) == darker
    assert not blood_is_darker(images, torch.zeros_like(outline))  # no outline: nothing to go by


def test_dark_myocardium_is_brightened_and_its_order_kept():
    images, muscle = _heart(0.05)
    seen = brighten(images, muscle)
    assert seen[muscle].median() > images[muscle].median() + 0.05
    assert (seen.flatten()[images.flatten().argsort()].diff() >= -1e-6).all()
    assert seen.abs().max() <= 1.5


@pytest.mark.parametrize("grey", [0.22, 0.5])
def test_what_is_not_dark_stays_as_it_is(grey):
    images, muscle = _heart(grey)
    assert torch.equal(brighten(images, muscle), images)
    assert torch.equal(brighten(images, torch.zeros_like(muscle)), images)  # no myocardium: nothing to go by


def test_brightening_has_no_step():
    change = [float((brighten(*_heart(grey)) - _heart(grey)[0]).abs().mean()) for grey in np.linspace(0.08, 0.22, 281)]
    assert change[0] > 0.02
    assert change[-1] == 0
    assert np.abs(np.diff(change)).max() < 0.01


def test_more_where_the_null_fits_the_whole_stack():
    images, muscle = (torch.cat(pair) for pair in zip(_heart(0.05), _heart(0.05), strict=True))
    fits = brighten(images, muscle)
    images[1], muscle[1] = (one[0] for one in _heart(0.16))
    misses = brighten(images, muscle)
    assert fits[0][muscle[0]].median() > misses[0][muscle[0]].median() + 0.05
    assert misses[0][muscle[0]].median() > images[0][muscle[0]].median() + 0.05
    muscle[1] = False  # a slice without myocardium tells nothing
    assert torch.equal(brighten(images, muscle)[0], fits[0])
