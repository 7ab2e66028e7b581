"""What the scanner does to the picture: coils, ghosts, wrap, k-space, noise, reconstruction and storage.

Order: complex image, coil sensitivity, ghosts, wrap, k-space crop with window and partial Fourier, complex
noise, zero fill (the crop and the fill are one step on the image's own grid), magnitude or phase-sensitive real part,
edge enhancement, gamma, 12-bit scale. The shift of single slices by breathing is part of the geometry (`SlicePlan`).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Corruption:
    """Settings of one acquisition.

    Attributes
    ----------
    noise : float
        SD of each complex channel in the image, dense scar at the null of myocardium = 1 (before coil shading).
    acquired : tuple of float
        Acquired pixel along (v, u), mm; finer image pixels are zero filled.
    partial_fourier : float
        Acquired part of the phase-encoding axis, 0.6 to 1.
    window : float
        0: no k-space filter; 1: full Hann.
    ghost : float
        Amplitude of the ghost, part of the image.
    ghost_shift : float
        Displacement, part of the field of view.
    phase_axis : int
        -2 when phases are encoded along columns (v), -1 along rows.
    wrap : int
        Pixels rendered beyond each end of the phase axis and folded back.
    shading : float
        0: even coils; 1: strong surface-coil shading.
    sharpen : float
        Amount of unsharp masking.
    gamma : float
    full_scale : float
        Stored value of the brightest part (99.8th percentile).
    """

    noise: float
    acquired: tuple[float, float]
    partial_fourier: float
    window: float
    ghost: float
    ghost_shift: float
    phase_axis: int
    wrap: int
    shading: float
    sharpen: float
    gamma: float
    full_scale: float


def draw_corruption(
    rng: np.random.Generator, spacing: float, rows: int, training: bool, snr: float | None
) -> Corruption:
    """Draw an acquisition for images of `spacing` mm pixels; wider variation for training."""
    drawn = float(np.exp(rng.uniform(np.log(8), np.log(40))))
    read = max(rng.uniform(1.2, 1.9), spacing)
    phase = read * rng.uniform(1.0, 1.5)
    phase_axis = int(rng.choice([-2, -1], p=[0.75, 0.25]))
    return Corruption(
        noise=1 / (snr or drawn),
        acquired=(phase, read) if phase_axis == -2 else (read, phase),
        partial_fourier=rng.uniform(0.65, 0.9) if rng.random() < 0.2 else 1.0,
        window=rng.uniform(0.2, 1.0) if rng.random() < 0.6 else 0.0,
        ghost=rng.uniform(0.03, 0.2) if rng.random() < (0.3 if training else 0.15) else 0.0,
        ghost_shift=rng.uniform(0.08, 0.5),
        phase_axis=phase_axis,
        wrap=int(rng.uniform(0.05, 0.18) * rows) if rng.random() < (0.2 if training else 0.1) else 0,
        shading=rng.uniform(0.2, 1.0) if rng.random() < 0.85 else 0.0,
        sharpen=rng.uniform(0.2, 0.8) if rng.random() < 0.25 else 0.0,
        gamma=float(np.exp(rng.uniform(np.log(0.7), np.log(1.4))))
        if rng.random() < (0.5 if training else 0.15)
        else 1.0,
        full_scale=rng.uniform(500, 3600),
    )


def coil_sensitivity(
    rows: int, columns: int, spacing: float, strength: float, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """Return a smooth sensitivity (rows, columns) of a chest and a spine array, 1 at the image's centre.

    Combined magnitude of loops around the body: each falls with the cube of its distance.
    """
    v = ((torch.arange(rows, device=device) - rows / 2) * spacing)[:, None]
    u = ((torch.arange(columns, device=device) - columns / 2) * spacing)[None]
    power = torch.zeros(rows, columns, device=device)
    start = rng.uniform(0, 2 * np.pi)
    for k in range(6):
        angle = start + k * np.pi / 3 + rng.normal(0, 0.2)
        far = rng.uniform(130, 230)
        away2 = (v - far * np.sin(angle)) ** 2 + (u - far * np.cos(angle)) ** 2
        size = rng.uniform(60, 120)
        power = power + rng.uniform(0.2, 1.0) * (size**2 / (size**2 + away2)) ** 3
    sensitivity = torch.sqrt(power)
    sensitivity = sensitivity / sensitivity[rows // 2, columns // 2]
    return 1 + strength * (sensitivity - 1)


def _phase(slices: int, rows: int, columns: int, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Background phase: a low polynomial per slice, radian."""
    v = torch.linspace(-1, 1, rows, device=device)[None, :, None]
    u = torch.linspace(-1, 1, columns, device=device)[None, None]
    c = torch.from_numpy(rng.normal(0, 1, (6, slices, 1, 1)).astype(np.float32)).to(device)
    return 3 * c[0] + 1.5 * (c[1] * v + c[2] * u) + 0.5 * (c[3] * v * v + c[4] * u * u + c[5] * u * v)


