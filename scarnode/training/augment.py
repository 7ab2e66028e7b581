"""Augmentation of a batch of windows, vectorised in torch: what other scanners, operators and patients would change."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from scarnode.pipeline.segment.grid import blur
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.windows import normalise


def place(
    image: torch.Tensor, label: torch.Tensor, size: int, shift: float, generator: torch.Generator, *, warp: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turn, mirror, shift (and with `warp` scale and misalign) windows, all slices of a window alike.

    Parameters
    ----------
    image, label : torch.Tensor
        (windows, slices, rows, columns), float32 and uint8, around the heart.
    size : int
        Rows and columns of the result.
    shift : float
        Largest displacement of the centre, pixels.
    warp : bool
        Also scale by up to 22 %, stretch by up to 7 %, and shift single slices as breathing does.
    """
    n, depth, height, width = image.shape

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    angle = uniform(-math.pi, math.pi)
    scale = torch.exp(uniform(-0.2, 0.2)) if warp else torch.ones(n)
    stretch = torch.exp(uniform(-0.07, 0.07)) if warp else torch.ones(n)
    mirror = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cos, sin = torch.cos(angle), torch.sin(angle)
    # Per slice, in units of grid_sample (-1 .. 1 over the source): output pixel -> source pixel.
    matrix = torch.stack([mirror * cos * scale * stretch, -sin * scale, mirror * sin * scale * stretch, cos * scale], 1)
    matrix = (matrix.reshape(n, 1, 2, 2) * (size / torch.tensor([width, height]).float()).reshape(2, 1)).repeat(
        1, depth, 1, 1
    )
    offset = uniform(-shift, shift, 1, 2).repeat(1, depth, 1)
    if warp:
        slipped = (uniform(0, 1, 1, 1) < 0.4) * torch.randn(n, depth, 2, generator=generator)
        offset = offset + slipped * 1.2
    offset = offset * 2 / torch.tensor([width, height]).float()
    theta = torch.cat([matrix, offset.unsqueeze(-1)], dim=-1).flatten(0, 1)
    grid = F.affine_grid(theta, [n * depth, 1, size, size], align_corners=False)
    moved = F.grid_sample(image.reshape(-1, 1, height, width), grid, align_corners=False)
    labels = F.grid_sample(label.reshape(-1, 1, height, width).float(), grid, mode="nearest", align_corners=False)
    return moved.reshape(n, depth, size, size), labels.reshape(n, depth, size, size).to(torch.uint8)


def recolour(image: torch.Tensor, label: torch.Tensor, generator: torch.Generator, plain: float = 0.3) -> torch.Tensor:
    """Change contrast, nulling, coil shading, sharpness and noise of windows; each change strikes some windows only.

    Takes and gives (windows, slices, rows, columns); the result is normalised by `normalise`. A share of `plain`
    windows stays as it is: the network also has to read a clean image.
    """
    n = len(image)

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(n, *(shape or (1, 1, 1)), generator=generator)

    def sometimes(probability: float, changed: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        return torch.where(torch.rand(n, 1, 1, 1, generator=generator) < probability, changed, image)

    x = (normalise(image) + 1) / 2
    x = sometimes(0.5, _retint(x, label, uniform), x)
    muscle = _mean(x, label == Tissue.MYOCARDIUM)
    # Magnitude images: what lies below the null is folded up, or lost in the noise.
    null = muscle + uniform(-0.15, 0.1)
    x = sometimes(
        0.3, torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.5, (x - null).abs(), F.relu(x - null)), x
    )
    x = x / x.amax((1, 2, 3), keepdim=True).clamp(min=1e-3)
    x = sometimes(0.6, x.clamp(min=0) ** torch.exp(uniform(-0.6, 0.9)), x)
    shading = F.interpolate(
        torch.randn(n, 1, 4, 4, generator=generator), x.shape[-2:], mode="bicubic", align_corners=False
    )
    x = sometimes(0.5, x * torch.exp(0.3 * shading), x)
    softer = blur(x, 0.9, 0.9)
    x = sometimes(0.3, softer + (x - softer) * uniform(0, 0.7), x)
    x = sometimes(0.25, x + (x - softer) * uniform(0.3, 1.5), x)
    x = sometimes(0.2, _coarser(x, float(torch.empty(1).uniform_(1.3, 2.2, generator=generator))), x)
    noise = torch.randn(x.shape, generator=generator)
    smooth = blur(noise, 0.7, 0.7) * 2
    noise = torch.where(torch.rand(n, 1, 1, 1, generator=generator) < 0.5, smooth, noise)
    amount = uniform(0, 0.09)
    x = sometimes(0.5, x + amount * noise, x)
    x = sometimes(0.08, x + uniform(0.05, 0.25) * x.roll(int(torch.randint(10, 60, (1,), generator=generator)), -2), x)
    return normalise(sometimes(plain, image, _border(x, uniform)))


