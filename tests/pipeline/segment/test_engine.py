"""The engine computes what the network computes."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.pipeline.segment.engine import Engine, best_dtype
from scarnode.pipeline.segment.unet import UNet, UNetSettings
from scarnode.pipeline.segment.windows import window_indices

CPU = torch.device("cpu")


def make(seed: int, **chosen: int) -> UNet:
    """Give a network whose normalisation has seen something: means and variances that are not 0 and 1."""
    torch.manual_seed(seed)
    network = UNet(UNetSettings(width=8, **chosen))
    with torch.no_grad():
        for _ in range(2):
            network(torch.randn(2, 1, 3, 32, 32) * 2 + 0.5)
    return network.eval()


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    slices=st.integers(1, 7),
    dims=st.sampled_from([2, 3]),
    levels=st.integers(1, 4),
    planar=st.integers(0, 4),
    classes=st.integers(2, 5),
    rows=st.sampled_from([8, 16, 24]),
    columns=st.sampled_from([8, 32]),
)
def test_any_network_and_its_engine_agree(seed, slices, dims, levels, planar, classes, rows, columns):
    network = make(seed, dims=dims, levels=levels, planar=min(planar, levels), classes=classes)
    stack, windows = torch.randn(slices, rows, columns), window_indices(slices)
    with torch.inference_mode():
        expected = network(stack[torch.tensor(windows)][:, None])
        found = Engine(network, CPU, depth=3)(stack, windows)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, expected, atol=2e-4, rtol=1e-4)


def test_windows_of_one_slice_are_what_a_network_of_the_plane_sees():
    network = make(1, dims=2, classes=5)
    stack = torch.randn(4, 32, 40)
    with torch.inference_mode():
        found = Engine(network, CPU, depth=1)(stack, [[0], [1], [2], [3]])
        torch.testing.assert_close(found, network(stack[:, None, None]), atol=2e-4, rtol=1e-4)


def test_windows_may_come_in_any_order_and_twice():
    network = make(2, planar=2)
    stack, windows = torch.randn(5, 16, 16), [[2, 3, 4], [0, 1, 2], [2, 3, 4], [1, 1, 1]]
    with torch.inference_mode():
        found = Engine(network, CPU, depth=3)(stack, windows)
        torch.testing.assert_close(found, network(stack[torch.tensor(windows)][:, None]), atol=2e-4, rtol=1e-4)


def test_bfloat16_is_near():
    network = make(3, planar=2)
    stack, windows = torch.randn(5, 32, 32), window_indices(5)
    with torch.inference_mode():
        found = Engine(network, CPU, 3, torch.bfloat16)(stack, windows)
        expected = network(stack[torch.tensor(windows)][:, None])
    assert (found - expected).abs().mean() < 0.02 * expected.abs().mean()


def test_the_network_is_left_as_it_was():
    network = make(4, planar=1)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with torch.inference_mode():
        Engine(network, CPU, 3, torch.bfloat16)(torch.randn(3, 16, 16), [[0, 1, 2]])
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize(("flags", "dtype"), [("fpu avx2", torch.float32), ("fpu avx512_bf16", torch.bfloat16)])
def test_the_processor_says_what_it_knows(monkeypatch, flags, dtype):
    monkeypatch.setattr("pathlib.Path.read_text", lambda *_args, **_kwargs: f"processor : 0\nflags\t\t: {flags}\n")
    assert best_dtype(CPU) is dtype
