"""The 17 segments of the left ventricle, from the direction to the right one and the slices' places."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from scarnode.pipeline.measure.model import AhaSegment, Transmurality
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.stack.model import Stack

SEGMENTS = 17
"""Cerqueira et al., Circulation 2002;105:539."""
FEWEST_SLICES = 3
"""A basal, a middle and an apical one."""

_ANTERIOR = np.array((0.0, -1.0, 1.0))
"""LPS: the anterior wall faces the patient's front and head, the inferior wall back and feet."""
_SIXTHS = np.array((2, 1, 6, 5, 4, 3))
"""Basal segments of 60 degrees, from the direction to the right ventricle on towards the anterior wall. Mid: 6 more."""
_QUARTERS = np.array((14, 13, 16, 15))
"""Apical segments of 90 degrees; the first, septal, is centred on the direction to the right ventricle."""
_BINS = (Transmurality.TO_25, Transmurality.TO_50, Transmurality.TO_75, Transmurality.TO_100)


class Level(IntEnum):
    """Where along the long axis a slice lies."""

    BASAL = 0
    MID = 1
    APICAL = 2
    CAP = 3
    """Beyond the end of the cavity."""
    OUTSIDE = 4
    """Without myocardium."""


def aha_segments(stack: Stack, labels: np.ndarray, right_ventricle: float | None) -> tuple[AhaSegment, ...]:
    """Volume, %LGE and transmurality of the 17 segments (Cerqueira et al. 2002; Schulz-Menger et al. 2020).

    Around the axis: angles are taken in mm in each slice around the centre of its cavity (mean place of its blood; of
    its wall where it has none), from the direction to the right ventricle, positive towards the anterior wall. The
    septum is centred on that direction. In the basal and the middle third, segments are 60 degrees wide, and the
    direction is the border between the antero- and the inferoseptal one (2 | 3, 8 | 9). In the apical third, segments
    are 90 degrees wide, and it is the middle of the septal one (14). The insertion points of the right ventricle are
    not used.

    Anterior: seen from the apex with the septum left, the anterior wall is up. So its direction is the cross product
    (to the right ventricle) x (base to apex) in patient coordinates (LPS). It uses orientation and positions of the
    images, so a mirrored or rotated grid gives the same segments. Anterior must also face the patient's front and head.
    Where the two disagree (a wrong right ventricle, dextrocardia) no segment is named.

    Along the axis: the apical slices after the last one that shows any blood are segment 17. The wall of the others
    reaches from the outer border of the first to that of the last (borders lie half way between neighbours; an end
    slice reaches as far outward as inward, as for volumes). A slice is basal, mid or apical by the third of this length
    in mm that holds its position; on a border it goes to the apex's side.

    Transmurality: chords run from the cavity's centre outward at equal angles, close enough together to meet every
    pixel; a chord's share is its length in scar over its length in the wall, both in voxels of its own segment. The
    segment's value is the mean over the chords that cross scar, weighted by the slices' extents.

    Parameters
    ----------
    stack : Stack
        Gives orientation, positions and slice extents.
    labels : numpy.ndarray
        (slices, rows, columns), values of `Tissue`, base to apex; a part of the stack's rows and columns will do.
    right_ventricle : float or None
        Direction from the left to the right ventricle, radian, atan2(down, right) in mm on the image.

    Returns
    -------
    tuple of AhaSegment
        All 17 in their order; empty where the direction is not known or does not fit the patient, or where fewer than
        three slices are left for basal, mid and apical.
    """
    numbers = segment_map(stack, labels, right_ventricle)
    if right_ventricle is None or not numbers.any():
        return ()

    turn, levels = _turn_to_anterior(stack, right_ventricle), find_levels(stack, labels)
    total, scar = np.zeros(SEGMENTS + 1), np.zeros(SEGMENTS + 1)  # cm3; by number, 0 unused
    crossing, share = np.zeros(SEGMENTS + 1), np.zeros(SEGMENTS + 1)
    voxels = stack.pixel_spacing[0] * stack.pixel_spacing[1] * stack.slice_extents / 1000
    for label, number, level, voxel, extent in zip(labels, numbers, levels, voxels, stack.slice_extents, strict=True):
        places = np.nonzero(number)
        total += voxel * np.bincount(number[places], minlength=SEGMENTS + 1)
        scar += voxel * np.bincount(number[places], label[places] == Tissue.SCAR, SEGMENTS + 1)
        if level < Level.CAP and (label == Tissue.SCAR).any():
            polar = _Polar(_center(label), stack.pixel_spacing, right_ventricle, turn)
            distance, _ = polar.of(*places)
            chord, part = _chords(label == Tissue.SCAR, number, level, polar, (distance.min(), distance.max()))
            weight = extent / len(part)
            crossing += weight * np.bincount(chord[part > 0], minlength=SEGMENTS + 1)
            share += weight * np.bincount(chord, part, SEGMENTS + 1)

    return tuple(
        AhaSegment(
            number,
            float(total[number]),
            float(100 * (scar[number] / total[number])) if total[number] > 0 else None,
            _bin(share[number], crossing[number]) if total[number] > 0 and number != SEGMENTS else None,
        )
        for number in range(1, SEGMENTS + 1)
    )


