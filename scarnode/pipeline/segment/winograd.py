"""Convolutions of 3 x 3 pixels with a quarter of the multiplications, for processors that multiply float32 only.

Winograd's minimal filtering F(4 x 4, 3 x 3): Lavin and Gray, Fast algorithms for convolutional neural networks, CVPR
2016:4013, whose matrices these are. 16 pixels of output cost 36 multiplications in place of 144; what comes on top, the
way to the tiles and back, pays where there are many channels. The sums are those of a convolution, rounded otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

TILE = 4
"""Rows and columns of output that are computed at once."""
_SEEN = TILE + 2
_INPUT = torch.tensor(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ],
    dtype=torch.float64,
)
_KERNEL = (
    torch.tensor([[6, 0, 0], [-4, -4, -4], [-4, 4, -4], [1, 2, 4], [1, -2, 4], [0, 0, 24]], dtype=torch.float64) / 24
)
_OUTPUT = torch.tensor(
    [[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]], dtype=torch.float64
)
_TO_TILES, _FROM_TILES = torch.kron(_INPUT, _INPUT).float(), torch.kron(_OUTPUT, _OUTPUT).float()
"""(36, 36) and (16, 36): for tiles whose pixels stand in one row."""
_AT_ONCE = 384
"""Tiles: their values for some hundred channels stay in a processor's cache."""


@dataclass(frozen=True)
class Winograd:
    """A zero-padded convolution of 3 x 3 pixels, and of 3 slices where the slices of a window stand beside each other.

    Attributes
    ----------
    kernel : torch.Tensor
        (36, reach * channels in, channels out), as `winograd` makes it.
    bias : torch.Tensor
        (channels out,).
    reach : int
        Slices that the kernel sees: 3 or 1.
    depth : int
        Slices that stand beside each other, as channels.
    """

    kernel: torch.Tensor
    bias: torch.Tensor
    reach: int
    depth: int

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Take and give (n, depth * channels, rows, columns), channels last."""
        return self._convolved(x, cut=False)

    def relu(self, x: torch.Tensor) -> torch.Tensor:
        """Convolve, and cut off what is below zero."""
        return self._convolved(x, cut=True)

    def _convolved(self, x: torch.Tensor, *, cut: bool) -> torch.Tensor:
        into, out = self.kernel.shape[1] // self.reach, self.kernel.shape[2]
        n, _, rows, columns = x.shape
        down, across = -(-rows // TILE), -(-columns // TILE)
        found = x.new_empty(n, TILE * down, TILE * across, self.depth, out)
        padding = (0, 0, 1, TILE * across - columns + 1, 1, TILE * down - rows + 1)
        many = max(1, _AT_ONCE // (down * across))
        for first in range(0, n, many):
            tiles = _tiles(F.pad(x[first : first + many].permute(0, 2, 3, 1), padding), down, across)
            tiles = torch.bmm(_TO_TILES.expand(len(tiles), -1, -1), tiles).transpose(0, 1)
            here = found[first : first + many].unflatten(1, (down, TILE)).unflatten(3, (across, TILE))
            for slice_ in range(self.depth):
                low, high = max(slice_ - self.reach // 2, 0), min(slice_ + self.reach // 2 + 1, self.depth)
                seen = slice((low - slice_ + self.reach // 2) * into, (high - slice_ + self.reach // 2) * into)
                product = torch.bmm(tiles[:, :, low * into : high * into], self.kernel[:, seen]).transpose(0, 1)
                pixels = torch.bmm(_FROM_TILES.expand(len(product), -1, -1), product).add_(self.bias)
                if cut:
                    pixels.relu_()
                pixels = pixels.view(-1, down, across, TILE, TILE, out)
                here[..., slice_, :] = pixels.transpose(2, 3)
        return found[:, :rows, :columns].flatten(3).permute(0, 3, 1, 2)


def winograd(weight: torch.Tensor, bias: torch.Tensor, depth: int) -> Winograd:
    """Lay a convolution out.

    Parameters
    ----------
    weight : torch.Tensor
        (channels out, channels in, 3 or 1 slices, 3, 3).
    bias : torch.Tensor
        (channels out,).
    depth : int
        Slices of a window.
    """
    out, into, reach = weight.shape[:3]
    kernel = torch.einsum("ir,oczrs,js->ijzco", _KERNEL, weight.detach().double(), _KERNEL)
    kernel = kernel.reshape(_SEEN**2, reach * into, out).float().contiguous()
    return Winograd(kernel, bias.detach().float(), reach, depth)


def _tiles(padded: torch.Tensor, down: int, across: int) -> torch.Tensor:
    """(n, rows, columns, channels) as (n * down * across, 36, channels): the pixels of overlapping tiles."""
    n, _, _, channels = padded.shape
    image, row, column, _ = padded.stride()
    shape = (n, down, across, _SEEN, _SEEN, channels)
    strides = (image, TILE * row, TILE * column, row, column, 1)
    return padded.as_strided(shape, strides).reshape(-1, _SEEN**2, channels)
