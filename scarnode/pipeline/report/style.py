"""Measures and colours of the report page."""

from __future__ import annotations

from PIL import Image

from scarnode.pipeline.report import codes
from scarnode.pipeline.segment.model import Tissue

WIDTH, MARGIN, GAP = 1400, 28, 12
INNER = WIDTH - 2 * MARGIN
"""Pixels."""

Color = tuple[int, int, int]
BACKGROUND, PANEL, LINE = (16, 18, 22), (29, 32, 38), (74, 80, 90)
TEXT, MUTED, WARNING = (242, 242, 242), (172, 178, 187), (255, 184, 77)
SYNTHETIC = (140, 205, 245)
EPICARDIUM: Color = codes.SEGMENTS[Tissue.MYOCARDIUM].rgb
ENDOCARDIUM: Color = codes.SEGMENTS[Tissue.BLOOD].rgb
SCAR: Color = (255, 120, 30)
"""The SEG's vermilion made a little lighter: it is drawn on black."""


def stacked(pictures: list[Image.Image], gap: int = GAP, margin: int = 0) -> Image.Image:
    """Set pictures below each other, left edges in line.

    Parameters
    ----------
    pictures : list of PIL.Image.Image
    gap, margin : int
        Pixels between them, and around them all.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    width = max(picture.width for picture in pictures) + 2 * margin
    height = sum(picture.height for picture in pictures) + gap * (len(pictures) - 1) + 2 * margin
    page = Image.new("RGB", (width, height), BACKGROUND)
    top = margin
    for picture in pictures:
        page.paste(picture, (margin, top))
        top += picture.height + gap
    return page


def beside(pictures: list[Image.Image], gap: int = GAP) -> Image.Image:
    """Set panels beside each other, each made as high as the highest by adding to its lower end.

    Parameters
    ----------
    pictures : list of PIL.Image.Image
    gap : int
        Pixels.

    Returns
    -------
    PIL.Image.Image
        RGB.
    """
    height = max(picture.height for picture in pictures)
    row = Image.new("RGB", (sum(picture.width + gap for picture in pictures) - gap, height), BACKGROUND)
    left = 0
    for picture in pictures:
        row.paste(PANEL, (left, 0, left + picture.width, height))
        row.paste(picture, (left, 0))
        left += picture.width + gap
    return row
