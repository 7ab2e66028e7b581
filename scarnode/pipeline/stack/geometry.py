"""Planes, order and spacing, from ImagePositionPatient and ImageOrientationPatient alone (never from SliceLocation).

All vectors are LPS, all lengths millimetres, all angles degrees.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Orientation = tuple[float, float, float, float, float, float]


def is_orthonormal(orientation: Sequence[float], tolerance: float) -> bool:
    """Return whether row and column direction are of unit length and at right angles, each within `tolerance`."""
    row, column = np.array(orientation[:3], float), np.array(orientation[3:], float)
    if not np.all(np.isfinite(orientation)) or np.max(np.abs(orientation)) > 2:
        return False
    return bool(max(abs(row @ row - 1) / 2, abs(column @ column - 1) / 2, abs(row @ column)) <= tolerance)


def cluster_orientations(orientations: Sequence[Orientation], limit: float) -> np.ndarray:
    """Put frames whose row and column directions agree within `limit` degrees under one number.

    Both directions count, not only the normal: a plane turned or mirrored in itself is another pixel grid.

    Returns
    -------
    numpy.ndarray
        int, shape (n,): clusters numbered from 0 in the order of their first frame.
    """
    axes = np.array(orientations, float).reshape(-1, 2, 3)
    axes = axes / np.linalg.norm(axes, axis=2, keepdims=True)
    labels = np.full(len(axes), -1)
    floor = np.cos(np.deg2rad(limit))
    label = 0
    while (free := np.flatnonzero(labels < 0)).size:
        seed = axes[free[0]]
        agree = np.einsum("nij,ij->ni", axes[free], seed).min(axis=1) >= floor - 1e-12
        agree[0] = True
        labels[free[agree]] = label
        label += 1
    return labels


def cluster_planes(orientations: Sequence[Orientation], limit: float) -> np.ndarray:
    """Put frames whose planes agree within `limit` degrees under one number, however they are turned or mirrored in it.

    Returns
    -------
    numpy.ndarray
        int, shape (n,): clusters numbered from 0 in the order of their first frame.
    """
    axes = np.array(orientations, float).reshape(-1, 2, 3)
    normals = np.cross(axes[:, 0], axes[:, 1])
    normals = normals / np.linalg.norm(normals, axis=1, keepdims=True)
    labels = np.full(len(normals), -1)
    floor = np.cos(np.deg2rad(limit))
    label = 0
    while (free := np.flatnonzero(labels < 0)).size:
        agree = np.abs(normals[free] @ normals[free[0]]) >= floor - 1e-12
        agree[0] = True
        labels[free[agree]] = label
        label += 1
    return labels


def usual_orientation(orientations: Sequence[Orientation], limit: float) -> Orientation:
    """Average the largest group of orientations that agree within `limit` degrees in rows and columns."""
    labels = cluster_orientations(orientations, limit)
    most = np.bincount(labels).argmax()
    return mean_orientation([own for own, label in zip(orientations, labels, strict=True) if label == most])


def mean_orientation(orientations: Sequence[Orientation]) -> Orientation:
    """Average nearly equal orientations; the nearest orthonormal pair to the mean, by polar decomposition."""
    mean = np.mean(np.array(orientations, float).reshape(-1, 2, 3), axis=0)
    left, _, right = np.linalg.svd(mean, full_matrices=False)
    x1, y1, z1, x2, y2, z2 = (float(value) for value in (left @ right).ravel())
    return x1, y1, z1, x2, y2, z2


def normal(orientation: Sequence[float]) -> np.ndarray:
    """Return unit normal of a plane, row direction x column direction; shape (3,)."""
    cross = np.cross(orientation[:3], orientation[3:])
    return cross / np.linalg.norm(cross)


def towards_base(orientation: Sequence[float], base: np.ndarray) -> np.ndarray:
    """Return unit normal of a plane, turned to the side of `base` (the direction from apex to base)."""
    n = normal(orientation)
    return n if n @ base >= 0 else -n


def plane_angle(first: np.ndarray, second: np.ndarray) -> float:
    """Angle between two planes given by their normals, 0 to 90 degrees."""
    cosine = abs(first @ second) / (np.linalg.norm(first) * np.linalg.norm(second))
    return float(np.rad2deg(np.arccos(np.clip(cosine, 0, 1))))


def locations(
    positions: Sequence[Sequence[float]] | np.ndarray, direction: np.ndarray, tolerance: float
) -> list[list[int]]:
    """Sort frames along a direction and put those at one place together.

    Parameters
    ----------
    positions : sequence of (x, y, z)
    direction : numpy.ndarray
        Unit vector from apex to base.
    tolerance : float
        Frames whose depth along `direction` differs by no more than this, mm, share a location.

    Returns
    -------
    list of list of int
        Indices of frames, one list a location, base (furthest along `direction`) first.
    """
    depth = np.array(positions, float).reshape(-1, 3) @ direction
    found: list[list[int]] = []
    for index in np.argsort(-depth, kind="stable"):
        if found and depth[found[-1][0]] - depth[index] <= tolerance:
            found[-1].append(int(index))
        else:
            found.append([int(index)])
    return found


def step(depths: np.ndarray) -> float:
    """Usual distance of neighbours in sorted `depths`: the lower median, so that one gap in three slices shows."""
    gaps = np.sort(np.abs(np.diff(depths)))
    return float(gaps[(len(gaps) - 1) // 2]) if len(gaps) else 0.0


def gap_kinds(depths: np.ndarray, missing: float, tolerance: float) -> tuple[bool, bool]:
    """Return whether slices are missing between sorted `depths`, and whether they are unequally spaced.

    Parameters
    ----------
    depths : numpy.ndarray
        mm, sorted either way.
    missing : float
        A gap of at least this many steps lacks a slice, e.g. 1.8.
    tolerance : float
        A gap that differs from a whole number of steps (one, where none is missing) by more than this share of a step
        is unequal.

    Returns
    -------
    (bool, bool)
        Missing, unequal. A gap of twice the step within 0.2 is missing only.
    """
    usual = step(depths)
    if usual <= 0:
        return False, False
    ratio = np.abs(np.diff(depths)) / usual
    lacking = ratio >= missing
    whole = np.abs(ratio - np.round(ratio)) <= 2 - missing + 1e-9
    unequal = np.where(lacking, ~whole, np.abs(ratio - 1) > tolerance)
    return bool(lacking.any()), bool(unequal.any())


def coincident(first: np.ndarray, second: np.ndarray, tolerance: float) -> np.ndarray:
    """Return for each depth of `first` whether `second` has one within `tolerance`; bool, shape of `first`."""
    if not len(second):
        return np.zeros(len(first), bool)
    return np.abs(np.subtract.outer(first, second)).min(axis=1) <= tolerance


def adjoining(first: np.ndarray, second: np.ndarray, same: float, most: float) -> bool:
    """Return whether two sets of depths lie beside each other, at most `most` usual steps apart, without overlap."""
    lower, upper = sorted((first, second), key=lambda depths: depths.min())
    gap = float(upper.min() - lower.max())
    usual = max(step(np.sort(first)), step(np.sort(second)))
    return same < gap <= most * usual


def complementary(first: np.ndarray, second: np.ndarray, thickness: float, same: float, tolerance: float) -> bool:
    """Return whether two sets of depths are parts of one regular stack, not two acquisitions of one region.

    They are when at most a third of the smaller one's slices are also in the other, and together they have one step,
    not finer than the slices are thick.
    """
    small, large = sorted((first, second), key=len)
    again = coincident(small, large, same)
    if again.sum() > len(small) / 3:
        return False
    depths = np.sort(np.concatenate([large, small[~again]]))
    usual = step(depths)
    if usual < 0.9 * thickness:
        return False
    ratio = np.diff(depths) / usual
    return bool(np.all(np.abs(ratio - 1) <= tolerance))