def segment_map(stack: Stack, labels: np.ndarray, right_ventricle: float | None) -> np.ndarray:
    """Return which segment every pixel of the wall belongs to, as `aha_segments` says.

    Parameters are those of `aha_segments`.

    Returns
    -------
    numpy.ndarray
        uint8, (slices, rows, columns): 1 to 17, 0 outside the wall; all 0 where no segment can be named.
    """
    numbers = np.zeros(labels.shape, np.uint8)
    levels = find_levels(stack, labels)
    if right_ventricle is None:
        return numbers
    turn = _turn_to_anterior(stack, right_ventricle)
    if turn == 0 or np.count_nonzero(levels < Level.CAP) < FEWEST_SLICES:
        return numbers
    for label, number, level in zip(labels, numbers, levels, strict=True):
        places = np.nonzero(label >= Tissue.MYOCARDIUM)
        if level != Level.OUTSIDE:
            polar = _Polar(_center(label), stack.pixel_spacing, right_ventricle, turn)
            number[places] = _number(level, polar.of(*places)[1])
    return numbers


def find_levels(stack: Stack, labels: np.ndarray) -> np.ndarray:
    """`Level` of every slice, as `aha_segments` says; int, shape (slices,). All outside where no cavity is shown."""
    levels = np.full(len(labels), Level.OUTSIDE, int)
    wall = (labels >= Tissue.MYOCARDIUM).any(axis=(1, 2))
    open_slices = np.flatnonzero(wall & (labels == Tissue.BLOOD).any(axis=(1, 2)))
    if len(labels) < FEWEST_SLICES or not len(open_slices):
        return levels
    depth = -np.array([frame.position for frame in stack.frames]) @ stack.normal  # mm, growing to the apex
    middles = (depth[1:] + depth[:-1]) / 2
    borders = np.concatenate([[2 * depth[0] - middles[0]], middles, [2 * depth[-1] - middles[-1]]])
    seen = np.flatnonzero(wall)
    body, cap = seen[seen <= open_slices[-1]], seen[seen > open_slices[-1]]
    first, last = borders[body[0]], borders[body[-1] + 1]
    levels[body] = np.floor(3 * (depth[body] - first) / (last - first) + 1e-9)
    levels[cap] = Level.CAP
    return levels


def _turn_to_anterior(stack: Stack, right_ventricle: float) -> int:
    """Sign of the turn, in angles of the image, from the septum to the anterior wall; 0 where it does not fit."""
    row, column = np.array(stack.orientation[:3]), np.array(stack.orientation[3:])
    to_right_ventricle = np.cos(right_ventricle) * row + np.sin(right_ventricle) * column
    anterior = np.cross(to_right_ventricle, -stack.normal)
    if anterior @ _ANTERIOR <= 0:
        return 0
    return 1 if anterior @ (np.cos(right_ventricle) * column - np.sin(right_ventricle) * row) > 0 else -1


