"""One pixel grid for the slices of a stack, whatever grids they came on.

Slices of one ventricle may come with another matrix, pixel size, field of view or direction of rows (a changed field
of view, an export that crops). They are one stack: those that differ from the most usual grid are resampled to it.
All vectors are LPS, all lengths millimetres.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from scarnode.pipeline.stack import geometry
from scarnode.pipeline.stack.headers import Frame
from scarnode.pipeline.stack.model import PixelGrid, SourceFrame, Stack

_SPACING = 0.01
"""Pixel sizes that differ by no more are one: 1.4 is written for 1.40625."""
_TURN = np.deg2rad(0.2)
"""So far may rows be turned in their plane: a pixel at the edge of a matrix of 256."""
_WIDEST_BLUR = 8.0
"""Pixels: for pixels twenty times as large; a header can claim any size, and a wide filter takes for ever."""
_WIDER = 8
"""Columns: a whole number of bytes in a binary mask."""


@dataclass(frozen=True)
class Laid:
    """Slices on their common grid.

    Attributes
    ----------
    rows, columns : int
    pixel_spacing : tuple of float
    orientation : tuple of 6 float
    frames : tuple of SourceFrame
        In the order given; `SourceFrame.grid` says which are resampled.
    incomplete : bool
        A slice does not cover the middle of the common grid.
    """

    rows: int
    columns: int
    pixel_spacing: tuple[float, float]
    orientation: geometry.Orientation
    frames: tuple[SourceFrame, ...]
    incomplete: bool


def alike(first: Frame, second: Frame) -> bool:
    """Return whether two parallel slices have one matrix, pixel size (within 1 %) and direction of rows and columns.

    Where they lie in their plane does not matter: each slice has a position of its own.
    """
    if (first.rows, first.columns) != (second.rows, second.columns):
        return False
    one, other = first.geometry, second.geometry
    if any(abs(a - b) > _SPACING * a for a, b in zip(one.pixel_spacing, other.pixel_spacing, strict=True)):
        return False
    row, column = np.array(one.orientation[:3]), np.array(one.orientation[3:])
    along = np.array(other.orientation[:3])
    turned = np.arctan2(along @ column, along @ row)
    return bool(abs(turned) <= _TURN and np.array(other.orientation[3:]) @ column > 0)


def lay(frames: Sequence[Frame]) -> Laid:
    """Choose the common grid of parallel slices: that of most of them; of two equally frequent the finer.

    Parameters
    ----------
    frames : sequence of Frame
        One for each slice, base to apex, with sound geometry.
    """
    groups: list[list[Frame]] = []
    for frame in frames:
        home = next((group for group in groups if alike(group[0], frame)), None)
        if home is None:
            groups.append([frame])
        else:
            home.append(frame)
    usual = max(groups, key=lambda group: (len(group), -np.prod(group[0].geometry.pixel_spacing)))
    between_rows, between_columns = np.median([frame.geometry.pixel_spacing for frame in usual], axis=0)
    grid = Laid(
        usual[0].rows,
        usual[0].columns,
        (float(between_rows), float(between_columns)),
        geometry.mean_orientation([frame.geometry.orientation for frame in usual]),
        (),
        incomplete=False,
    )
    odd = [frame for group in groups if group is not usual for frame in group]
    # A viewer that lays masks on images pixel by pixel must not take a resampled slice for its own.
    wider = any((frame.rows, frame.columns) == (grid.rows, grid.columns) for frame in odd)
    laid = []
    for frame in frames:
        own = not any(frame is one for one in odd)
        position = frame.geometry.position if own else _beside(frame, usual, geometry.normal(grid.orientation))
        source = _source(frame, position)
        laid.append(source if own and not wider else replace(source, grid=_grid(frame)))
    incomplete = not all(_covers_middle(grid, source) for source in laid)
    columns = grid.columns + (_WIDER if wider else 0)
    return replace(grid, columns=columns, frames=tuple(laid), incomplete=incomplete)


def centres(frames: Sequence[Frame]) -> np.ndarray:
    """Return the middle of each image, shape (n, 3): unlike the corner, it is about the same place on every grid."""
    found = [frame.geometry for frame in frames]
    axes = np.array([own.orientation for own in found], float).reshape(-1, 2, 3)
    steps = np.array([own.pixel_spacing for own in found], float).reshape(-1, 2)
    sides = np.array([(frame.columns, frame.rows) for frame in frames], float).reshape(-1, 2)
    reach = (sides - 1) / 2 * steps[:, ::-1]  # along a row, along a column
    return np.array([own.position for own in found], float).reshape(-1, 3) + np.einsum("ni,nij->nj", reach, axes)


def on_common_grid(values: np.ndarray, stack: Stack, frame: SourceFrame) -> np.ndarray:
    """Resample a slice from its own grid to the stack's, linearly; the lowest value where the slice has no pixel.

    Parameters
    ----------
    values : numpy.ndarray
        float, shape (rows, columns) of `frame.grid`.
    stack : Stack
    frame : SourceFrame
        One of its frames.

    Returns
    -------
    numpy.ndarray
        float64, shape (rows, columns) of the stack.
    """
    from scipy import ndimage  # the node, which reads no pixels, does without

    matrix, offset = _to_own(stack, frame)
    coarser = np.linalg.norm(matrix, axis=1)  # own pixels in a step of the common grid
    sigma = np.minimum(0.4 * np.sqrt(np.maximum(coarser**2 - 1, 0)), _WIDEST_BLUR)
    smooth = ndimage.gaussian_filter(values.astype(float), np.where(sigma < 0.2, 0, sigma))
    shape = (stack.rows, stack.columns)
    at = np.einsum("ij,jrc->irc", matrix, np.indices(shape)) + offset[:, None, None]
    at = np.where(np.abs(at - np.rint(at)) < 1e-3, np.rint(at), at)  # one lattice: the values as they are
    found = ndimage.map_coordinates(smooth, at, order=1, mode="nearest")
    ends = np.array(values.shape)[:, None, None] - 0.5
    outside = ((at < -0.5) | (at >= ends)).any(axis=0)
    found[outside] = values.min()
    return found


def on_own_image(outline: np.ndarray, stack: Stack, frame: SourceFrame) -> np.ndarray:
    """Bring points on the stack's grid to the pixels of the image they are seen on.

    Parameters
    ----------
    outline : numpy.ndarray
        Shape (n, 2): column, row in image-relative coordinates, (0.5, 0.5) the centre of the first pixel.

    Returns
    -------
    numpy.ndarray
        The same for the source image, not beyond its edges.
    """
    if frame.grid is None:
        return outline
    matrix, offset = _to_own(stack, frame)
    rows_columns = (outline[:, ::-1] - 0.5) @ matrix.T + offset + 0.5
    return np.clip(rows_columns, 0, (frame.grid.rows, frame.grid.columns))[:, ::-1]


def _to_own(stack: Stack | Laid, frame: SourceFrame) -> tuple[np.ndarray, np.ndarray]:
    """Matrix and offset that take (row, column) of the common grid to those of the slice's own."""
    own = frame.grid
    if own is None:
        return np.eye(2), np.zeros(2)
    axes = _steps(stack.orientation, stack.pixel_spacing)
    own_axes = _steps(own.orientation, own.pixel_spacing)
    inverse = np.linalg.pinv(own_axes)  # (2, 3): off the plane counts for nothing
    return inverse @ axes, inverse @ np.subtract(frame.position, own.position)


