"""The 17 segments of the left ventricle as a bullseye.

Numbers and places after Cerqueira et al., Circulation 2002;105:539: seen from the apex, anterior wall above, septum on
the left, base outside.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from scarnode.pipeline.measure.model import AhaSegment, Transmurality
from scarnode.pipeline.report.fonts import draw_text, text_width
from scarnode.pipeline.report.style import LINE, MUTED, PANEL, TEXT, Color

STOPS: tuple[tuple[float, Color], ...] = (
    (0.0, (255, 247, 236)),
    (5.0, (253, 212, 158)),
    (15.0, (252, 141, 89)),
    (30.0, (215, 48, 31)),
    (60.0, (127, 0, 0)),
    (100.0, (60, 0, 10)),
)
"""%LGE and its colour: lightness falls all the way, so that it reads without colour (after ColorBrewer's OrRd)."""
NOT_SHOWN: Color = (92, 97, 106)
"""A segment without a number: a grey that the scale does not have."""
WIDTH, SIZE = 704, 468
_RADIUS = 212
_CENTER = (24 + _RADIUS, 40 + _RADIUS)
_RINGS = (1.0, 0.755, 0.51, 0.235)
"""Outer radius of base, middle, apical ring and tip, as a share of the whole."""
_OVERSAMPLING = 2


def shade(lge_percent: float) -> Color:
    """Return the colour of a %LGE: the more, the darker."""
    points, colors = zip(*STOPS, strict=True)
    red, green, blue = (round(float(np.interp(lge_percent, points, channel))) for channel in zip(*colors, strict=True))
    return red, green, blue


def draw_bullseye(segments: Sequence[AhaSegment], reason: str) -> Image.Image:
    """Draw %LGE and transmurality of every segment, with a legend.

    Parameters
    ----------
    segments : sequence of AhaSegment
        All 17, or none.
    reason : str
        Why there are none, in a few words.

    Returns
    -------
    PIL.Image.Image
        RGB, `WIDTH` by `SIZE` pixels.
    """
    panel = Image.new("RGB", (WIDTH, SIZE), PANEL)
    known = {segment.number: segment for segment in segments}
    panel.paste(_disc(known), (_CENTER[0] - _RADIUS - 1, _CENTER[1] - _RADIUS - 1))
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (16, 10), "17 segments, %LGE", 18, MUTED)
    x, y = _CENTER
    for number in range(1, 18):
        _label(draw, number, known.get(number))
    for at, text in (((x, y - _RADIUS - 22), "anterior"), ((x, y + _RADIUS + 4), "inferior")):
        draw_text(draw, at, text, 15, TEXT, align="middle")
    draw_text(draw, (x - _RADIUS + 2, y + _RADIUS - 26), "septal", 15, TEXT, align="middle")
    draw_text(draw, (x + _RADIUS - 2, y + _RADIUS - 26), "lateral", 15, TEXT, align="middle")
    _legend(draw, 2 * _RADIUS + 64)
    if not segments:
        width = int(text_width(reason, 17)) + 32
        draw.rounded_rectangle((x - width // 2, y - 22, x + width // 2, y + 22), radius=6, fill=PANEL, outline=TEXT)
        draw_text(draw, (x, y - 11), reason, 17, TEXT, align="middle")
    return panel


def place(number: int) -> tuple[int, float, float]:
    """Return where a segment lies.

    Parameters
    ----------
    number : int
        1 to 17.

    Returns
    -------
    ring : int
        0 base, 1 middle, 2 apical, 3 tip.
    first, last : float
        Degrees clockwise from the right, as Pillow counts them.
    """
    if number == 17:
        return 3, 0.0, 360.0
    ring, count = (0, 6) if number <= 6 else (1, 6) if number <= 12 else (2, 4)
    width = 360.0 / count
    steps = number - (1, 7, 13)[ring]  # counter-clockwise from the anterior wall
    middle = 270.0 - steps * width
    return ring, middle - width / 2, middle + width / 2


def middle_of(number: int) -> tuple[int, int]:
    """Return the pixel (x, y) of the panel at the middle of a segment."""
    ring, first, last = place(number)
    if ring == 3:
        return _CENTER
    radius = _RADIUS * ((_RINGS[ring] + _RINGS[ring + 1]) / 2 - 0.02)  # a little inwards: there the corners fit
    angle = math.radians((first + last) / 2)
    return round(_CENTER[0] + radius * math.cos(angle)), round(_CENTER[1] + radius * math.sin(angle))


def _disc(known: dict[int, AhaSegment]) -> Image.Image:
    """Draw the coloured segments, ring by ring from outside, twice as large as needed and then reduced."""
    size = 2 * (_RADIUS + 1) * _OVERSAMPLING
    disc = Image.new("RGB", (size, size), PANEL)
    draw = ImageDraw.Draw(disc)
    for number in range(1, 18):
        ring, first, last = place(number)
        radius = _RADIUS * _RINGS[ring] * _OVERSAMPLING
        box = (size / 2 - radius, size / 2 - radius, size / 2 + radius, size / 2 + radius)
        segment = known.get(number)
        lge = segment.lge_percent if segment is not None else None
        draw.pieslice(box, first, last, fill=NOT_SHOWN if lge is None else shade(lge), outline=PANEL, width=4)
    return disc.reduce(_OVERSAMPLING)


def _label(draw: ImageDraw.ImageDraw, number: int, segment: AhaSegment | None) -> None:
    """Write number, %LGE and the bin of transmurality into a segment."""
    x, y = middle_of(number)
    if segment is None or segment.lge_percent is None:
        draw_text(draw, (x, y - 9), str(number), 15, TEXT, align="middle")
        return
    lge = segment.lge_percent
    dark = sum(shade(lge)) > 330
    ink = (20, 20, 20) if dark else (255, 255, 255)
    draw_text(draw, (x, y - 23), str(number), 13, ink, align="middle")
    draw_text(draw, (x, y - 10), "<1" if 0 < lge < 0.5 else f"{lge:.0f}", 20, ink, align="middle")
    if segment.transmurality is not None:
        _pips(draw, (x, y + 17), segment.transmurality, ink)


def _pips(draw: ImageDraw.ImageDraw, at: tuple[int, int], transmurality: Transmurality, ink: Color) -> None:
    """Draw four squares, as many of them filled as the bin has quarters; none for no scar."""
    filled = list(Transmurality).index(transmurality)
    if filled == 0:
        return
    for index in range(4):
        left, top = at[0] - 16 + 8 * index, at[1] - 3
        draw.rectangle((left, top, left + 6, top + 6), outline=ink, fill=ink if index < filled else None)


def _legend(draw: ImageDraw.ImageDraw, left: int) -> None:
    """Draw the scale, the bins of transmurality and the grey."""
    top, height = 62, 150
    draw_text(draw, (left, 34), "%LGE of the segment", 15, MUTED)
    last = STOPS[-1][0]
    for y in range(height):  # stretched where the colours are: the square root of the percentage
        draw.line((left, top + y, left + 26, top + y), fill=shade(last * (y / (height - 1)) ** 2))
    draw.rectangle((left, top, left + 26, top + height - 1), outline=LINE)
    for value, _ in STOPS:
        at = top + (height - 1) * math.sqrt(value / last)
        draw.line((left + 27, at, left + 32, at), fill=MUTED)
        draw_text(draw, (left + 38, y - 9), f"{value:.0f}", 15, TEXT)
    top += height + 24
    draw_text(draw, (left, top), "Share of the wall's", 15, MUTED)
    draw_text(draw, (left, top + 18), "thickness with scar", 15, MUTED)
    for index, transmurality in enumerate(list(Transmurality)[1:]):
        y = top + 48 + 23 * index
        _pips(draw, (left + 18, y + 9), transmurality, TEXT)
        draw_text(draw, (left + 48, y), transmurality.value, 15, TEXT)
    y = top + 48 + 23 * 4
    draw_text(draw, (left, y), "no squares: 0 %; 17: not told", 15, TEXT)
    draw.rectangle((left, y + 34, left + 26, y + 50), fill=NOT_SHOWN)
    draw_text(draw, (left + 38, y + 32), "no number", 15, TEXT)
