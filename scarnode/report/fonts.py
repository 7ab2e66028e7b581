"""Type for the picture: one built-in face, and a system face for names in scripts that it does not know."""

from __future__ import annotations

from functools import lru_cache

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

_MISSING = "\U0010fffd"  # a private-use character that no face draws


@lru_cache(maxsize=64)
def font(size: int) -> ImageFont.FreeTypeFont:
    """Give Pillow's built-in face (Latin only), so that a picture looks the same on every machine."""
    return ImageFont.load_default(size)


def draw_text(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    size: int,
    color: tuple[int, int, int],
    outline: tuple[int, int, int] | None = None,
) -> None:
    """Draw text of our own in the built-in face, which lacks the superscript three: it is set small and raised.

    Parameters
    ----------
    draw : ImageDraw.ImageDraw
    at : tuple of float
        Upper left corner.
    text : str
        ASCII and ``³``.
    size : int
        Pixels.
    color, outline : tuple of int
        RGB.
    """
    x = at[0]
    stroke = {"stroke_width": 2, "stroke_fill": outline} if outline else {}
    for index, part in enumerate(text.split("³")):
        if index:
            draw.text((x, at[1]), "3", font=font(size * 6 // 10), fill=color, **stroke)
            x += draw.textlength("3", font=font(size * 6 // 10))
        draw.text((x, at[1]), part, font=font(size), fill=color, **stroke)
        x += draw.textlength(part, font=font(size))


def draw_name(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, color: tuple, max_width: int
) -> None:
    """Draw text that came from outside: shortened to its width, in a face that has its characters.

    Parameters
    ----------
    draw : ImageDraw.ImageDraw
    at : tuple of int
        Upper left corner.
    text : str
        For a person name: as DICOM carries it, groups separated by ``=``, components by ``^``. Groups that no
        installed face can draw are left out while one can be drawn.
    size : int
        Pixels.
    color : tuple of int
    max_width : int
        Pixels.
    """
    x = at[0]
    for part, face in _drawable(text, size):
        shortened = _shorten(draw, part, face, at[0] + max_width - x)
        draw.text((x, at[1]), shortened, font=face, fill=color)
        x += int(draw.textlength(shortened, font=face)) + size // 2


def _drawable(text: str, size: int) -> list[tuple[str, ImageFont.FreeTypeFont]]:
    groups = [readable for group in text.split("=") if (readable := _readable(group))]
    faces = [(group, _face_for(group, size)) for group in groups]
    drawn = [(group, face) for group, face in faces if face is not None]
    if groups and not drawn:
        return [("(name in a script that no installed font has)", font(size * 2 // 3))]
    return drawn


def _readable(group: str) -> str:
    """Write the components of a person name in their order, with a comma after a western family name."""
    family, _, rest = group.partition("^")
    given = " ".join(part for part in rest.split("^") if part)
    western = all(ord(char) < 0x0590 for char in family)  # Latin, Greek, Cyrillic, Armenian
    return f"{family}, {given}" if family and given and western else f"{family} {given}".strip()


def _face_for(text: str, size: int) -> ImageFont.FreeTypeFont | None:
    for face in (font(size), *_system_faces(size)):
        if _has_all(face, text):
            return face
    return None


@lru_cache(maxsize=8)
def _system_faces(size: int) -> tuple[ImageFont.FreeTypeFont, ...]:
    faces = []
    for name in NAME_FACES:
        try:
            faces.append(ImageFont.truetype(name, size))
        except OSError:
            continue
    return tuple(faces)


def _has_all(face: ImageFont.FreeTypeFont, text: str) -> bool:
    """Tell whether a face draws every character as something else than its "missing" box."""
    missing = bytes(face.getmask(_MISSING))
    return all(char.isspace() or bytes(face.getmask(char)) != missing for char in set(text))


def _shorten(draw: ImageDraw.ImageDraw, text: str, face: ImageFont.FreeTypeFont, width: int) -> str:
    if draw.textlength(text, font=face) <= width:
        return text
    while text and draw.textlength(text + "...", font=face) > width:
        text = text[:-1]
    return text + "..."
