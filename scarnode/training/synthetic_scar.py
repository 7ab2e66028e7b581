"""Synthetic LGE contrast and scar on real anatomy."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from scipy import ndimage

from scarnode.cases.model import Case
from scarnode.pipeline.segment.model import Tissue

_KINDS = {"patchy": 0.28, "insertion": 0.18, "confluent": 0.1, "apical": 0.04, "infarct": 0.4}


def synthesise_lge(cine: Case, rng: np.random.Generator, scar_probability: float = 0.5) -> Case:
    """Turn a cine image into a plausible LGE image of the same heart.

    Cine contrast is mapped linearly inside the heart so that blood and myocardium take a drawn LGE brightness (which
    keeps papillary
    muscles, partial volume and texture), the surroundings through a drawn monotone curve; scar is added with
    `scar_probability`.

    Returns
    -------
    Case
        Image in [0, 1] or so; source ``"painted"``.
    """
    image = cine.image
    low, high = np.percentile(image, (1, 99.5))
    image = np.clip((image - low) / max(high - low, 1e-6), 0, 1.2)
    blood, muscle = cine.label == Tissue.BLOOD, cine.label == Tissue.MYOCARDIUM
    if not blood.any() or not muscle.any():
        return replace(cine, image=image, source="painted")
    dark = rng.random() < 0.6  # magnitude with nulled myocardium; else mid-grey as in phase-sensitive images
    to_muscle = rng.uniform(0.02, 0.15) if dark else rng.uniform(0.25, 0.6)
    contrast = rng.uniform(0.15, 0.6) if dark else np.exp(rng.uniform(np.log(0.06), np.log(0.6)))
    to_blood = to_muscle + contrast
    from_muscle, from_blood = np.median(image[muscle]), np.median(image[blood])
    slope = (to_blood - to_muscle) / max(from_blood - from_muscle, 0.15)
    heart_image = to_muscle + (image - from_muscle) * slope
    # Real walls are uneven: wash-out, coils, motion. Cine's are not.
    heart_image = heart_image + (contrast * rng.uniform(0, 0.2) + rng.uniform(0, 0.03)) * _texture(image.shape, rng)
    knots = np.sort(rng.uniform(0.0 if dark else to_muscle * 0.4, rng.uniform(0.5, 1.2), 4))
    around = np.interp(image, [0, 0.25, 0.6, 1.2], knots)
    heart = blood | muscle
    if cine.right_ventricle is not None:
        heart |= cine.right_ventricle
    soft = _soft(ndimage.binary_dilation(heart, structure=np.ones((1, 3, 3))))
    painted = soft * heart_image + (1 - soft) * around
    painted = np.abs(painted) if dark else painted
    case = replace(cine, image=painted.astype(np.float32), source="painted")
    return add_synthetic_scar(case, rng) if rng.random() < scar_probability else case


def add_synthetic_scar(case: Case, rng: np.random.Generator) -> Case:
    """Add scar to a case's normal myocardium, in the image and in the label."""
    scar = scar_mask(case, rng)
    muscle, blood = case.label == Tissue.MYOCARDIUM, case.label == Tissue.BLOOD
    if not scar.any() or not blood.any():
        return case
    normal, pool = np.median(case.image[muscle]), np.median(case.image[blood])
    brightness = max(normal + (pool - normal) * rng.uniform(0.6, 1.8), normal + 3 * case.image[muscle].std() * 0.6)
    soft = _soft(scar, rng.uniform(0.4, 0.9)) * rng.uniform(0.8, 1.0)
    # What is finer than scar stays: a patch without noise would tell scar by its smoothness.
    lift = brightness - _soft(case.image, 1.5)
    image = case.image + soft * lift * (lift > 0) * (1 + 0.15 * _texture(case.image.shape, rng))
    label = np.where(scar, Tissue.SCAR, case.label).astype(np.uint8)
    return replace(case, image=image.astype(np.float32), label=label)


