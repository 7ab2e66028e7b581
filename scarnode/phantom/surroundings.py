"""What lies around the heart: chest wall, lungs, diaphragm, abdomen, aorta and spine, painted as signal."""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d
from torch import Tensor

from scarnode.phantom.anatomy import ANGLES, Heart
from scarnode.phantom.render import SlicePlan, _resample

GRID = 1.5
"""mm: grid of the surroundings, unless the image's own pixels are larger."""


def _spread(count: int, knots: int) -> Tensor:
    """Weights (count, knots) that make a smooth curve of unit variance from independent knots."""
    apart = torch.linspace(0, knots - 1, count)[:, None] - torch.arange(knots)[None]
    weights = torch.exp(-((apart / 0.6) ** 2) / 2)
    return weights / torch.sqrt((weights**2).sum(dim=1, keepdim=True))


class _Canvas:
    """Signal over (slices, v, u), painted back to front with soft masks."""

    def __init__(self, plan: SlicePlan, rng: np.random.Generator, device: torch.device) -> None:
        self.step = max(GRID, plan.spacing)
        top, left = -plan.center[0] * plan.spacing, -plan.center[1] * plan.spacing
        self.v = torch.arange(top - 2, top + plan.rows * plan.spacing + 2 + self.step, self.step, device=device)
        self.u = torch.arange(left - 2, left + plan.columns * plan.spacing + 2 + self.step, self.step, device=device)
        self.rng, self.device, self.slices = rng, device, len(plan.positions)
        shift = torch.tensor(plan.shifts, dtype=torch.float32, device=device)
        # Organs are neither circles nor the same in each slice: bend the coordinates, smoothly across slices.
        bend = [rng.uniform(3, 8) * self.noise(60.0) + rng.uniform(0.5, 1.5) * self.noise(20.0) for _ in range(2)]
        self.V = self.v[None, :, None] - shift[:, 0, None, None] + bend[0]
        self.U = self.u[None, None, :] - shift[:, 1, None, None] + bend[1]
        self.w = torch.tensor(plan.positions - plan.positions.mean(), dtype=torch.float32, device=device)[:, None, None]
        self.signal = torch.zeros_like(self.U)
        self.chest = self.signal
        """Distance to the chest's inner wall (mm, positive inside), once it is painted."""

    def noise(self, size: float, across: float = 1.5) -> Tensor:
        """Random field of unit SD with grains of `size` mm in plane, `across` slices."""
        shape = [max(int(len(axis) * self.step / size) + 3, 4) for axis in (self.v, self.u)]
        field = self.rng.standard_normal((self.slices, *shape)).astype(np.float32)
        if across > 0:
            field = gaussian_filter1d(field, across, axis=0, mode="nearest")
        field /= max(float(field.std()), 1e-6)
        down, along = (
            _spread(len(axis), count).to(self.device) for axis, count in zip((self.v, self.u), shape, strict=True)
        )
        return down @ (torch.from_numpy(field).to(self.device) @ along.T)

    def paint(self, distance: Tensor, value: Tensor | float) -> Tensor:
        """Lay `value` where `distance` (mm, positive inside) says; return the mask."""
        mask = (0.5 + distance / self.step).clamp_(0, 1)
        self.signal = torch.lerp(self.signal, torch.as_tensor(value, device=self.device).expand_as(self.signal), mask)
        return mask

    def ellipse(self, v: Tensor | float, u: Tensor | float, a: float, b: float, angle: float = 0.0) -> Tensor:
        """Rough distance (mm, positive inside) to an ellipse with half axes a (along u) and b, turned by `angle`."""
        c, s = float(np.cos(angle)), float(np.sin(angle))
        dv, du = self.V - v, self.U - u
        x, y = (c * du + s * dv) / a, (c * dv - s * du) / b
        return (1 - torch.sqrt(x * x + y * y)) * min(a, b)


def _outer_radius(heart: Heart, septum: float, direction: float) -> float:
    """Largest radius of the heart in an image direction, mm."""
    column = round((direction - septum) / (2 * np.pi) * ANGLES) % ANGLES
    near = [(column + k) % ANGLES for k in range(-8, 9)]
    inside = (heart.z > 0) & (heart.z < heart.apex * 0.7)
    return float(heart.radii[-1][inside][:, near].max())


