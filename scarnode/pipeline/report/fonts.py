"""Type for the page: one built-in face, and a system face for text in scripts that it does not know."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

from PIL import ImageDraw, ImageFont

NAME_FACES = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSansCJKjp-Regular.otf",
    "wqy-zenhei.ttc",
    "wqy-microhei.ttc",
    "DroidSansFallbackFull.ttf",
    "ipag.ttf",
    "ipagp.ttf",
    "fonts-japanese-gothic.ttf",
    "NotoSansArabic-Regular.ttf",
    "NotoNaskhArabic-Regular.ttf",
    "FreeSans.ttf",
    "unifont.ttf",
    "unifont.otf",
)
"""Faces of common distributions, looked for by name in the system's font folders."""

NO_FONT = "(in a script that no installed font has)"
_MISSING = "\U0010fffd"  # a private-use character that no face draws
_SMALLEST_NAME = 20


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Return Pillow's built-in face (Latin only), so that a picture looks the same on every machine."""
    return cast(ImageFont.FreeTypeFont, ImageFont.load_default(size))  # given a size


def draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    color: tuple[int, int, int],
    align: str = "left",
) -> None:
    """Draw text of our own in the built-in face, which lacks the superscript three: it is set small and raised.

    Parameters
    ----------
    draw : ImageDraw.ImageDraw
    at : tuple of float
        Upper edge, and the left edge, the middle or the right edge, as `align` says.
    text : str
        ASCII and ``³``.
    size : int
        Pixels.
    color : tuple of int
        RGB.
    align : str
        ``left``, ``middle`` or ``right``.
    """
    shift = {"left": 0.0, "middle": 0.5, "right": 1.0}[align]
    x = at[0] - (shift and shift * text_width(text, size))
    for index, part in enumerate(text.split("³")):
        if index:
            draw.text((x, at[1]), "3", font=font(size * 6 // 10), fill=color)
            x += font(size * 6 // 10).getlength("3")
        draw.text((x, at[1]), part, font=font(size), fill=color)
        x += font(size).getlength(part)


def text_width(text: str, size: int) -> float:
    """Pixels that `draw_text` takes."""
    parts = text.split("³")
    return sum(font(size).getlength(part) for part in parts) + (len(parts) - 1) * font(size * 6 // 10).getlength("3")


def wrap(text: str, size: int, width: int) -> list[str]:
    """Break text into lines, between words where it can.

    Parameters
    ----------
    text : str
    size, width : int
        Pixels.

    Returns
    -------
    list of str
    """
    lines: list[str] = []
    for word in text.split():
        if lines and _given_width(f"{lines[-1]} {word}", size) <= width:
            lines[-1] += f" {word}"
            continue
        rest = word
        while _given_width(rest, size) > width and len(rest) > 1:
            fits = max(1, next(n for n in range(len(rest) - 1, -1, -1) if _given_width(rest[:n], size) <= width))
            lines.append(rest[:fits])
            rest = rest[fits:]
        lines.append(rest)
    return lines


def draw_given(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, color: tuple[int, int, int], max_width: int
) -> None:
    """Draw text that came from outside: shortened to its width, in a face that has its characters.

    Parameters
    ----------
    draw : ImageDraw.ImageDraw
    at : tuple of int
        Upper left corner.
    text : str
    size : int
        Pixels.
    color : tuple of int
        RGB.
    max_width : int
        Pixels.
    """
    face = _face_for(text, size)
    text, face = (text, face) if face is not None else (NO_FONT, font(size))
    draw.text(at, _shorten(text, face, max_width), font=face, fill=color)


def draw_name(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], name: str, size: int, color: tuple[int, int, int], max_width: int
) -> None:
    """Draw a person name as DICOM carries it: groups separated by ``=``, components by ``^``.

    Groups that no installed face can draw are left out while one can be drawn. A name too long for its place is set
    smaller, and shortened only where that does not do.

    Parameters are those of `draw_given`.
    """
    groups = [readable for group in name.split("=") if (readable := _readable(group))]
    drawn = [group for group in groups if _face_for(group, size) is not None]
    if groups and not drawn:
        drawn = [f"(name {NO_FONT[1:]}"]
    small = size
    while small > _SMALLEST_NAME and sum(_given_width(group, small) + small // 2 for group in drawn) > max_width:
        small -= 2
    x = at[0]
    for group in drawn:
        face = _face_for(group, small) or font(small)
        shortened = _shorten(group, face, at[0] + max_width - x)
        draw.text((x, at[1] + (size - small) // 2), shortened, font=face, fill=color)
        x += int(face.getlength(shortened)) + small // 2


def _readable(group: str) -> str:
    """Write the components of a person name in their order, with a comma after a western family name."""
    family, _, rest = group.partition("^")
    given = " ".join(part for part in rest.split("^") if part)
    western = all(ord(char) < 0x0590 for char in family)  # Latin, Greek, Cyrillic, Armenian
    return f"{family}, {given}" if family and given and western else f"{family} {given}".strip()


@lru_cache(maxsize=256)
def _face_for(text: str, size: int) -> ImageFont.FreeTypeFont | None:
    for face in (font(size), *_system_faces(size)):
        if _has_all(face, text):
            return face
    return None


@lru_cache(maxsize=16)
def _system_faces(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    faces = []
    for name in NAME_FACES:
        try:
            faces.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(faces)


def _has_all(face: ImageFont.FreeTypeFont, text: str) -> bool:
    return all(char.isspace() or _has(face, char) for char in set(text))


@lru_cache(maxsize=4096)
def _has(face: ImageFont.FreeTypeFont, char: str) -> bool:
    """Return whether a face draws a character as something else than its "missing" box."""
    return bytes(face.getmask(char)) != bytes(face.getmask(_MISSING))


def _given_width(text: str, size: int) -> float:
    return (_face_for(text, size) or font(size)).getlength(text)


def _shorten(text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    if face.getlength(text) <= width:
        return text
    while text and face.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
