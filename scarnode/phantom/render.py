"""From continuous surfaces to tissue fractions and signal on the slices of a stack.

Stack coordinates: u (mm, along a row, to the image's right), v (mm, along a column, downwards) and w (mm, across the
slices, towards the apex), with the ventricle's axis through the origin. On the usual display the septum lies left,
the anterior wall up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from scarnode.phantom.anatomy import ABOVE_BASE, Z_STEP, Heart, smooth_noise
from scarnode.phantom.scar import COARSE, Scar

FINE = 1.0
"""mm: grid and distance of the planes on which the heart is rendered before it is sliced."""
TISSUES = ("blood", "rv_blood", "myocardium", "muscle", "grey", "dense", "noreflow", "fat", "effusion", "pericardium")
"""Order of the heart's tissue fractions. ``muscle`` is papillary, trabecular, atrial and right-ventricular muscle."""
CAVITY = len(TISSUES)
"""Index of an extra channel: the left ventricle's cavity with all that lies in it."""
SCAR_PART = 0.4
"""Part of a voxel's myocardium that makes it scar: at one half, thin patches lose much of their volume."""


@dataclass(frozen=True)
class SlicePlan:
    """Where the slices lie.

    Attributes
    ----------
    rows, columns : int
    spacing : float
        mm, in plane.
    positions : numpy.ndarray
        w of each slice's centre, mm, shape (slices,), base to apex.
    thickness, distance : float
        mm.
    center : tuple of float
        (row, column) of the ventricle's axis, pixels.
    septum : float
        Direction of the septum's middle, radian, atan2(v, u).
    tilt : tuple of float
        Rotation of the planes about u and v away from the true short axis, radian.
    shifts : numpy.ndarray
        (v, u) by which breathing moved the body in each slice, mm, shape (slices, 2).
    """

    rows: int
    columns: int
    spacing: float
    positions: np.ndarray
    thickness: float
    distance: float
    center: tuple[float, float]
    septum: float
    tilt: tuple[float, float]
    shifts: np.ndarray


def _resampling(count: int, spacing: float, origin: float, fine: Tensor, step: float) -> Tensor:
    """Weights (count, len(fine)) that bring samples at `fine` mm to pixels at (index - origin) x spacing mm."""
    target = (torch.arange(count, dtype=torch.float32, device=fine.device) - origin) * spacing
    width = max(spacing, step)
    # Weights sum to 1, counting the samples that would lie beyond both ends.
    beyond = torch.arange(1, int(width / step) + 3, device=fine.device) * step
    reached = torch.cat([fine[0] - beyond, fine, fine[-1] + beyond])
    weights = (1 - (target[:, None] - reached[None]).abs() / width).clamp_min(0)
    return weights[:, len(beyond) : len(beyond) + len(fine)] / weights.sum(dim=1, keepdim=True).clamp_min(1e-6)


def _resample(values: Tensor, plan: SlicePlan, v: Tensor, u: Tensor, step: float) -> Tensor:
    """Bring (..., len(v), len(u)) to (..., rows, columns), zero where the samples do not reach."""
    down = _resampling(plan.rows, plan.spacing, plan.center[0], v, step)
    across = _resampling(plan.columns, plan.spacing, plan.center[1], u, step)
    (top, bottom), (left, right) = (_reached(weights) for weights in (down, across))
    image = values.new_zeros(*values.shape[:-2], plan.rows, plan.columns)
    image[..., top:bottom, left:right] = down[top:bottom] @ (values @ across[left:right].T)
    return image


def _reached(weights: Tensor) -> tuple[int, int]:
    """First and past-the-last pixel that any sample reaches."""
    rows = torch.nonzero(weights.sum(dim=1)).squeeze(1)
    return (int(rows[0]), int(rows[-1]) + 1) if len(rows) else (0, 0)


