"""The networks laid out for fast inference: they compute the same sums as `scarnode.pipeline.segment.unet`.

Five things make it two to six times as fast on a CPU as the network itself (benchmarks/inference.py):

- normalisation is folded into the convolution before it, and weights are converted once;
- levels with kernels in the plane (`UNetSettings.planar`) process every slice once, not once for each of its three
  windows; on the way up, this holds for the half of the input that comes across;
- in the levels below, the slices of a window are channels: a 3 x 3 x 3 convolution becomes one 2D convolution with a
  banded kernel, without a copy of its input;
- there, Winograd's algorithm saves most multiplications on a processor with float32 only
  (`scarnode.pipeline.segment.winograd`);
- input from below is convolved before it is enlarged: the same sums from four pixels instead of nine.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch
import torch.nn.functional as F
from torch import nn

from scarnode.pipeline.segment.unet import Block, SliceConv, UNet
from scarnode.pipeline.segment.winograd import Winograd, winograd

_CHANNELS = 2
"""Of an image: itself and zeros. With one channel torch takes four times as long, and gives up the layout."""


_ONE_STEP = getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch.backends.mkldnn.is_available() else None
_ONE_STEP_IN = {torch.float32}
if _ONE_STEP is not None and torch.ops.mkldnn._is_mkldnn_bf16_supported():
    _ONE_STEP_IN.add(torch.bfloat16)
_MANY_CHANNELS = 32
"""Of a slice, in and out: from here on Winograd's way is the faster one."""