def _kspace(image: Tensor, spacing: float, settings: Corruption, rng: np.random.Generator) -> Tensor:
    """Crop and filter k-space, add noise where it was sampled, and go back."""
    rows, columns = image.shape[-2:]
    device = image.device
    axes = []
    for axis, count in ((-2, rows), (-1, columns)):
        f = torch.fft.fftfreq(count, device=device) * (settings.acquired[axis] / spacing) * 2  # 1 at the acquired edge
        sampled = (f.abs() <= 1).float()
        if axis == settings.phase_axis and settings.partial_fourier < 1:
            sampled = sampled * (f >= -(2 * settings.partial_fourier - 1)).float()
        taper = 1 - settings.window * (0.5 - 0.5 * torch.cos(np.pi * f.abs().clamp(max=1)))
        axes.append((sampled, taper))
    sampled = axes[0][0][:, None] * axes[1][0][None]
    filtered = sampled * axes[0][1][:, None] * axes[1][1][None]
    k = torch.fft.fft2(image, norm="ortho")
    noise = rng.standard_normal((*image.shape, 2), dtype=np.float32)
    # SD per channel of the image is `noise`, whatever part of k-space is sampled and however it is weighted.
    gain = settings.noise / float(torch.sqrt((filtered**2).mean()))
    k = k * filtered + gain * torch.view_as_complex(torch.from_numpy(noise)).to(device) * filtered
    return torch.fft.ifft2(k, norm="ortho")


def corrupt(
    signal: Tensor,
    spacing: float,
    component: str,
    settings: Corruption,
    rng: np.random.Generator,
) -> Tensor:
    """Turn signed signal into the image a scanner stores.

    Parameters
    ----------
    signal : torch.Tensor
        Signed, shape (slices, rows + 2 x wrap on the phase axis, columns ...).
    spacing : float
        mm.
    component : {"magnitude", "psir"}
    settings : Corruption
    rng : numpy.random.Generator

    Returns
    -------
    torch.Tensor
        float32 whole numbers in 0..4095, shape (slices, rows, columns).
    """
    slices, rows, columns = signal.shape
    device = signal.device
    image = signal
    if settings.shading:
        image = image * coil_sensitivity(rows, columns, spacing, settings.shading, rng, device)
    if settings.ghost:
        size = image.shape[settings.phase_axis]
        angle = torch.from_numpy(rng.uniform(0, 2 * np.pi, (slices, 1, 1)).astype(np.float32)).to(device)
        image = image + settings.ghost * torch.cos(angle) * sum(
            torch.roll(image, int(sign * settings.ghost_shift * size), dims=settings.phase_axis) for sign in (-1, 1)
        )
    if settings.wrap:
        image = fold(image, settings.wrap, settings.phase_axis)
        rows, columns = image.shape[-2:]
    phase = _phase(slices, rows, columns, rng, device)
    turned = torch.polar(torch.ones_like(phase), phase)
    image = _kspace(image * turned, spacing, settings, rng)
    image = (image * turned.conj()).real if component == "psir" else image.abs()
    if settings.sharpen:
        blurred = F.avg_pool2d(image[:, None], 3, 1, 1, count_include_pad=False)[:, 0]
        image = image + settings.sharpen * (image - blurred)
    return store(image, component, settings.gamma, settings.full_scale)


def fold(image: Tensor, pixels: int, axis: int) -> Tensor:
    """Fold `pixels` at each end of `axis` over to the other side, as too small a field of view does."""
    size = image.shape[axis] - 2 * pixels
    kept = image.narrow(axis, pixels, size).clone()
    kept.narrow(axis, size - pixels, pixels).add_(image.narrow(axis, 0, pixels))
    kept.narrow(axis, 0, pixels).add_(image.narrow(axis, size + pixels, pixels))
    return kept


def store(image: Tensor, component: str, gamma: float, full_scale: float) -> Tensor:
    """Scale to whole numbers in 0..4095. PSIR gets an offset, so that negative signal stays visible."""
    thinned = image[:, ::3, ::3].reshape(-1)
    low = 0.0
    if component == "psir":
        low = float(torch.quantile(thinned, 0.002)) * 1.2
    high = float(torch.quantile(thinned, 0.998))
    unit = ((image - low) / max(high - low, 1e-6)).clamp(min=0)
    return torch.round(unit**gamma * full_scale).clamp(0, 4095)