def _heart_tables(heart: Heart, rng: np.random.Generator, device: torch.device) -> Tensor:
    """Radii, wall and the trabeculae's inner surface as one image (1, 8, nz, ntheta + 1) that wraps around."""
    rough = smooth_noise(rng, heart.wall.shape, (3.0, 2.5), ("nearest", "wrap"))
    trabeculae = heart.radii[0] - np.clip(rng.uniform(0.5, 2.5) * rough - 0.5, 0, 5)
    tables = np.concatenate([heart.radii, heart.wall[None], trabeculae[None]]).astype(np.float32)
    tables[:6][heart.radii <= 0.01] = -2.0
    tables = np.concatenate([tables, tables[..., :1]], axis=-1)
    return torch.from_numpy(tables)[None].to(device)


def heart_fractions(
    heart: Heart, scar: Scar, plan: SlicePlan, rng: np.random.Generator, device: torch.device
) -> Tensor:
    """Render the heart's tissues on the slices.

    Returns
    -------
    torch.Tensor
        Shape (len(`TISSUES`) + 1, slices, rows, columns): the part of each voxel, through the slice's thickness,
        that a tissue fills; last the left ventricle's cavity (see `CAVITY`).
    """
    tables = _heart_tables(heart, rng, device)
    scar_table = torch.from_numpy(np.concatenate([scar.field, scar.field[..., :1]], axis=-1)).to(device)[None, None]
    reach = float(heart.radii[-1].max()) + 14 + float(np.abs(plan.shifts).max())
    edge = torch.arange(-np.ceil(reach), np.ceil(reach) + FINE, FINE, device=device)
    planes = max(int(np.ceil(plan.thickness / FINE)), 1)
    offsets = ((torch.arange(planes, device=device) + 0.5) / planes - 0.5) * plan.thickness
    v, u = torch.meshgrid(edge, edge, indexing="ij")
    fractions = [
        _slice_fractions(heart, scar, tables, scar_table, u - dx, v - dy, offsets + float(w), plan)
        for w, (dy, dx) in zip(plan.positions, plan.shifts.tolist(), strict=True)
    ]
    return _resample(torch.stack(fractions, dim=1), plan, edge, edge, FINE)


def _slice_fractions(
    heart: Heart,
    scar: Scar,
    tables: Tensor,
    scar_table: Tensor,
    u: Tensor,
    v: Tensor,
    w: Tensor,
    plan: SlicePlan,
) -> Tensor:
    """Tissue fractions (tissues, v, u) of one slice whose planes lie at `w` mm."""
    middle = heart.apex / 2
    (ca, sa), (cb, sb) = ((np.cos(t), np.sin(t)) for t in plan.tilt)
    w = (w - middle)[:, None, None]
    # Rotation about u, then about v.
    y = ca * v - sa * w
    depth = sa * v + ca * w
    x = cb * u + sb * depth
    z = -sb * u + cb * depth + middle
    bend = (z / heart.apex) ** 2
    x, y = x - heart.drift[0] * bend, y - heart.drift[1] * bend
    radius = torch.sqrt(x * x + y * y)
    theta = torch.remainder(torch.atan2(y, x) - plan.septum, 2 * np.pi) / np.pi - 1
    row = (z + ABOVE_BASE) / Z_STEP * (2 / (tables.shape[-2] - 1)) - 1
    grid = torch.stack([theta.reshape(-1), row.reshape(-1)], dim=-1)[None, None]
    sampled = F.grid_sample(tables, grid, align_corners=True, padding_mode="border")[0, :, 0]
    surfaces = sampled.reshape(8, *radius.shape)
    inside = (0.5 + (surfaces - radius) / FINE).clamp_(0, 1)
    shells = torch.diff(inside[:6], dim=0)
    wall = surfaces[6]
    base = (0.5 + z / FINE).clamp(0, 1)

    cavity = inside[0] * base
    bundle = (inside[0] - inside[7]) * 0.7 * base
    here = torch.nonzero(cavity.reshape(-1) > 0).squeeze(1)
    rods = _papillaries(heart, *(x.reshape(-1)[here] for x in (surfaces[0], radius, theta, z)))
    bundle.reshape(-1)[here] = torch.maximum(bundle.reshape(-1)[here], rods * cavity.reshape(-1)[here])
    myocardium = shells[0] * wall
    other = shells[0] * (1 - wall) + inside[0] * (1 - base)  # atrium and outflow tract
    pericardium = (0.5 + (surfaces[5] + 1.2 - radius) / FINE).clamp(0, 1) - inside[5]
    pericardium = torch.where(surfaces[5] > 0, pericardium, 0.0)

    grey, dense, noreflow = (torch.zeros_like(radius) for _ in range(3))
    if scar.pattern != "none":
        here = torch.nonzero(myocardium.reshape(-1) > 0).squeeze(1)
        if len(here):
            endo, epi = surfaces[0].reshape(-1)[here], surfaces[1].reshape(-1)[here]
            place = (radius.reshape(-1)[here] - endo) / (epi - endo).clamp_min(0.5)
            rows = ((z.reshape(-1)[here] + ABOVE_BASE) / (Z_STEP * COARSE)) * (2 / (scar_table.shape[2] - 1)) - 1
            at = torch.stack([theta.reshape(-1)[here], place * 2 - 1, rows], dim=-1)[None, None, None]
            field = F.grid_sample(scar_table, at, align_corners=True, padding_mode="border")[0, 0, 0, 0]
            parts = _scar_parts(field, scar, myocardium.reshape(-1)[here])
            for volume, part in zip((grey, dense, noreflow), parts, strict=True):
                volume.reshape(-1)[here] = part
    normal = myocardium - grey - dense - noreflow
    fractions = (
        cavity - bundle + other,
        shells[1],
        normal,
        bundle + shells[2],
        grey,
        dense,
        noreflow,
        shells[3],
        shells[4],
        pericardium,
        cavity,
    )
    return torch.stack([part.mean(dim=0) for part in fractions])


