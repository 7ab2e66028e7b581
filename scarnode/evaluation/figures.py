"""The publication's figures 5 and 6 as PNG. Needs matplotlib (``pip install scarnode[lab]``)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scarnode import RESEARCH_USE
from scarnode.evaluation import statistics as st
from scarnode.evaluation.markdown import number
from scarnode.evaluation.metrics import CaseResult
from scarnode.evaluation.tables import UNKNOWN, by
from scarnode.pipeline.segment.model import Tissue
from scarnode.util.durable import replace_durably
from scarnode.util.errors import ScarnodeError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Distinct for colour-blind readers too: Okabe and Ito, https://jfly.uni-koeln.de/color
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_INK, _FAINT = "#222222", "#999999"


@dataclass(frozen=True)
class Picture:
    """A case with both outlines, for figure 6: image, expert's and reader's labels, (slices, rows, columns)."""

    image: np.ndarray
    truth: np.ndarray
    labels: np.ndarray
    pixel_spacing: tuple[float, float]
    result: CaseResult


def require_matplotlib() -> None:
    """Describe how to get matplotlib where it is missing.

    Raises
    ------
    ScarnodeError
        matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ModuleNotFoundError as error:
        raise ScarnodeError("matplotlib is not installed", "evaluate", "pip install 'scarnode[lab]'") from error


def draw_agreement(results: Sequence[CaseResult], path: Path) -> None:
    """Figure 5: regression and Bland-Altman plots of scar volume and %LGE, points coloured by vendor.

    Scar volume is left out where the pixel size is unknown.
    """
    quantities: list[tuple[str, list]] = [("%LGE", [(r.lge_expert, r.lge_reader) for r in results])]
    if all(r.scar_expert is not None for r in results):
        quantities.insert(0, ("Scar volume (mL)", [(r.scar_expert, r.scar_reader) for r in results]))
    first, count = results[0], len(quantities)
    rows, columns = (2, count) if count > 1 else (1, 2)  # of one quantity both plots stand side by side
    figure = _figure(4.6 * columns, 4.1 * rows, f"{first.source}{_tag(first)}: {first.reader}")
    vendors = [r.vendor or UNKNOWN for r in results]
    for place, (name, pairs) in enumerate(quantities, 1):
        x, y = np.array(pairs, float).T
        _regression(figure.add_subplot(rows, columns, place), x, y, name, vendors)
        _bland_altman(figure.add_subplot(rows, columns, count + place), x, y, name, vendors)
    if len(by(results, "vendor")) > 1:
        figure.axes[0].legend(fontsize=8, frameon=False, loc="lower right", title="Vendor", title_fontsize=8)
    _save(figure, path)


def draw_overlays(pictures: Sequence[Picture], path: Path) -> None:
    """Figure 6: in each case the slice with most scar by the expert; expert's contours above, reader's below."""
    count = len(pictures)
    first = pictures[0].result
    figure = _figure(2.5 * count + 0.4, 5.9, f"{first.source}{_tag(first)}: low scar Dice, {first.reader}")
    for column, picture in enumerate(pictures):
        area = (picture.truth == Tissue.SCAR).sum(axis=(1, 2))
        index, box = int(area.argmax()), _around_heart(picture)
        image = picture.image[index][box]
        low, high = np.percentile(image, (1, 99))
        result = picture.result
        for row, (labels, who, percent) in enumerate(
            ((picture.truth, "expert", result.lge_expert), (picture.labels, "network", result.lge_reader))
        ):
            axes = figure.add_subplot(2, count, row * count + column + 1)
            axes.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6), interpolation="bilinear")
            seen = labels[index][box]
            for mask, colour in ((seen >= Tissue.MYOCARDIUM, "#ff3030"), (seen == Tissue.SCAR, "#ffe000")):
                if mask.any():
                    axes.contour(mask.astype(float), [0.5], colors=[colour], linewidths=1.1)
            axes.set_axis_off()
            title = f"{result.name}\nDice {result.dice_scar or 0:.2f}\n" if row == 0 else ""
            axes.set_title(f"{title}{who}: {percent:.1f} %LGE", fontsize=8, color=_INK)
    _save(figure, path)


