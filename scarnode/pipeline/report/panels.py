"""The numbers of the page: the headline, the burden, the methods, the flags, the table of slices."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw

from scarnode.pipeline.measure.model import EXTENSIVE, Burden, Measurements, SliceMeasurements
from scarnode.pipeline.report.fonts import draw_given, draw_text, wrap
from scarnode.pipeline.report.style import (
    BACKGROUND,
    GAP,
    INNER,
    LINE,
    MUTED,
    PANEL,
    SCAR,
    TEXT,
    WARNING,
    Color,
    beside,
    stacked,
)

_CARD, _CARD_HEIGHT = 268, 142
_PAD = 16
_NOTHING = "not measured"
_BAND = 20
"""Slices in one row of the table."""


def draw_numbers(measurements: Measurements) -> Image.Image:
    """Draw scar, myocardium, %LGE and where it lies against `EXTENSIVE`.

    Parameters
    ----------
    measurements : Measurements

    Returns
    -------
    PIL.Image.Image
        RGB, `INNER` pixels wide.
    """
    numbers = measurements
    if numbers.lge_percent is None:
        nothing = (_NOTHING, "no myocardium was found", WARNING)
        cards = [_card(title, *nothing) for title in ("Scar", "LV myocardium", "%LGE")]
    else:
        present = numbers.scar_volume > 0
        color = SCAR if present else TEXT
        seen = "LGE present" if present else "LGE absent"
        likely = "no interval"
        if numbers.lge_interval is not None:
            likely = "likely {:.0f} to {:.0f} %".format(*numbers.lge_interval)
        cards = [
            _card("Scar", f"{numbers.scar_volume:.1f} cm³", f"{numbers.scar_mass:.1f} g  ·  {seen}", color),
            _card(
                "LV myocardium, scar included",
                f"{numbers.myocardium_volume:.0f} cm³",
                f"{numbers.myocardium_mass:.0f} g",
                TEXT,
            ),
            _card("%LGE", f"{numbers.lge_percent:.1f} %", likely, color),
        ]
    return beside([*cards, _burden(numbers, INNER - 3 * (_CARD + GAP))])


def draw_methods(measurements: Measurements, reader: str, width: int) -> Image.Image:
    """Draw the network's (or a person's) scar beside that of thresholds.

    Parameters
    ----------
    measurements : Measurements
        Of a stack that shows myocardium.
    reader : str
        Who outlined the scar.
    width : int
        Pixels.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    rows = [(reader, measurements.scar_volume, measurements.lge_percent or 0.0, SCAR)]
    rows += [(item.method, item.scar_volume, item.lge_percent, MUTED) for item in measurements.by_threshold]
    panel = Image.new("RGB", (width, 96 + 30 * len(rows)), PANEL)
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (_PAD, 10), "Scar by method", 18, MUTED)
    volume, percent, bar = width - 128, width - _PAD, 220
    draw_text(draw, (volume, 12), "cm³", 15, MUTED, align="right")
    draw_text(draw, (percent, 12), "%LGE", 15, MUTED, align="right")
    space = volume - 80 - bar
    scale = space / max([30.0, *(row[2] for row in rows)])
    for index, (name, scar, lge, color) in enumerate(rows):
        y = 42 + 30 * index
        draw_given(draw, (_PAD, y), name, 17, TEXT, max_width=bar - _PAD - 8)
        draw.rectangle((bar, y + 5, bar + max(1, lge * scale), y + 17), fill=color)
        draw_text(draw, (volume, y), f"{scar:.1f}", 17, TEXT, align="right")
        draw_text(draw, (percent, y), f"{lge:.1f} %", 17, TEXT, align="right")
    note = "Thresholds (n SD above remote myocardium; half of the maximum) count inside the same myocardium."
    if len(rows) == 1:
        note = "No threshold was measured."
    for index, line in enumerate(wrap(note, 14, width - 2 * _PAD)[:2]):
        draw_text(draw, (_PAD, panel.height - 44 + 18 * index), line, 14, MUTED)
    return panel