def _scar_parts(field: Tensor, scar: Scar, amount: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Split myocardium into grey zone, dense scar and no-reflow core by the scar's field."""
    scarred = (0.5 + 4 * field).clamp(0, 1) * amount
    core = torch.zeros_like(field)
    if scar.core is not None:
        core = (0.5 + 8 * (field - scar.core)).clamp(0, 1) * scarred
    dense = scar.density * (0.3 + field / scar.ramp).clamp(0, 1) * (scarred - core)
    return scarred - core - dense, dense, core


def _papillaries(heart: Heart, endo: Tensor, radius: Tensor, theta: Tensor, z: Tensor) -> Tensor:
    """Part of each point that lies in a papillary muscle."""
    inside = torch.zeros_like(radius)
    for muscle in heart.papillaries:
        # Both angles as in the tables: theta / pi - 1 over one turn.
        apart = torch.remainder(theta - (muscle.theta % (2 * np.pi) / np.pi - 1) + 1, 2.0) - 1
        span = ((z - muscle.z_top) / max(muscle.z_root - muscle.z_top, 1.0)).clamp(-1, 2)
        size = muscle.radius * (0.7 + 0.3 * span.clamp(0, 1))
        axis = endo - size * (1.15 - 0.6 * span.clamp(0, 1))  # free near the tip, fused with the wall at the root
        across = axis.clamp_min(1) * (apart * np.pi)
        distance = torch.sqrt((radius - axis) ** 2 + across**2)
        ends = ((z - muscle.z_top + 1).clamp(0, 1)) * ((muscle.z_root - z + 1).clamp(0, 1))
        inside = torch.maximum(inside, (0.5 + (size - distance) / FINE).clamp(0, 1) * ends)
    return inside


def labels_of(fractions: Tensor) -> tuple[Tensor, Tensor]:
    """Return labels (uint8) and the right ventricle's cavity (bool), each (slices, rows, columns).

    A voxel takes what fills most of it: ventricle's cavity, myocardium, or all the rest; myocardium is scar
    where at least `SCAR_PART` of it is.
    """
    index = {name: i for i, name in enumerate(TISSUES)}
    scar = sum(fractions[index[name]] for name in ("grey", "dense", "noreflow"))
    wall = fractions[index["myocardium"]] + scar
    cavity = fractions[CAVITY]
    rest = 1 - wall - cavity
    label = torch.zeros_like(wall, dtype=torch.uint8)
    label[(cavity >= wall) & (cavity >= rest)] = 1
    muscle = (wall > cavity) & (wall >= rest)
    label[muscle] = 2
    label[muscle & (scar >= SCAR_PART * wall)] = 3
    return label, (fractions[index["rv_blood"]] > 0.5) & (label == 0)
