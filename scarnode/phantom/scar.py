"""Scar of hypertrophic cardiomyopathy, and infarcts, as a field over (z, depth in the wall, theta)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from scarnode.phantom.anatomy import ANGLES, Z_STEP, Heart, _around, _bump, smooth_noise
from scarnode.phantom.model import PATTERNS

DEPTHS = 14
"""Cells from endocardium to epicardium."""
COARSE = 2
"""mm and table columns per cell of the scar's table."""
LARGEST = 0.45
"""No scar is larger than this part of the myocardium."""


@dataclass(frozen=True)
class Scar:
    """Scar of one heart.

    Attributes
    ----------
    pattern : str
        ``none`` where there is no scar.
    field : numpy.ndarray
        float32, shape (nz, `DEPTHS`, ntheta) on every second row and column of the heart's tables: positive
        inside scar, growing to its core; one unit is about one correlation length.
    density : float
        0 to 1: how much of the core is dense scar; the rest has the grey zone's T1.
    ramp : float
        Field value at which the core is reached; small scars have low peaks and yet a core.
    core : float or None
        Field value from which no contrast flows in (no-reflow); None where there is no such core.
    volume : float
        cm3 of the continuous scar.
    """

    pattern: str
    field: np.ndarray
    density: float
    ramp: float
    core: float | None
    volume: float


def draw_fraction(rng: np.random.Generator, training: bool, probability: float | None) -> float:
    """Draw scar volume / myocardium volume.

    Test set: half of the hearts have scar, lognormal with median 2.4 % and sigma 1.35, at most 45 %: the published
    cohort has 2.6 +- 6.1 % and 37 % of patients with scar. Training: three quarters, median 5 %, sigma 1.2.
    """
    chance, median, sigma = (0.75, 0.05, 1.2) if training else (0.5, 0.024, 1.35)
    has_scar = rng.random() < (chance if probability is None else probability)
    size = float(np.clip(median * np.exp(sigma * rng.standard_normal()), 0.0005, LARGEST))
    return size if has_scar else 0.0


def draw_scar(rng: np.random.Generator, heart: Heart, fraction: float, pattern: str | None, training: bool) -> Scar:
    """Draw scar that fills `fraction` of the heart's continuous myocardium.

    Parameters
    ----------
    rng : numpy.random.Generator
    heart : Heart
    fraction : float
        0 to 0.45; 0 for none.
    pattern : str, optional
        One of `PATTERNS` or ``infarct``; drawn when omitted (infarcts in 12 % of training scars only).
    training : bool
    """
    drawn = str(rng.choice(list(PATTERNS), p=list(PATTERNS.values())))
    if training and rng.random() < 0.12:
        drawn = "infarct"
    pattern = pattern or drawn
    z, theta = heart.z[::COARSE], heart.theta[::COARSE]
    endo, epi = heart.radii[0, ::COARSE, ::COARSE], heart.radii[1, ::COARSE, ::COARSE]
    wall = heart.wall[::COARSE, ::COARSE]
    depth = (np.arange(DEPTHS, dtype=np.float32) + 0.5) / DEPTHS
    if fraction <= 0:
        return Scar("none", np.full((len(z), DEPTHS, len(theta)), -9, np.float32), 0.0, 1.0, None, 0.0)

    score = (
        _infarct(rng, heart, z, depth, theta) if pattern == "infarct" else _patchy(rng, heart, pattern, z, depth, theta)
    )
    # Volume of a cell: r dr dtheta dz with r on the line from endocardium to epicardium.
    thickness = (epi - endo)[:, None]
    radius = endo[:, None] + depth[None, :, None] * thickness
    cell = wall[:, None] * radius * thickness / DEPTHS * (2 * np.pi / ANGLES * COARSE) * Z_STEP * COARSE
    order = np.argsort(-score, axis=None)
    filled = np.cumsum(cell.reshape(-1)[order], dtype=np.float64)
    threshold = float(score.reshape(-1)[order][np.searchsorted(filled, fraction * filled[-1])])
    volume = fraction * heart.myocardium_volume
    density = rng.uniform(0.0, 0.5) if pattern == "diffuse" else rng.uniform(0.4, 1.0)
    core = rng.uniform(0.35, 0.7) if pattern == "infarct" and rng.random() < 0.2 else None
    field = (score - threshold).astype(np.float32)
    peak = float(np.percentile(field[(field > 0) & (cell > 0)], 80)) if ((field > 0) & (cell > 0)).any() else 1.0
    return Scar(pattern, field, float(density), max(min(0.5, peak), 0.05), core, float(volume))