def crop(
    image: torch.Tensor, label: torch.Tensor, size: int, generator: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cut a square of `size` pixels at a place drawn for each window."""
    free = image.shape[-1] - size
    if free <= 0:
        return image, label
    at = torch.randint(0, free + 1, (len(image), 2), generator=generator).tolist()
    images = [window[:, r : r + size, c : c + size] for window, (r, c) in zip(image, at, strict=True)]
    labels = [window[:, r : r + size, c : c + size] for window, (r, c) in zip(label, at, strict=True)]
    return torch.stack(images), torch.stack(labels)


def _retint(x: torch.Tensor, label: torch.Tensor, uniform: Callable[[float, float], torch.Tensor]) -> torch.Tensor:
    """Shift the brightness of blood, normal myocardium and scar, scar staying brighter than normal myocardium."""
    masks = {tissue: (label == tissue).float() for tissue in (Tissue.BLOOD, Tissue.MYOCARDIUM, Tissue.SCAR)}
    level = {tissue: _mean(x, mask > 0) for tissue, mask in masks.items()}
    shift = {
        Tissue.BLOOD: uniform(-0.25, 0.3),
        Tissue.MYOCARDIUM: uniform(-0.3, 0.12),
        Tissue.SCAR: uniform(-0.15, 0.3),
    }
    muscle = level[Tissue.MYOCARDIUM] + shift[Tissue.MYOCARDIUM]
    shift[Tissue.SCAR] = torch.maximum(shift[Tissue.SCAR], muscle + 0.12 - level[Tissue.SCAR])
    shift[Tissue.BLOOD] = torch.maximum(shift[Tissue.BLOOD], muscle + 0.05 - level[Tissue.BLOOD])
    return x + sum(shift[tissue] * blur(mask, 0.7, 0.7) for tissue, mask in masks.items())


def _mean(x: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    return (x * mask).sum((1, 2, 3), keepdim=True) / mask.sum((1, 2, 3), keepdim=True).clamp(min=1)


def _coarser(x: torch.Tensor, factor: float) -> torch.Tensor:
    small = F.interpolate(
        blur(x, 0.4 * factor, 0.4 * factor), scale_factor=1 / factor, mode="bilinear", align_corners=False
    )
    return F.interpolate(small, x.shape[-2:], mode="bicubic", align_corners=False)


def _border(x: torch.Tensor, uniform: Callable[[float, float], torch.Tensor]) -> torch.Tensor:
    """Black borders as on rectangular fields of view."""
    rows, columns = (torch.linspace(-1, 1, size) for size in x.shape[-2:])
    edge = torch.where(uniform(0, 1) < 0.12, uniform(0.55, 1.1), 2.0)
    along = uniform(0, 1) < 0.5
    far = torch.where(along, rows.reshape(1, 1, -1, 1), columns.reshape(1, 1, 1, -1)).abs()
    return torch.where(far > edge, 0.0, x)