@dataclass(frozen=True)
class _Conv:
    """A convolution of 3 x 3 pixels, zero-padded."""

    weight: torch.Tensor
    bias: torch.Tensor

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.weight, self.bias, padding=1)

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve, and cut off what is below zero: on a CPU in one step, as torch's compiler writes it (inductor).

        The same values; a fifth less time for a convolution of few channels, which waits for memory.
        """
        if x.device.type == "cpu" and _ONE_STEP is not None and x.dtype in _ONE_STEP_IN:
            once = [1, 1]
            return _ONE_STEP(x, self.weight, self.bias, once, once, once, 1, "relu", [], None)
        return self(x).relu_()


@dataclass(frozen=True)
class _Enlarging:
    """Nearest pixels doubled in rows and columns, then a convolution of 3 x 3, as one.

    Nine neighbours on the fine grid lie on four pixels of the coarse one: a kernel of 2 x 2 for each of the four fine
    pixels that become of a coarse one (sub-pixel convolution: Shi et al., CVPR 2016:1874).
    """

    weight: torch.Tensor

    def onto(self, fine: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        """Add to `fine`, in place, what comes of x, which has half as many rows and columns."""
        rows, columns = x.shape[2:]
        found = F.conv2d(x, self.weight, padding=1).permute(0, 2, 3, 1)  # around each corner of four coarse pixels
        out = found.shape[3] // 4
        image, row, column, _ = found.stride()
        shape, strides = (len(x), rows, 2, columns, 2, out), (image, row, row + 2 * out, column, column + out, 1)
        halved = fine.permute(0, 2, 3, 1).unflatten(2, (columns, 2)).unflatten(1, (rows, 2))
        halved.add_(found.as_strided(shape, strides))
        return fine


@dataclass(frozen=True)
class _Down:
    """A level on the way down."""

    first: _Conv | Winograd
    second: _Conv | Winograd
    planar: bool


@dataclass(frozen=True)
class _Up:
    """A level on the way up. Its first convolution stands in halves: of what comes across, and of what from below."""

    reduce: tuple[torch.Tensor, torch.Tensor]
    across: _Conv | Winograd
    below: _Enlarging
    second: _Conv | Winograd
    planar: bool


class Engine:
    """A trained network for inference.

    Parameters
    ----------
    network : UNet
        In evaluation mode.
    device : torch.device
    depth : int
        Slices of a window.
    dtype : torch.dtype
        What is computed in; float32 agrees with `network` up to rounding.
    """

    def __init__(self, network: UNet, device: torch.device, depth: int, dtype: torch.dtype = torch.float32) -> None:
        self._device, self._depth, self._dtype = device, depth, dtype
        levels = network.settings.levels
        planar = [network.settings.depth(level) == 1 for level in range(levels)]
        self._down = [
            self._downward(cast(Block, block), planar[level], empty=0 if level else _CHANNELS - 1)
            for level, block in enumerate(network.down)
        ]
        upwards = zip(range(levels - 2, -1, -1), network.reduce, network.up, strict=True)
        self._up = [
            self._upward(cast(nn.Conv2d, reduce), cast(Block, block), planar[level]) for level, reduce, block in upwards
        ]
        weight, bias = _values(network.head)
        self._head = self._stored(weight), self._stored(bias)

    def in_words(self) -> str:
        """Describe what it computes on and in, e.g. ``NVIDIA H100 (cuda:0), bfloat16`` or ``CPU, 8 threads,
        float32``.
        """
        kind = str(self._dtype).removeprefix("torch.")
        if self._device.type == "cuda":
            return f"{torch.cuda.get_device_name(self._device)} ({self._device}), {kind}"
        return f"{self._device.type.upper()}, {torch.get_num_threads()} threads, {kind}"

    def __call__(self, stack: torch.Tensor, windows: list[list[int]]) -> torch.Tensor:
        """Class logits of windows of a stack.

        Parameters
        ----------
        stack : torch.Tensor
            (slices, rows, columns), normalised; rows and columns divisible by ``2 ** (levels - 1)``.
        windows : list of list of int
            The slices of each window.

        Returns
        -------
        torch.Tensor
            (windows, classes, depth, rows, columns), float32, on the engine's device.
        """
        seen = torch.tensor(windows, device=self._device).flatten()
        x = F.pad(stack[:, None].to(self._device, self._dtype), (0, 0, 0, 0, 0, _CHANNELS - 1))
        x = x.contiguous(memory_format=torch.channels_last)
        beside = False  # whether the slices of a window stand beside each other, as channels
        skips: list[torch.Tensor] = []
        for level in self._down:
            if skips:
                x = F.max_pool2d(x, 2)
            if not level.planar and not beside:
                x, beside = _beside(x[seen], self._depth), True
            x = level.second.relu(level.first.relu(x))
            skips.append(x)
        skips.pop()
        by_window = beside
        for up in self._up:
            x = F.linear(_last(x, self._depth if beside else 1), *up.reduce)
            if beside and up.planar:
                x, beside = x.permute(0, 3, 1, 2, 4).flatten(0, 1), False
            across = up.across(skips.pop())
            if by_window and up.planar:
                across = across[seen]
            x = up.second.relu(up.below.onto(across, x.flatten(3).permute(0, 3, 1, 2)).relu_())
        if beside:
            x = _last(x, self._depth).permute(0, 3, 4, 1, 2).flatten(0, 1)
        logits = F.conv2d(x, *self._head).float()
        return (logits if by_window else logits[seen]).unflatten(0, (-1, self._depth)).transpose(1, 2)

    def _downward(self, block: Block, planar: bool, empty: int) -> _Down:
        """Lay a level out; its input has `empty` channels more than the network's."""
        weight, bias = _folded(block.conv1, block.norm1)
        first = self._conv_of(F.pad(weight, (0, 0) * 3 + (0, empty)), bias, planar)
        return _Down(first, self._conv(block.conv2, block.norm2, planar), planar)

    def _upward(self, reduce: nn.Conv2d, block: Block, planar: bool) -> _Up:
        weight, bias = _folded(block.conv1, block.norm1)
        across, of_across = _values(reduce)
        half = weight.shape[1] // 2
        return _Up(
            (self._stored(across[:, :, 0, 0]), self._stored(of_across)),
            self._conv_of(weight[:, :half], bias, planar),
            _Enlarging(self._stored(_of_coarse(self._flat(weight[:, half:], planar)))),
            self._conv(block.conv2, block.norm2, planar),
            planar,
        )

    def _conv(self, conv: SliceConv, norm: nn.BatchNorm2d, planar: bool) -> _Conv | Winograd:
        return self._conv_of(*_folded(conv, norm), planar)

    def _conv_of(self, weight: torch.Tensor, bias: torch.Tensor, planar: bool) -> _Conv | Winograd:
        alone = self._device.type == "cpu" and self._dtype == torch.float32
        if alone and not planar and min(weight.shape[:2]) >= _MANY_CHANNELS:
            return winograd(weight, bias, self._depth)
        bias = bias if planar else bias.repeat(self._depth)
        return _Conv(self._stored(self._flat(weight, planar)), self._stored(bias))

    def _flat(self, weight: torch.Tensor, planar: bool) -> torch.Tensor:
        """(out, in, slices, 3, 3) as a 2D kernel: of one slice, or of slices that stand beside each other."""
        return weight[:, :, 0] if planar else _banded(weight, self._depth)

    def _stored(self, values: torch.Tensor) -> torch.Tensor:
        values = values.detach().to(self._device, self._dtype)
        return values.contiguous(memory_format=torch.channels_last) if values.ndim == 4 else values.contiguous()