def _patchy(
    rng: np.random.Generator, heart: Heart, pattern: str, z: np.ndarray, depth: np.ndarray, theta: np.ndarray
) -> np.ndarray:
    """Gaussian random field with the pattern's preference added."""
    around, radial, along = rng.uniform(8, 20), rng.uniform(3, 6), rng.uniform(10, 25)
    if pattern == "confluent":
        around, radial, along = 1.8 * around, 1.8 * radial, 1.5 * along
    elif pattern == "diffuse":
        around, along = 0.8 * around, 0.8 * along
    middle_radius = 30.0
    thickness = heart.radii[1] - heart.radii[0]
    inside = heart.wall[:, 0] > 0
    mean_thickness = float(thickness[inside].mean())
    sigma = (
        along / 2 / (COARSE * Z_STEP),
        radial / 2 / mean_thickness * DEPTHS,
        around / 2 / (middle_radius * 2 * np.pi / ANGLES * COARSE),
    )
    field = smooth_noise(rng, (len(z), len(depth), len(theta)), sigma, ("nearest", "nearest", "wrap"))
    s = (z / heart.apex)[:, None, None]
    d = depth[None, :, None]
    t = theta[None, None]
    thick = thickness[::COARSE, ::COARSE][:, None]
    thick = np.clip((thick - 8) / max(float(thickness[inside].max()) - 8, 4.0), 0, 1)
    if pattern == "insertion":
        share = rng.uniform(0, 1)
        points = share * _bump(_around(t, heart.insertions[0]), 0, 0.28) + (1.2 - share) * _bump(
            _around(t, heart.insertions[1]), 0, 0.28
        )
        return field + 3 * points * _bump(d, 0.7, 0.3) * _bump(s, rng.uniform(0.2, 0.6), 0.35)
    if pattern in ("midwall", "confluent"):
        return field + 2.2 * thick * _bump(d, 0.5, 0.28) - 1.0 * (s > 0.92)
    if pattern == "apical":
        return field + 3 * _bump(s, 0.95, 0.15)
    if pattern == "papillary":
        muscle = heart.papillaries[int(rng.integers(len(heart.papillaries)))]
        return field + 3 * _bump(_around(t, muscle.theta), 0, 0.35) * _bump(d, 0.1, 0.3) * _bump(s, 0.6, 0.2)
    return field + 0.6 * _bump(d, 0.5, 0.4)


def _infarct(rng: np.random.Generator, heart: Heart, z: np.ndarray, depth: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """Return a coronary territory that grows from the endocardium outwards."""
    centre = rng.choice([0.6, -1.9, 2.6]) + rng.normal(0, 0.35)  # LAD, RCA, LCX
    half_width = np.deg2rad(rng.uniform(30, 120) / 2)
    transmural = rng.uniform(0.25, 1.1)
    around = 1 - (_around(theta, centre) / half_width)[None, None] ** 2
    s_centre = rng.uniform(0.35, 0.85)
    along = 1 - ((z / heart.apex - s_centre) / rng.uniform(0.25, 0.6))[:, None, None] ** 2
    edge = smooth_noise(rng, (len(z), len(depth), len(theta)), (4, 2, 4), ("nearest", "nearest", "wrap"))
    reach = transmural * np.minimum(np.minimum(around, along), 1.0)
    return reach - depth[None, :, None] + 0.12 * edge
