"""Winograd's way gives what a convolution gives."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import conv3d

from scarnode.pipeline.segment.winograd import winograd


def beside(volume: torch.Tensor) -> torch.Tensor:
    """(n, channels, depth, rows, columns) with the slices beside each other as channels, channels last."""
    return volume.transpose(1, 2).flatten(1, 2).contiguous(memory_format=torch.channels_last)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n=st.integers(1, 40),
    into=st.integers(1, 9),
    out=st.integers(1, 9),
    reach=st.sampled_from([1, 3]),
    depth=st.integers(1, 4),
    rows=st.integers(1, 19),
    columns=st.integers(1, 19),
)
def test_any_shape_gives_the_sums_of_a_3d_convolution(seed, n, into, out, reach, depth, rows, columns):
    torch.manual_seed(seed)
    x, weight, bias = torch.randn(n, into, depth, rows, columns), torch.randn(out, into, reach, 3, 3), torch.randn(out)
    expected = beside(conv3d(x, weight, bias, padding=(reach // 2, 1, 1)))
    convolve = winograd(weight, bias, depth)
    found = convolve(beside(x))
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)
    torch.testing.assert_close(convolve.relu(beside(x)), expected.relu(), atol=2e-4, rtol=1e-4)


def test_rounding_stays_small_where_many_channels_are_summed():
    torch.manual_seed(0)
    x, weight = torch.randn(2, 192, 3, 32, 32), torch.randn(96, 192, 3, 3, 3) / (192 * 27) ** 0.5
    exact = beside(conv3d(x.double(), weight.double(), padding=1))
    found = winograd(weight, torch.zeros(96), 3)(beside(x))
    assert (found - exact).abs().max() < 1e-4  # of sums whose standard deviation is 1


@pytest.mark.parametrize("n", [1, 7])
def test_the_input_is_left_as_it_was(n):
    x = torch.randn(n, 6, 8, 8).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    winograd(torch.randn(4, 2, 3, 3, 3), torch.zeros(4), 3).relu(x)
    assert torch.equal(x, before)