def render_surroundings(
    heart: Heart, plan: SlicePlan, signals: dict[str, float], rng: np.random.Generator, device: torch.device
) -> Tensor:
    """Paint everything but the heart.

    Parameters
    ----------
    heart : Heart
    plan : SlicePlan
    signals : dict
        Signed signal per tissue, see `scarnode.phantom.signal.draw_contrast`.
    rng : numpy.random.Generator
    device : torch.device

    Returns
    -------
    torch.Tensor
        Signed signal, shape (slices, rows, columns).
    """
    canvas = _Canvas(plan, rng, device)
    _chest(canvas, heart, plan, signals)
    _behind(canvas, heart, plan, signals)
    _abdomen(canvas, heart, plan, signals)
    _fat_pad(canvas, heart, plan, signals)
    grain = rng.uniform(0.02, 0.07) * canvas.noise(9.0, 0.5) + rng.uniform(0.02, 0.07) * canvas.noise(4.0, 0.3)
    painted = canvas.signal * (1 + grain)
    return _resample(painted, plan, canvas.v, canvas.u, canvas.step)


def _chest(canvas: _Canvas, heart: Heart, plan: SlicePlan, signals: dict[str, float]) -> None:
    """Chest wall before the right ventricle, ribs in it, lungs with vessels inside."""
    rng = canvas.rng
    front = np.deg2rad(180 + rng.normal(40, 18))
    gap = _outer_radius(heart, plan.septum, front) + rng.uniform(-4, 12)
    half_depth, half_width = rng.uniform(85, 125), rng.uniform(115, 165)
    along = rng.uniform(-35, 35)
    direction = np.array([np.cos(front), np.sin(front)])
    center = -direction * (half_depth - gap) + along * np.array([-direction[1], direction[0]])
    inner = canvas.ellipse(float(center[1]), float(center[0]), half_depth, half_width, front)
    muscle, fat = rng.uniform(8, 20), rng.uniform(5, 34)
    uneven = canvas.noise(40.0)
    canvas.paint(inner + muscle + fat * (1 + 0.25 * uneven), signals["fat"])
    canvas.paint(inner + muscle * (1 + 0.2 * uneven), signals["muscle"])
    angle = torch.atan2(canvas.V - float(center[1]), canvas.U - float(center[0]))
    ribs = torch.cos(angle * int(rng.integers(9, 16)) + canvas.w * rng.normal(0, 0.03) + rng.uniform(0, 6))
    ring = muscle * 0.3 - (inner + muscle * 0.5).abs()
    canvas.paint(torch.minimum(ring, (ribs - 0.4) * 8), signals["marrow"])
    stripe = 1.2 - (inner + muscle * 0.05).abs()
    canvas.paint(stripe, signals["fat"])
    canvas.paint(inner, signals["lung"])
    canvas.chest = inner
    # Vessels are widest near the heart; coarse noise gathers them into groups.
    groups = 0.5 * canvas.noise(35.0) + 0.006 * (60 - torch.sqrt(canvas.U**2 + canvas.V**2)).clamp(-60, 30)
    for size, brightness in ((6.0, 1.0), (3.5, 0.9)):
        vessels = (canvas.noise(size, 0.4) + groups - rng.uniform(1.7, 2.3)) * 2.5
        canvas.paint(torch.minimum(vessels, inner - 3), brightness * signals["blood"])
    # Arms or breast tissue at the rim of the field of view.
    if rng.random() < 0.3:
        side = rng.choice([-1, 1])
        away = (
            center
            + direction * rng.uniform(-20, 30)
            + side * (half_width + 60) * np.array([-direction[1], direction[0]])
        )
        arm = canvas.ellipse(float(away[1]), float(away[0]), 40, 35)
        canvas.paint(arm, signals["fat"])
        canvas.paint(arm - 10, signals["muscle"])


def _behind(canvas: _Canvas, heart: Heart, plan: SlicePlan, signals: dict[str, float]) -> None:
    """Descending aorta and spine."""
    rng = canvas.rng
    direction = np.deg2rad(rng.normal(25, 20))
    away = _outer_radius(heart, plan.septum, direction) + rng.uniform(14, 40)
    radius = rng.uniform(9, 14)
    v, u = away * np.sin(direction), away * np.cos(direction)
    spine = direction + rng.normal(0.35, 0.2)
    back = away + rng.uniform(35, 50)
    bone = canvas.ellipse(back * np.sin(spine), back * np.cos(spine), rng.uniform(20, 26), rng.uniform(17, 22), spine)
    canvas.paint(bone + rng.uniform(15, 35), signals["muscle"])
    canvas.paint(bone + 1, signals["air"])
    canvas.paint(bone, signals["marrow"])
    vessel = canvas.ellipse(v + 0.1 * canvas.w, u, radius, radius)
    if rng.random() < 0.4:
        canvas.paint(vessel + rng.uniform(2, 6) * (1 + canvas.noise(15.0)), signals["fat"])
    canvas.paint(vessel + 1, signals["muscle"])
    canvas.paint(vessel, signals["blood"])