def _number(level: int, angle: np.ndarray) -> np.ndarray:
    """Segment at angles (radian) from the direction to the right ventricle, positive towards the anterior wall."""
    if level == Level.CAP:
        return np.full(angle.shape, SEGMENTS)
    # What lies on a border must not change sides with the rounding of a turned grid.
    turns = (angle / (2 * np.pi) + 1e-9) % 1.0
    if level == Level.APICAL:
        return _QUARTERS[np.floor(turns * 4 + 0.5).astype(int) % 4]
    return _SIXTHS[np.floor(turns * 6).astype(int) % 6] + 6 * (level == Level.MID)


@dataclass(frozen=True)
class _Polar:
    """Places of a slice around its cavity's `center` (row, column): mm, and radian as `_number` takes them."""

    center: np.ndarray
    pixel_spacing: tuple[float, float]
    right_ventricle: float
    turn: int

    def of(self, row: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distance and angle of pixels."""
        down = (row - self.center[0]) * self.pixel_spacing[0]
        right = (column - self.center[1]) * self.pixel_spacing[1]
        distance = np.hypot(down, right)
        angle = self.turn * (np.arctan2(down, right) - self.right_ventricle)
        return distance, np.where(distance > 1e-6, angle, 0.0)  # the centre itself has no angle

    def at(self, distance: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row and column of each distance at each angle, (angles, distances)."""
        on_image = self.right_ventricle + self.turn * angle
        row = self.center[0] + np.outer(np.sin(on_image), distance) / self.pixel_spacing[0]
        return row, self.center[1] + np.outer(np.cos(on_image), distance) / self.pixel_spacing[1]


def _center(label: np.ndarray) -> np.ndarray:
    """(row, column) of the cavity's middle in one slice."""
    blood = label == Tissue.BLOOD
    return np.argwhere(blood if blood.any() else label >= Tissue.MYOCARDIUM).mean(axis=0)


def _chords(
    scar: np.ndarray, numbers: np.ndarray, level: int, polar: _Polar, reach: tuple[float, float]
) -> tuple[np.ndarray, np.ndarray]:
    """Segment of each chord of a slice, and scar's share of the wall along it.

    Parameters
    ----------
    scar : numpy.ndarray
        bool, (rows, columns).
    numbers : numpy.ndarray
        Same shape: segment of each pixel of the wall, 0 outside. What a chord near a border meets of the neighbour
        does not count.
    reach : tuple of float
        The nearest and the farthest place of the wall from the centre, mm.
    """
    pixel = min(polar.pixel_spacing)
    # A multiple of 24, so that chords lie at equal distances to both sides of every border.
    count = 24 * int(np.ceil(4 * np.pi * max(reach[1], pixel) / pixel / 24))
    angle = (np.arange(count) + 0.5) * 2 * np.pi / count
    beyond = max(polar.pixel_spacing)
    row, column = polar.at(np.arange(max(reach[0] - beyond, pixel / 4), reach[1] + beyond, pixel / 2), angle)
    row, column = (np.rint(x).astype(int).clip(-1, n) + 1 for x, n in zip((row, column), scar.shape, strict=True))
    chord = _number(level, angle)
    own = np.pad(numbers, 1)[row, column] == chord[:, None]  # beyond the edge there is one pixel of nothing to land on
    wall = np.count_nonzero(own, axis=1)
    return chord, np.count_nonzero(own & np.pad(scar, 1)[row, column], axis=1) / np.maximum(wall, 1)


def _bin(share: float, crossing: float) -> Transmurality:
    """Bin of share / crossing (0 to 1); no crossing: no scar."""
    if crossing == 0:
        return Transmurality.NONE
    return _BINS[min(max(int(np.ceil(4 * share / crossing - 1e-9)), 1), 4) - 1]
