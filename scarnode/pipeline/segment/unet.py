"""The published U-Net, to be read from top to bottom: settings, one block, the network.

Source: Fahmy et al., Three-dimensional deep convolutional neural networks for automated myocardial scar
quantification in hypertrophic cardiomyopathy, Radiology 2020;294:52-60: four resolution levels, 3 x 3 x 3 kernels,
pooling in the plane only (three slices stay three slices), four classes. Its 2D network has "the exact same
architecture but with 2D convolutional kernels": here both take stacks of slices, the 2D
one looks at each slice alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


@dataclass(frozen=True)
class UNetSettings:
    """Everything that shapes the network; stored in the model card.

    Attributes
    ----------
    dims : int
        3: kernels reach into the neighbour slices; 2: every slice for itself.
    width : int
        Channels of the first level; each level below has twice as many.
    levels : int
        Resolution levels.
    planar : int
        How many of the finest levels keep their kernels in the plane (``dims`` 3). Slices lie 8-12 mm apart and
        breathing shifts them against each other: where pixels are far smaller than that, a neighbour slice's
        pixel says little (the rule of nnU-Net, Isensee et al., Nat Methods 2021;18:203). 0: as published.
    classes : int
        Output channels (`scarnode.pipeline.segment.Tissue`).
    norm : str
        ``"batch"``: what the cards name.
    """

    dims: int = 3
    width: int = 16
    levels: int = 4
    planar: int = 0
    classes: int = 4
    norm: str = "batch"

    def __post_init__(self) -> None:
        if self.dims not in (2, 3):
            raise ValueError(f"dims is {self.dims}, allowed are 2 and 3")
        if self.norm != "batch":
            raise ValueError(f"norm is {self.norm!r}, allowed is 'batch'")
        if self.width % 8 or self.width < 8 or self.levels < 1 or self.classes < 2:
            raise ValueError("width must be a multiple of 8, levels at least 1, classes at least 2")
        if not 0 <= self.planar <= self.levels:
            raise ValueError(f"planar is {self.planar}, allowed are 0 to {self.levels}")

    def depth(self, level: int) -> int:
        """Slices that a kernel of this level (0: the finest) reaches over."""
        return 3 if self.dims == 3 and level >= self.planar else 1


class SliceConv(nn.Module):
    """A convolution over a stack of slices: 3 x 3 x 3 or, for ``depth`` 1, 1 x 3 x 3; zero-padded.

    Computed as a 2D convolution over each slice and its two neighbours as channels, which gives the same sums as a 3D
    convolution: a CPU runs it several times faster, and torch 2.13's 3D kernels fail in bfloat16 on processors with
    AMX (memory corruption in the backward pass).
    """

    def __init__(self, channels_in: int, channels_out: int, depth: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels_out, channels_in, depth, 3, 3))
        nn.init.kaiming_normal_(self.weight, nonlinearity="relu")

    def forward(self, x: torch.Tensor, slices: int) -> torch.Tensor:
        """Take and give (windows * slices, channels, rows, columns)."""
        weight = self.weight
        if weight.shape[2] == 3:
            stacked = x.unflatten(0, (-1, slices))
            none = torch.zeros_like(stacked[:, :1])
            before, after = torch.cat([none, stacked[:, :-1]], 1), torch.cat([stacked[:, 1:], none], 1)
            x = torch.cat([before, stacked, after], 2).flatten(0, 1)
        x = x.contiguous(memory_format=torch.channels_last)
        return F.conv2d(x, weight.permute(0, 2, 1, 3, 4).flatten(1, 2), padding=1)


class Block(nn.Module):
    """Two times convolution, normalisation, ReLU."""

    def __init__(self, channels_in: int, channels_out: int, level: int, settings: UNetSettings) -> None:
        super().__init__()
        depth = settings.depth(level)
        self.conv1 = SliceConv(channels_in, channels_out, depth)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = SliceConv(channels_out, channels_out, depth)
        self.norm2 = nn.BatchNorm2d(channels_out)

    def forward(self, x: torch.Tensor, slices: int) -> torch.Tensor:
        """Take and give (windows * slices, channels, rows, columns)."""
        x = F.relu(self.norm1(self.conv1(x, slices)), inplace=True)
        return F.relu(self.norm2(self.conv2(x, slices)), inplace=True)


class UNet(nn.Module):
    """U-Net with in-plane pooling.

    Takes ``(windows, 1, slices, rows, columns)``, normalised by `scarnode.pipeline.segment.windows.normalise`; gives
    logits
    ``(windows, classes, slices, rows, columns)``. Rows and columns must be divisible by ``2 ** (levels - 1)``.
    """

    def __init__(self, settings: UNetSettings) -> None:
        super().__init__()
        self.settings = settings
        widths = [settings.width * 2**level for level in range(settings.levels)]
        given = [1, *widths[:-1]]
        self.down = nn.ModuleList(Block(given[level], widths[level], level, settings) for level in range(len(widths)))
        upwards = range(len(widths) - 2, -1, -1)
        self.reduce = nn.ModuleList(nn.Conv2d(widths[level + 1], widths[level], 1) for level in upwards)
        self.up = nn.ModuleList(Block(2 * widths[level], widths[level], level, settings) for level in upwards)
        self.head = nn.Conv2d(widths[0], settings.classes, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Logits of windows, see the class."""
        slices = x.shape[2]
        x = x.flatten(0, 2)[:, None]
        skips: list[torch.Tensor] = []
        for block in self.down:
            x = block(x if not skips else F.max_pool2d(x, 2), slices)
            skips.append(x)
        skips.pop()
        for reduce, block in zip(self.reduce, self.up, strict=True):
            # The 1 x 1 convolution comes before the enlargement: the same result for a quarter of the work.
            x = F.interpolate(reduce(x), scale_factor=2, mode="nearest")
            x = block(torch.cat([skips.pop(), x], dim=1), slices)
        return self.head(x).unflatten(0, (-1, slices)).transpose(1, 2)