def _abdomen(canvas: _Canvas, heart: Heart, plan: SlicePlan, signals: dict[str, float]) -> None:
    """Dome of the diaphragm with liver, stomach, spleen and bowel below it."""
    rng = canvas.rng
    below = _outer_radius(heart, plan.septum, np.pi / 2) * rng.uniform(0.6, 0.98)
    middle = rng.uniform(-50, 20)
    slope, dome = rng.normal(0, 0.15), rng.uniform(0.001, 0.004)
    under = (
        canvas.V
        - below
        - dome * (canvas.U - middle) ** 2
        - slope * (canvas.U - middle)
        + rng.normal(0, 0.25) * canvas.w
    )
    canvas.paint(under + rng.uniform(1, 3), signals["muscle"])
    belly = canvas.noise(14.0)
    mixed = signals["fat"] + (signals["muscle"] - signals["fat"]) * (0.5 + 0.6 * belly).clamp(0, 1)
    canvas.paint(under, mixed)
    border = rng.normal(0, 30)
    liver = torch.minimum(under - 1, border - canvas.U + 0.25 * (canvas.V - below))
    canvas.paint(liver, signals["liver"] * (1 + 0.04 * canvas.noise(8.0, 0.5)))
    vessels = torch.minimum(liver - 6, (canvas.noise(11.0, 0.6) - 1.7) * 4)
    canvas.paint(vessels, signals["blood"])
    v, u = below + rng.uniform(25, 55), border + rng.uniform(25, 60)
    size = rng.uniform(22, 45)
    stomach = torch.minimum(canvas.ellipse(v, u, size, size * rng.uniform(0.6, 1.0), rng.normal(0, 0.6)), under - 2)
    content = signals["air"] if rng.random() < 0.4 else signals["fluid"]
    rugged = content + (signals["muscle"] - content) * (0.3 + 0.7 * canvas.noise(7.0, 0.5)).clamp(0, 1)
    canvas.paint(stomach + 4, signals["muscle"])
    canvas.paint(stomach, rugged if rng.random() < 0.7 else content)
    if rng.random() < 0.7:
        spleen = canvas.ellipse(v + rng.normal(0, 15), u + size + rng.uniform(15, 35), 26, 40, rng.normal(0, 0.4))
        canvas.paint(torch.minimum(spleen, under - 2), signals["spleen"])


def _fat_pad(canvas: _Canvas, heart: Heart, plan: SlicePlan, signals: dict[str, float]) -> None:
    """Fat that fills the corners between the heart, the chest wall and the diaphragm."""
    rng = canvas.rng
    radius = torch.sqrt(canvas.U**2 + canvas.V**2)
    angle = torch.atan2(canvas.V, canvas.U)
    inside = (heart.z > 0) & (heart.z < heart.apex * 0.6)
    outer = torch.from_numpy(heart.radii[-1][inside].mean(axis=0)).to(canvas.device)
    column = torch.remainder((angle - plan.septum) / (2 * np.pi) * ANGLES, ANGLES).long().clamp(0, ANGLES - 1)
    rim = outer[column]
    pad = torch.zeros_like(radius)
    corners = ((180 + 75, 18), (180 - 40, 18), (180 + 20, 30))  # above, below and before the right ventricle
    for degrees, spread in corners:
        toward = torch.remainder(angle - np.deg2rad(degrees + rng.normal(0, 15)) + np.pi, 2 * np.pi) - np.pi
        width = np.deg2rad(spread * rng.uniform(0.7, 1.5))
        pad = pad + rng.uniform(-8, 38) * torch.exp(-((toward / width) ** 2) / 2)
    # Towards the apex the heart is smaller, and fat takes its place.
    distance = rim * (1 - 0.003 * canvas.w.clamp(min=0)) + pad * (1 + 0.35 * canvas.noise(18.0)) - radius
    strands = 1 - 0.15 * (canvas.noise(6.0, 0.5) - 0.5).clamp(0, 2)
    canvas.paint(torch.minimum(torch.where(pad > 2, distance, -9.0), canvas.chest + 1), signals["fat"] * strands)