def _figure(width: float, height: float, title: str) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    figure.suptitle(title, fontsize=10, color=_INK)
    figure.supxlabel(RESEARCH_USE, fontsize=7, color=_FAINT)
    return figure


def _save(figure: Figure, path: Path) -> None:
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=130, metadata={"Software": None})
    replace_durably(path, [picture.getvalue()], path.parent)  # it bears the names of cases


def _tag(result: CaseResult) -> str:
    return " (synthetic)" if result.synthetic else ""


def _regression(axes: Axes, x: np.ndarray, y: np.ndarray, label: str, vendors: Sequence[str]) -> None:
    end = 1.06 * max(float(x.max()), float(y.max()), 1.0)
    axes.plot([0, end], [0, end], color=_FAINT, linewidth=0.8, linestyle=":")
    _points(axes, x, y, vendors)
    found, (r, _) = st.slope_through_origin(x, y), st.pearson(x, y)
    if found.slope.value is not None:
        axes.plot([0, end], [0, found.slope.value * end], color=_INK, linewidth=1.2)
        text = f"y = {found.slope.value:.2f}x" + (f", r = {r.value:.2f}" if r.value is not None else "")
        axes.text(0.04, 0.96, f"{text}\nn = {len(x)}", transform=axes.transAxes, va="top", fontsize=9, color=_INK)
    axes.set(xlim=(-0.02 * end, end), ylim=(-0.02 * end, end), aspect="equal")
    _label(axes, f"{label}, expert", f"{label}, network")


def _bland_altman(axes: Axes, x: np.ndarray, y: np.ndarray, label: str, vendors: Sequence[str]) -> None:
    _points(axes, (x + y) / 2, y - x, vendors)
    found = st.bland_altman(x, y)
    lines = (("bias", found.bias, "-"), ("−1.96 SD", found.lower, "--"), ("+1.96 SD", found.upper, "--"))
    text: dict[str, Any] = {
        "transform": axes.get_yaxis_transform(),
        "ha": "right",
        "va": "bottom",
        "fontsize": 8,
        "color": _INK,
    }
    for name, line, style in lines:
        if line.value is not None:
            axes.axhline(line.value, color=_INK, linewidth=1.0, linestyle=style)
            axes.text(0.99, line.value, f"{name} {number(line.value, 1, sign=True)}", **text)
    axes.axhline(0, color=_FAINT, linewidth=0.8, linestyle=":")
    axes.margins(y=0.12)
    axes.set_box_aspect(1)
    _label(axes, f"{label}, mean of both", f"{label}, network − expert")


def _points(axes: Axes, x: np.ndarray, y: np.ndarray, vendors: Sequence[str]) -> None:
    names = sorted(set(vendors), key=lambda name: (name == UNKNOWN, name))
    for place, name in enumerate(names):
        own = np.array([vendor == name for vendor in vendors])
        colour = _COLOURS[place % len(_COLOURS)]
        axes.scatter(x[own], y[own], s=18, color=colour, alpha=0.75, linewidths=0, label=name, zorder=3)


def _label(axes: Axes, x: str, y: str) -> None:
    axes.set_xlabel(x, fontsize=9, color=_INK)
    axes.set_ylabel(y, fontsize=9, color=_INK)
    axes.tick_params(labelsize=8, colors=_INK)
    axes.spines[["top", "right"]].set_visible(False)


def _around_heart(picture: Picture) -> tuple[slice, slice]:
    """Square of rows and columns that holds the expert's ventricle and a margin."""
    inside = np.argwhere((picture.truth != Tissue.BACKGROUND).any(axis=0))
    middle, half = (inside.min(0) + inside.max(0)) / 2, np.ptp(inside, axis=0).max() / 2 + 12 / picture.pixel_spacing[0]
    start = np.maximum(np.floor(middle - half), 0).astype(int)
    end = np.ceil(middle + half).astype(int) + 1
    return slice(start[0], end[0]), slice(start[1], end[1])