def draw_flags(flags: Sequence[tuple[str, str]], width: int) -> Image.Image:
    """Draw the quality flags with their sentences.

    Parameters
    ----------
    flags : sequence of (str, str)
        From `scarnode.pipeline.report.texts.describe_flags`.
    width : int
        Pixels.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    texts = [f"{sentence} ({name})" if sentence else name for name, sentence in flags]
    texts = texts or ["None was raised. That does not prove the outlines right: look at them."]
    items = [wrap(text, 16, width - 2 * _PAD - 22) for text in texts]
    panel = Image.new("RGB", (width, 52 + sum(22 * len(lines) + 6 for lines in items)), PANEL)
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (_PAD, 10), "Quality flags: they ask for a look", 18, MUTED)
    y = 42
    for lines in items:
        if flags:
            draw.rectangle((_PAD, y + 5, _PAD + 9, y + 14), fill=WARNING)
        for line in lines:
            draw_given(draw, (_PAD + (22 if flags else 0), y), line, 16, TEXT, max_width=width - 2 * _PAD)
            y += 22
        y += 6
    if flags:
        draw.rectangle((0, 0, 5, panel.height), fill=WARNING)
    return panel


def draw_slices_table(slices: Sequence[SliceMeasurements]) -> Image.Image:
    """Draw the numbers of every slice, with a bar for its %LGE; twenty slices beside each other.

    Parameters
    ----------
    slices : sequence of SliceMeasurements
        Base to apex.

    Returns
    -------
    PIL.Image.Image
        RGB, `INNER` pixels wide.
    """
    highest = max([20.0, *(item.lge_percent or 0.0 for item in slices)])
    bands = -(-len(slices) // _BAND)
    per_band = -(-len(slices) // bands)
    parts = [_band(slices[first : first + per_band], per_band, highest) for first in range(0, len(slices), per_band)]
    return stacked(parts, gap=2)


def _band(slices: Sequence[SliceMeasurements], places: int, highest: float) -> Image.Image:
    left, bars = 130, 66
    panel = Image.new("RGB", (INNER, bars + 122), PANEL)
    draw = ImageDraw.Draw(panel)
    step = min(110.0, (INNER - left - 8) / places)
    base = bars + 14
    draw.line((left, base, left + step * len(slices), base), fill=LINE)
    draw_text(draw, (_PAD, base - 36), "%LGE of a", 15, MUTED)
    draw_text(draw, (_PAD, base - 18), "slice as bar", 15, MUTED)
    for index, title in enumerate(("slice", "scar, cm³", "wall, cm³", "%LGE")):
        draw_text(draw, (_PAD, base + 6 + 24 * index), title, 15, MUTED)
    for index, item in enumerate(slices):
        x = left + step * (index + 0.5)
        draw_text(draw, (x, base + 6), str(item.index + 1), 15, MUTED, align="middle")
        lge = item.lge_percent
        if lge is None:
            draw_text(draw, (x, base + 30), "-", 15, MUTED, align="middle")
            continue
        height = bars * lge / highest
        draw.rectangle((x - step * 0.3, base - height, x + step * 0.3, base), fill=SCAR if lge > 0 else LINE)
        wall = item.scar_volume + item.normal_volume
        color = TEXT if item.scar_volume > 0 else MUTED
        for row, text in enumerate((f"{item.scar_volume:.2f}", f"{wall:.1f}", f"{lge:.0f} %")):
            draw_text(draw, (x, base + 30 + 24 * row), text, 15, color, align="middle")
    return panel


def _card(title: str, value: str, note: str, color: Color) -> Image.Image:
    panel = Image.new("RGB", (_CARD, _CARD_HEIGHT), PANEL)
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (_PAD, 12), title, 18, MUTED)
    draw_text(draw, (_PAD, 42), value, 42 if len(value) < 11 else 34, color)
    draw_text(draw, (_PAD, 106), note, 18, TEXT)
    return panel


def _burden(numbers: Measurements, width: int) -> Image.Image:
    """Print above, below or indeterminate, and show why on a scale."""
    panel = Image.new("RGB", (width, _CARD_HEIGHT), PANEL)
    draw = ImageDraw.Draw(panel)
    draw_text(draw, (_PAD, 12), f"Scar burden against {EXTENSIVE:.0f} %LGE", 18, MUTED)
    if numbers.burden is None or numbers.lge_percent is None:
        draw_text(draw, (_PAD, 42), _NOTHING, 34, WARNING)
        return panel
    words = {
        Burden.ABOVE: "above",
        Burden.BELOW: "below",
        Burden.INDETERMINATE: "indeterminate",
    }
    low, high = numbers.lge_interval or (numbers.lge_percent, numbers.lge_percent)
    by = "by the interval" if numbers.lge_interval is not None else "by the number: no interval"
    if numbers.burden is Burden.INDETERMINATE and not low < EXTENSIVE <= high:
        by = "the readings differ"
    draw_text(draw, (_PAD, 42), words[numbers.burden], 34, TEXT)
    draw_text(draw, (width - _PAD, 56), by, 18, TEXT, align="right")
    end = max(30.0, high * 1.1)
    left, right, y = _PAD, width - _PAD, 104

    def at(percent: float) -> float:
        return left + (right - left) * percent / end

    draw.line((left, y, right, y), fill=LINE, width=2)
    draw.rectangle((at(low), y - 5, at(high), y + 5), fill=(150, 72, 22))
    draw.ellipse(
        (at(numbers.lge_percent) - 7, y - 7, at(numbers.lge_percent) + 7, y + 7), fill=SCAR, outline=BACKGROUND
    )
    draw.line((at(EXTENSIVE), y - 12, at(EXTENSIVE), y + 12), fill=TEXT, width=2)
    draw_text(draw, (left, y + 12), "0 %", 15, MUTED)
    draw_text(draw, (at(EXTENSIVE), y + 12), f"{EXTENSIVE:.0f} %", 15, TEXT, align="middle")
    draw_text(draw, (right, y + 12), f"{end:.0f} %", 15, MUTED, align="right")
    return panel