def scar_mask(case: Case, rng: np.random.Generator) -> np.ndarray:
    """Draw where scar lies in the myocardium.

    A random field in the wall's own directions plus a preference of the drawn kind, cut off so that a lognormal
    share of the myocardium (median 10 %, at most 40 %) is scar; specks of four or fewer pixels are dropped.

    Returns
    -------
    numpy.ndarray
        bool, shape of the case.
    """
    muscle = case.label == Tissue.MYOCARDIUM
    where = np.argwhere(muscle)
    if len(where) < 50:
        return np.zeros(muscle.shape, bool)
    depth, thickness, angle = (values[muscle] for values in _wall_coordinates(case))
    height = where[:, 0] * case.slice_distance
    kind = rng.choice(list(_KINDS), p=list(_KINDS.values()))
    radius = 28.0  # mm, a mid-wall circle: angles become millimetres along the circumference
    points = np.stack([radius * np.cos(angle), radius * np.sin(angle), depth * thickness, height], 1)
    along = rng.uniform(8, 20)
    scales = np.array([along, along, rng.uniform(3, 6), rng.uniform(10, 25)]) * (2.0 if kind == "confluent" else 1.0)
    score = _random_field(points / scales, rng)
    relative_thickness = (thickness - thickness.mean()) / (thickness.std() + 1e-6)
    midwall = -(((depth - 0.5) / 0.3) ** 2)
    if kind in ("patchy", "confluent"):
        score += 0.6 * relative_thickness + midwall
    elif kind == "insertion":
        score += 3 * _near_insertions(case, angle, where[:, 0], rng) + midwall
    elif kind == "apical":
        score += 2 * (height - height.mean()) / (height.std() + 1e-6) * rng.choice([-1, 1])
    else:
        span = np.radians(rng.uniform(30, 120)) / 2
        away = np.abs((angle - rng.uniform(-np.pi, np.pi) + np.pi) % (2 * np.pi) - np.pi)
        middle, reach = rng.choice(height), rng.uniform(15, 45)
        score = 0.3 * score - (away / span) ** 2 - ((height - middle) / reach) ** 2
        score -= 20 * np.clip(depth - rng.uniform(0.25, 1.0), 0, None)
    share = float(np.clip(0.1 * np.exp(rng.normal(0, 0.9)), 0.004, 0.4))
    scar = np.zeros(muscle.shape, bool)
    scar[muscle] = score > np.quantile(score, 1 - share)
    for slice_scar in scar:
        islands, _ = ndimage.label(slice_scar)
        small = np.bincount(islands.ravel()) <= 4
        slice_scar[small[islands]] = False
    return scar


def _wall_coordinates(case: Case) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Depth in the wall (0 endocardium, 1 epicardium), thickness (mm) and angle (radians), slice by slice."""
    depth, thickness, angle = (np.zeros(case.label.shape, np.float32) for _ in range(3))
    for i, label in enumerate(case.label):
        heart = label != Tissue.BACKGROUND
        if not heart.any():
            continue
        blood = label == Tissue.BLOOD
        center = np.argwhere(blood if blood.any() else heart).mean(0)
        outward = ndimage.distance_transform_edt(heart, case.pixel_spacing)
        rows, columns = np.indices(label.shape)
        radial = np.hypot(rows - center[0], columns - center[1]) * case.pixel_spacing[0]
        inward = ndimage.distance_transform_edt(~blood, case.pixel_spacing) if blood.any() else radial
        thickness[i] = inward + outward
        depth[i] = inward / np.maximum(thickness[i], 1e-6)
        angle[i] = np.arctan2(rows - center[0], columns - center[1])
    return depth, thickness, angle


def _near_insertions(case: Case, angle: np.ndarray, slices: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """1 at the right ventricle's insertions, falling off over 25 degrees; invented where it is not outlined."""
    first = rng.uniform(-np.pi, np.pi)
    points = np.tile([first, first + np.radians(rng.uniform(100, 140))], (len(case.label), 1))
    if case.right_ventricle is not None:
        for i, right in enumerate(case.right_ventricle):
            blood = case.label[i] == Tissue.BLOOD
            if right.sum() < 40 or not blood.any():
                continue
            center = np.argwhere(blood).mean(0)
            near = (
                np.argwhere(right & ndimage.binary_dilation(case.label[i] != Tissue.BACKGROUND, iterations=4)) - center
            )
            if len(near) < 5:
                continue
            theta = np.arctan2(near[:, 0], near[:, 1])
            middle = np.arctan2(np.sin(theta).mean(), np.cos(theta).mean())
            spread = (theta - middle + np.pi) % (2 * np.pi) - np.pi
            points[i] = middle + spread.min(), middle + spread.max()
    points = points + rng.normal(0, 0.1, 2)
    away = np.abs((angle[:, None] - points[slices] + np.pi) % (2 * np.pi) - np.pi).min(axis=1)
    return np.exp(-((away / np.radians(25)) ** 2))


def _random_field(points: np.ndarray, rng: np.random.Generator, waves: int = 96) -> np.ndarray:
    """Gaussian random field of unit variance and unit length, by random Fourier features (Rahimi and Recht, 2007)."""
    phase = points @ rng.normal(size=(points.shape[1], waves)) + rng.uniform(0, 2 * np.pi, waves)
    return np.cos(phase) @ rng.normal(size=waves) * np.sqrt(2 / waves)


def _texture(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of unit SD in each slice, with grains of a few pixels."""
    grain = rng.uniform(0.8, 3.0)
    noise = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0, grain, grain))
    return noise / noise.std()


def _soft(mask: np.ndarray, sigma: float = 0.7) -> np.ndarray:
    """Edge of a mask as partial volume makes it, slice by slice."""
    return ndimage.gaussian_filter(mask.astype(np.float32), (0, sigma, sigma))