def best_dtype(device: torch.device) -> torch.dtype:
    """Return bfloat16 where the processor multiplies it itself (emulated, it is slower than float32), else float32.

    The choice depends on the hardware's features, not on a measured time: the same stack on the same machine must give
    the same result, also after a crash and under load.
    """
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return torch.float32
    features = next((line.split() for line in text.splitlines() if line.startswith("flags")), [])
    return torch.float32 if {"avx512_bf16", "amx_bf16"}.isdisjoint(features) else torch.bfloat16


def _values(conv: nn.Conv2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution that has a bias."""
    if conv.bias is None:
        raise TypeError("a convolution without bias")
    return conv.weight, conv.bias


def _folded(conv: SliceConv, norm: nn.BatchNorm2d) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias of a convolution and the normalisation after it, in one."""
    mean, variance = norm.running_mean, norm.running_var
    if mean is None or variance is None:
        raise TypeError("a normalisation without running statistics")
    scale = norm.weight / torch.sqrt(variance + norm.eps)
    return conv.weight * scale[:, None, None, None, None], norm.bias - mean * scale


def _banded(weight: torch.Tensor, depth: int) -> torch.Tensor:
    """(out, in, 3, 3, 3) as one 2D kernel over slices that stand beside each other: (depth * out, depth * in, 3, 3)."""
    out, into, reach = weight.shape[:3]
    banded = weight.new_zeros(depth, out, depth, into, 3, 3)
    for there in range(depth):
        for here in range(depth):
            if abs(there - here) <= reach // 2:
                banded[there, :, here] = weight[:, :, here - there + reach // 2]
    return banded.flatten(2, 3).flatten(0, 1)


def _of_coarse(weight: torch.Tensor) -> torch.Tensor:
    """(out, in, 3, 3) on the fine grid as (4 * out, in, 2, 2) on the coarse one: upper left, upper right, lower ..."""
    falls_on = weight.new_tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]])  # fine row, coarse row, kernel's row
    return torch.einsum("arm,bcn,oimn->aboirc", falls_on, falls_on, weight).flatten(0, 2)


def _beside(x: torch.Tensor, depth: int) -> torch.Tensor:
    """(windows * depth, channels, rows, columns) as (windows, depth * channels, rows, columns), channels last."""
    last = x.permute(0, 2, 3, 1).unflatten(0, (-1, depth))
    return last.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)


def _last(x: torch.Tensor, depth: int) -> torch.Tensor:
    """(n, depth * channels, rows, columns) as (n, rows, columns, depth, channels), without a copy."""
    return x.permute(0, 2, 3, 1).unflatten(3, (depth, -1))
