"""Every slice twice: as it came, and with its outlines."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw

from scarnode.pipeline.measure.model import Measurements, SliceMeasurements
from scarnode.pipeline.report.contours import left_ventricle, outlines
from scarnode.pipeline.report.fonts import draw_text, text_width
from scarnode.pipeline.report.style import (
    BACKGROUND,
    ENDOCARDIUM,
    EPICARDIUM,
    GAP,
    INNER,
    MUTED,
    PANEL,
    SCAR,
    TEXT,
    Color,
)
from scarnode.pipeline.segment.model import Segmentation, Tissue
from scarnode.pipeline.stack.model import Stack

OVERSAMPLING = 2
LARGEST = 330
CAPTION = 28
LEGEND = 34
DASH = 8.0
"""Pixels. The epicardium is dashed, so that it differs from scar without colour, and does not hide the image."""
FIELD_MARGIN, MIN_FIELD = 14.0, 70.0
"""mm shown around the left ventricle, and the smallest field of view, mm."""


@dataclass(frozen=True)
class _Field:
    """The part of the images that is shown: first pixel and size in pixels (may reach beyond the image)."""

    row: float
    column: float
    rows: float
    columns: float


@dataclass(frozen=True)
class View:
    """How the slices of a stack are shown: the same field of view and grey window for all."""

    field: _Field
    window: tuple[float, float]


def draw_slices(
    stack: Stack, volume: np.ndarray, segmentation: Segmentation, measurements: Measurements
) -> Image.Image:
    """Draw all slices, base to apex, each as a pair, with one field of view and one grey window for all.

    Where nothing was outlined there is nothing to pair: every slice once, larger.

    Parameters
    ----------
    stack : Stack
    volume : numpy.ndarray
        float32, shape (slices, rows, columns).
    segmentation : Segmentation
    measurements : Measurements

    Returns
    -------
    PIL.Image.Image
        RGB, `INNER` pixels wide.
    """
    count = len(stack.frames)
    paired = bool(segmentation.labels.any())
    across, tile = _grid(count, paired)
    width, height = (2 * tile + 2 if paired else tile), tile + CAPTION
    view = choose_view(stack, volume, segmentation.labels)
    panel = Image.new("RGB", (INNER, LEGEND + math.ceil(count / across) * (height + GAP) - GAP), BACKGROUND)
    _legend(panel, view.window, paired)
    for index, numbers in enumerate(measurements.slices):
        row, column = divmod(index, across)
        left, top = column * (width + GAP), LEGEND + row * (height + GAP)
        plain, outlined = draw_pair(volume[index], segmentation.labels[index], view, tile)
        panel.paste(PANEL, (left, top, left + width, top + CAPTION))
        panel.paste(plain, (left, top + CAPTION))
        if paired:
            panel.paste(outlined, (left + tile + 2, top + CAPTION))
        _caption(ImageDraw.Draw(panel), (left, top), width, numbers, count)
    return panel


def _grid(count: int, paired: bool) -> tuple[int, int]:
    """Choose how many slices stand beside each other, and the side of one image in pixels."""
    across = 2 if count <= 4 else 3 if count <= 15 else 4  # gives the largest images on a sheet of A4
    if not paired:
        return across + 1, min(LARGEST, (INNER - across * GAP) // (across + 1))
    return across, min(LARGEST, ((INNER - (across - 1) * GAP) // across - 2) // 2)


def choose_view(stack: Stack, volume: np.ndarray, labels: np.ndarray) -> View:
    """Choose the part of the images that is shown, and the grey window, the same for all slices.

    Parameters
    ----------
    stack : Stack
    volume : numpy.ndarray
        float32, shape (slices, rows, columns).
    labels : numpy.ndarray
        Same shape, values of `Tissue`.
    """
    field = _field_of_view(stack, labels)
    return View(field, _window(volume, field))


def _field_of_view(stack: Stack, labels: np.ndarray) -> _Field:
    """Choose a square (in mm) around the left ventricle, the same for all slices; the whole image without one."""
    height, width = stack.rows, stack.columns
    dy, dx = stack.pixel_spacing
    seen = np.argwhere((labels != Tissue.BACKGROUND).any(axis=0))
    if len(seen) == 0:
        side = max(height * dy, width * dx)
        center = (height / 2, width / 2)
    else:
        first, last = seen.min(axis=0), seen.max(axis=0) + 1
        extent = max((last[0] - first[0]) * dy, (last[1] - first[1]) * dx)
        side = max(MIN_FIELD, extent + 2 * FIELD_MARGIN)
        center = tuple((first + last) / 2)
    return _Field(center[0] - side / dy / 2, center[1] - side / dx / 2, side / dy, side / dx)


def _window(volume: np.ndarray, field: _Field) -> tuple[float, float]:
    """Choose one grey window for all slices from what is shown of them."""
    top, left = max(0, int(field.row)), max(0, int(field.column))
    shown = volume[:, top : int(field.row + field.rows) + 1, left : int(field.column + field.columns) + 1]
    finite = shown[np.isfinite(shown)]
    if finite.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(finite, (1.0, 99.3))
    return float(low), float(high if high > low else low + 1.0)


def draw_pair(pixels: np.ndarray, labels: np.ndarray, view: View, tile: int) -> tuple[Image.Image, Image.Image]:
    """Draw one slice without and with outlines, twice as large as needed, then reduced: smooth lines.

    Parameters
    ----------
    pixels, labels : numpy.ndarray
        Shape (rows, columns).
    view : View
    tile : int
        Side of the pictures, pixels.

    Returns
    -------
    tuple of PIL.Image.Image
        RGB.
    """
    field, (low, high) = view.field, view.window
    grey = np.nan_to_num(np.clip((pixels - low) / (high - low), 0, 1)) * 255
    size = tile * OVERSAMPLING
    picture = _enlarge(grey.astype(np.uint8), field, size)
    plain = picture.reduce(OVERSAMPLING).convert("RGB")
    used = np.argwhere(labels != Tissue.BACKGROUND)
    if len(used) == 0:
        return plain, plain
    outlined = picture.convert("RGB")
    draw = ImageDraw.Draw(outlined)
    (top, left), (bottom, right) = used.min(axis=0), used.max(axis=0) + 1
    labels = labels[top:bottom, left:right]  # tracing a whole image takes ten times as long
    shift = np.array((left - field.column, top - field.row))
    scale = np.array((size / field.columns, size / field.rows))
    width = max(3, round(tile / 75))

    def trace(mask: np.ndarray, color: Color, dash: float | None = None) -> None:
        for contour in outlines(mask):
            _draw_line(draw, (contour + shift) * scale, color, width, dash)

    trace(left_ventricle(labels), EPICARDIUM, DASH * OVERSAMPLING)
    trace(labels == Tissue.BLOOD, ENDOCARDIUM)
    trace(labels == Tissue.SCAR, SCAR)
    return plain, outlined.reduce(OVERSAMPLING)


def _draw_line(draw: ImageDraw.ImageDraw, points: np.ndarray, color: Color, width: int, dash: float | None) -> None:
    """Draw a line through points, shape (n, 2); with `dash`, as dashes of that length and gaps half as long."""
    if dash is None:
        draw.line(points.ravel().tolist(), fill=color, width=width, joint="curve")
        return
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(points, axis=0).T))])
    for start in np.arange(0.0, along[-1], 1.5 * dash):
        at = np.linspace(start, min(start + dash, along[-1]), 5)
        part = np.column_stack([np.interp(at, along, points[:, 0]), np.interp(at, along, points[:, 1])])
        draw.line(part.ravel().tolist(), fill=color, width=width)


def _enlarge(pixels: np.ndarray, field: _Field, size: int) -> Image.Image:
    """Resample the field of view of a uint8 image to a square of `size` pixels, black where it reaches beyond."""
    left, top = math.floor(field.column), math.floor(field.row)
    right, bottom = math.ceil(field.column + field.columns), math.ceil(field.row + field.rows)
    cut = Image.fromarray(pixels).crop((left, top, right, bottom))
    x, y = field.column - left, field.row - top
    box = (x, y, x + field.columns, y + field.rows)
    return cut.resize((size, size), Image.Resampling.BICUBIC, box=box)


def _caption(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], width: int, numbers: SliceMeasurements, count: int
) -> None:
    """Write the slice's number and end, its scar volume and its %LGE."""
    end = " base" if numbers.index == 0 else " apex" if numbers.index == count - 1 else ""
    left, y = at[0] + 8, at[1] + 4
    draw_text(draw, (left, y), f"{numbers.index + 1}{end if count > 1 else ''}", 17, TEXT)
    if numbers.lge_percent is None:
        text, color = "no myocardium", MUTED
    elif numbers.scar_volume == 0:
        text, color = "no scar", MUTED
    else:
        text, color = f"scar {numbers.scar_volume:.2f} cm³   {numbers.lge_percent:.0f} %LGE", (255, 176, 120)
    draw_text(draw, (at[0] + width - 8, y), text, 17, color, align="right")


def _legend(panel: Image.Image, window: tuple[float, float], paired: bool) -> None:
    draw = ImageDraw.Draw(panel)
    title = "Slices, base to apex: " + ("left as it came, right with outlines" if paired else "nothing was outlined")
    draw_text(draw, (0, 4), title, 18, TEXT)
    x = int(text_width(title, 18)) + 36
    for color, text in ((EPICARDIUM, "epicardium"), (ENDOCARDIUM, "endocardium"), (SCAR, "scar")) if paired else ():
        line = np.array([(x, 15.0), (x + 30, 15.0)])
        _draw_line(draw, line, color, 3, DASH if color == EPICARDIUM else None)
        draw_text(draw, (x + 38, 4), text, 18, TEXT)
        x += 66 + int(text_width(text, 18))
    note = "one grey window for all: {:.0f} to {:.0f}".format(*window)
    draw_text(draw, (INNER, 6), note, 15, MUTED, align="right")
