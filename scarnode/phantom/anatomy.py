"""A left ventricle, a right one and what lies around them, as continuous surfaces.

Coordinates: the ventricle's long axis is z (mm, 0 at the mitral plane, growing to the apex); theta is the angle
around it, 0 at the middle of the septum, positive towards the anterior wall. Every surface of the heart is star-shaped
around the axis, so it is a table of radii over (z, theta).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import gaussian_filter

from scarnode.phantom.model import PHENOTYPES

ANGLES = 180
"""Columns of the tables: 2 degrees each."""
ABOVE_BASE = 40.0
"""mm of the tables above the mitral plane."""
Z_STEP = 1.0
"""mm per row of the tables."""
SURFACES = ("endocardium", "epicardium", "rv_cavity", "rv_wall", "fat", "effusion")
"""Order of the surfaces, each inside the next."""


@dataclass(frozen=True)
class Papillary:
    """A papillary muscle: a rod beside the endocardium from `z_top` to `z_root` mm at angle `theta`."""

    theta: float
    z_top: float
    z_root: float
    radius: float


@dataclass(frozen=True)
class Heart:
    """The continuous anatomy.

    Attributes
    ----------
    phenotype : str
    z : numpy.ndarray
        Shape (nz,), mm: rows of the tables.
    theta : numpy.ndarray
        Shape (`ANGLES`,), radian: columns of the tables.
    radii : numpy.ndarray
        float32, shape (6, nz, `ANGLES`), mm: the surfaces in the order of `SURFACES`.
    wall : numpy.ndarray
        float32, shape (nz, `ANGLES`): 1 where the left ventricle has a wall, 0 in the outflow tract and
        outside base and apex.
    apex : float
        z of the epicardial apex, mm.
    insertions : tuple of float
        theta of the anterior and the inferior insertion of the right ventricle.
    papillaries : tuple of Papillary
    drift : tuple of float
        mm by which the axis has bent sideways (image x, y) at the apex.
    """

    phenotype: str
    z: np.ndarray
    theta: np.ndarray
    radii: np.ndarray
    wall: np.ndarray
    apex: float
    insertions: tuple[float, float]
    papillaries: tuple[Papillary, ...]
    drift: tuple[float, float]

    @property
    def myocardium_density(self) -> np.ndarray:
        """mm2: radius-weighted wall area per radian and mm of z, shape (nz, `ANGLES`)."""
        return self.wall * (self.radii[1] ** 2 - self.radii[0] ** 2) / 2

    @property
    def myocardium_volume(self) -> float:
        """cm3 of the continuous wall, integrated in polar coordinates."""
        return float(self.myocardium_density.sum() * Z_STEP * 2 * np.pi / ANGLES / 1000)


def smooth_noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...], mode: tuple[str, ...] | str
) -> np.ndarray:
    """Return a Gaussian random field of unit SD, smoothed by `sigma` cells per axis."""
    field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), sigma, mode=mode, truncate=3.0)
    return (field - field.mean()) / max(float(field.std()), 1e-6)


def _bump(x: np.ndarray, centre: float, width: float) -> np.ndarray:
    return np.exp(-(((x - centre) / width) ** 2) / 2)


def _around(theta: np.ndarray, centre: float) -> np.ndarray:
    """Angle from `centre`, within -pi..pi."""
    return (theta - centre + np.pi) % (2 * np.pi) - np.pi


def _extra_thickness(
    rng: np.random.Generator, phenotype: str, base: float, z: np.ndarray, theta: np.ndarray, length: float
) -> np.ndarray:
    """Thickness beyond the base thickness, mm, shape (nz, ntheta)."""
    s = z[:, None] / length
    t = theta[None]
    if phenotype == "septal":
        peak = rng.triangular(15, 19, 30) - base
        around = np.exp(-((_around(t, rng.normal(0.25, 0.4)) / np.deg2rad(rng.uniform(35, 70))) ** 2) / 2)
        return peak * around * _bump(s, rng.uniform(0.2, 0.55), rng.uniform(0.45, 0.8))
    if phenotype == "apical":
        peak = rng.uniform(13, 22) - base
        return peak * _bump(s, 0.9, rng.uniform(0.15, 0.25)) * (1 + 0.2 * np.cos(t - rng.uniform(0, 6.28)))
    if phenotype == "concentric":
        return (rng.uniform(13, 16) - base) * np.ones_like(s * t) * np.clip(1.15 - 0.5 * s, 0, 1)
    if phenotype == "midcavity":
        peak = rng.uniform(14, 22) - base
        return peak * _bump(s, rng.uniform(0.45, 0.6), rng.uniform(0.12, 0.2)) * (1 + 0.3 * np.cos(t))
    if phenotype == "thinned":
        around = np.exp(-((_around(t, rng.uniform(0, 6.28)) / np.deg2rad(rng.uniform(30, 60))) ** 2) / 2)
        return -rng.uniform(0.3, 0.55) * base * around * _bump(s, rng.uniform(0.4, 0.9), rng.uniform(0.2, 0.4))
    around = np.exp(-((_around(t, rng.normal(0.25, 0.5)) / np.deg2rad(rng.uniform(35, 70))) ** 2) / 2)
    return rng.uniform(0, 4) * around * _bump(s, rng.uniform(0.1, 0.5), rng.uniform(0.2, 0.5))


def draw_heart(
    rng: np.random.Generator,
    phenotype: str | None = None,
    diameter: float | None = None,
    length: float | None = None,
    wall: float | None = None,
) -> Heart:
    """Draw a heart.

    Parameters
    ----------
    rng : numpy.random.Generator
    phenotype : str, optional
        One of `PHENOTYPES`; drawn with their frequencies when omitted.
    diameter, length : float, optional
        End-diastolic inner diameter and inner length of the left ventricle, mm; N(45, 5) within 34-58 and N(84, 7).
    wall : float, optional
        Thickness of the normal basal wall, mm; 7 to 10 when drawn.
    """
    names, weights = list(PHENOTYPES), np.array(list(PHENOTYPES.values()))
    drawn = str(rng.choice(names, p=weights / weights.sum()))
    phenotype = phenotype or drawn
    diameter = diameter or float(np.clip(rng.normal(45, 5), 34, 58))
    length = length or float(np.clip(rng.normal(84, 7), 66, 104))
    base_wall = wall or rng.uniform(7, 10)
    if phenotype == "thinned":
        diameter = min(diameter * 1.15, 62.0)
        base_wall = min(base_wall, 8.0)
    apex_wall = rng.uniform(4, 6) if phenotype != "apical" else rng.uniform(9, 16)
    equator, blunt = rng.uniform(0.2, 0.32) * length, rng.uniform(2.2, 3.0)

    z = np.arange(-ABOVE_BASE, length + 40, Z_STEP, dtype=np.float32)
    theta = (np.arange(ANGLES, dtype=np.float32) * 2 * np.pi / ANGLES).astype(np.float32)
    wrap = ("nearest", "wrap")

    def noise(z_mm: float, degrees: float) -> np.ndarray:
        return smooth_noise(rng, (len(z), ANGLES), (z_mm / Z_STEP, degrees * ANGLES / 360), wrap)

    def cap(bottom: float) -> np.ndarray:
        """Blunt half-ellipse in z: 1 at the equator, 0 from `bottom` on; open a short way above the base."""
        s = np.abs((np.maximum(z, -5.0) - equator) / (bottom - equator))
        return (np.clip(1 - s**blunt, 0, 1) ** (1 / blunt))[:, None]

    inner = diameter / 2 * (1 + rng.uniform(0, 0.06) * np.cos(2 * (theta - rng.uniform(0, np.pi))))[None]
    inner = inner * (1 - rng.uniform(0, 0.12) * _bump(_around(theta, 0.0), 0.0, 0.8))[None]
    inner = inner + rng.uniform(0.3, 0.8) * noise(12, 20)
    extra = _extra_thickness(rng, phenotype, base_wall, np.clip(z, 0, None), theta, length)
    thin = base_wall + (apex_wall - base_wall) * np.clip(1.6 * z / length - 0.6, 0, 1)[:, None]
    thick = np.maximum(thin + extra + rng.uniform(0.4, 0.8) * noise(10, 15), 2.0)
    # A thick wall grows into the cavity as well as outwards.
    inner = np.maximum(inner - rng.uniform(0.25, 0.6) * np.clip(extra, 0, None), 0.3 * diameter / 2)
    bottom = length + apex_wall
    endo = inner * cap(length)
    epi = np.maximum((inner + thick) * cap(bottom), endo)

    half_width = np.deg2rad(rng.uniform(50, 70))
    insertions = (half_width, -half_width)
    rv_bottom = rng.uniform(0.75, 0.95) * length
    rv_depth = rng.uniform(15, 36) * np.sqrt(np.clip(1 - ((z - 0.1 * length) / (rv_bottom - 0.1 * length)) ** 2, 0, 1))
    rv_depth = np.where(z < 0.1 * length, np.maximum(rv_depth, 0.8 * rv_depth.max()), rv_depth)
    dth = _around(theta, 0.0)
    across = np.clip(dth / half_width, -1, 1)
    across = across + rng.normal(0, 0.2) * (1 - across**2)  # deeper towards one insertion
    crescent = np.clip(np.cos(np.pi / 2 * np.clip(across, -1, 1)), 0, 1) ** rng.uniform(0.4, 0.9)
    rv = rv_depth[:, None] * crescent[None] * (1 + 0.12 * noise(10, 15))
    rv = np.clip(rv, 0, None)
    rv_wall = rng.uniform(2, 5) * np.clip(rv / 5, 0, 1)
    # Fat lies thickest in the grooves, over the insertions and towards the base.
    groove = np.sum([_bump(_around(theta, a), 0.0, 0.35) for a in insertions], axis=0)[None]
    fat = rng.uniform(0, 7) * np.clip(0.5 + 0.5 * noise(12, 22), 0, None) + rng.uniform(1, 8) * groove
    fat = np.clip(fat * (1.2 - 0.5 * np.clip(z / length, 0, 1))[:, None], 0.3, 14) * cap(bottom + 14) ** 0.5
    effusion = np.zeros_like(fat)
    if rng.random() < 0.15:
        effusion = rng.uniform(2, 9) * np.clip(0.6 + 0.6 * noise(15, 30), 0, None) * cap(bottom + 14)
    surfaces = np.cumsum([endo, epi - endo, rv, rv_wall, fat, effusion], axis=0).astype(np.float32)

    return Heart(
        phenotype=phenotype,
        z=z,
        theta=theta,
        radii=surfaces,
        wall=_draw_presence(rng, z, theta, bottom),
        apex=bottom,
        insertions=insertions,
        papillaries=_draw_papillaries(rng, length, diameter),
        drift=(float(rng.normal(0, 4)), float(rng.normal(0, 4))),
    )


def _draw_presence(rng: np.random.Generator, z: np.ndarray, theta: np.ndarray, bottom: float) -> np.ndarray:
    """Where the ventricle has a wall: between base and apex, but for the outflow tract."""
    present = ((z >= 0) & (z <= bottom)).astype(np.float32)[:, None] * np.ones((1, ANGLES), np.float32)
    if rng.random() < 0.65:
        gap_depth, gap_width = rng.uniform(4, 16), np.deg2rad(rng.uniform(25, 45))
        reach = gap_depth * np.clip(np.cos(np.pi / 2 * _around(theta, rng.normal(0.5, 0.2)) / gap_width), 0, 1)
        reach = np.where(np.abs(_around(theta, 0.5)) < gap_width * 1.6, reach, 0)
        present = present * np.clip((z[:, None] - reach[None]) + 0.5, 0, 1)
    return present.astype(np.float32)


def _draw_papillaries(rng: np.random.Generator, length: float, diameter: float) -> tuple[Papillary, ...]:
    muscles = []
    for theta in (rng.uniform(2.0, 2.6), -rng.uniform(1.9, 2.5)):
        for _ in range(1 + (rng.random() < 0.3)):  # a third of the muscles are split in two heads
            muscles.append(
                Papillary(
                    theta=float(theta + rng.normal(0, 0.15)),
                    z_top=float(rng.uniform(0.25, 0.4) * length),
                    z_root=float(rng.uniform(0.7, 0.85) * length),
                    radius=float(min(rng.uniform(3, 6.5), diameter / 8)),
                )
            )
    return tuple(muscles)