def _steps(orientation: Sequence[float], spacing: Sequence[float]) -> np.ndarray:
    """Step from row to row and from column to column, mm; shape (3, 2)."""
    row, column = np.array(orientation[:3]), np.array(orientation[3:])
    return np.stack([column * spacing[0], row * spacing[1]], axis=1)


def _grid(frame: Frame) -> PixelGrid:
    own = frame.geometry
    return PixelGrid(frame.rows, frame.columns, own.pixel_spacing, own.orientation, own.position)


def _source(frame: Frame, position: Sequence[float] | np.ndarray) -> SourceFrame:
    x, y, z = (float(value) for value in position)
    return SourceFrame(
        path=frame.path,
        sop_class_uid=frame.sop_class_uid,
        sop_instance_uid=frame.sop_instance_uid,
        series_instance_uid=frame.series_instance_uid,
        frame_number=frame.frame_number,
        position=(x, y, z),
    )


def _beside(frame: Frame, usual: Sequence[Frame], normal: np.ndarray) -> np.ndarray:
    """First pixel of the common grid in the plane of an odd slice: that of the nearest usual slice, moved along."""
    middle = centres([frame])[0]
    apart = (middle - centres(usual)) @ normal
    nearest = int(np.abs(apart).argmin())
    return np.round(np.array(usual[nearest].geometry.position) + apart[nearest] * normal, 6)


def _covers_middle(grid: Laid, frame: SourceFrame) -> bool:
    """Return whether a slice has pixels for most of the middle of the common grid, where the heart is."""
    matrix, offset = _to_own(grid, frame)
    own = frame.grid
    if own is None:
        return True
    share = np.linspace(0.3, 0.7, 9)
    rows, columns = np.meshgrid(share * grid.rows, share * grid.columns)
    at = np.stack([rows.ravel(), columns.ravel()], axis=1) @ matrix.T + offset
    inside = ((at >= -0.5) & (at < np.array([own.rows, own.columns]) - 0.5)).all(axis=1)
    return bool(inside.mean() >= 0.8)
