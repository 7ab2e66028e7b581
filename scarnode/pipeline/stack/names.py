"""The name of a series: its letters brought into one form, and patterns found in it."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

_LONGEST = 256
_FOLDED = str.maketrans({"ł": "l", "ø": "o", "đ": "d", "ı": "i", "æ": "ae", "œ": "oe", "ё": "е", "þ": "th", "ð": "d"})
"""Letters that have no decomposition into a plain letter and an accent, after case folding."""
_HUMP = re.compile(r"(?<=[^\W\d_])(?=[^\W\d_])")
_GLUED = re.compile(r"(?<=[^\W\d_])(?=lge|psir|mde|viab|sax)|(?<=lge|sax|mde)(?=[^\W\d_])|(?<=psir)(?=[^\W\d_])")
"""Where an abbreviation is written together with another word: ``PSIRnativ``, ``saxcine``."""


def normalise(name: str) -> str:
    """Return a name in the form that the patterns of `Rules` expect.

    Compatibility forms are unified (NFKC), case is folded, accents of Latin letters are removed (``ı`` is ``i``); all
    scripts are kept. One blank stands for every run of other characters, and between Latin, Cyrillic or Greek letters
    and those of scripts that write no blanks (``LGE短軸``).
    """
    return forms(name)[0]


@lru_cache(maxsize=4096)
def forms(name: str) -> tuple[str, ...]:
    """Return a name normalised and, where they differ, with blanks where words are written together.

    Words begin at capitals (``DelayedEnhancement`` gives ``delayedenhancement`` and ``delayed enhancement``) and at
    abbreviations (``psirnativ`` gives ``psir nativ`` too).
    """
    whole = unicodedata.normalize("NFKC", _repaired(name[:_LONGEST]))
    split = _HUMP.sub(lambda here: " " if _is_hump(whole, here.start()) else "", whole)
    plain = _plain(whole)
    return tuple(dict.fromkeys((plain, _plain(split), _GLUED.sub(" ", plain))))


def matches(patterns: tuple[str, ...], *texts: str) -> re.Match | None:
    """Return the first match of any of the patterns in any of the texts, ignoring case; None without one."""
    for pattern in patterns:
        search = compiled(pattern).search
        for text in texts:
            if found := search(text):
                return found
    return None


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> re.Pattern:
    """Compile a pattern once."""
    return re.compile(pattern, re.IGNORECASE)


def _repaired(name: str) -> str:
    """Return the text whose UTF-8 was read as Latin-1 for want of a SpecificCharacterSet; any other as it is."""
    try:
        return name if name.isascii() else name.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return name


def _is_hump(text: str, at: int) -> bool:
    """Return whether a new word begins inside a word: ``lateEnh``, ``DBLate``, but not ``TIscout``."""
    if not text[at].isupper():
        return False
    before, behind = text[max(at - 2, 0) : at], text[at + 1 : at + 3]
    letters = len(before) == len(behind) == 2 and before.isalpha() and behind.isalpha()
    return before[-1].islower() or (letters and before.isupper() and behind.islower())


def _plain(text: str) -> str:
    """Fold case and accents, drop all but letters and digits, part the scripts."""
    kept: list[str] = []
    dense_before: bool | None = None  # whether the last letter was of a script without blanks
    for char in text.casefold().translate(_FOLDED):
        kind = unicodedata.category(char)
        if kind[0] == "M":
            if dense_before is None or ord(kept[-1]) > 0x24F:  # an accent of a Latin letter is dropped
                kept.append(char)
            continue
        if kind == "Cf":
            continue
        if kind[0] not in "LN":
            kept.append(" ")
            dense_before = None
            continue
        plain = (
            unicodedata.normalize("NFD", char)[0]
            if "\u00c0" <= char <= "\u024f" or "\u1e00" <= char <= "\u1eff"
            else char
        )
        if kind[0] == "L":
            dense = ord(char) >= 0x2E80
            if dense_before is not None and dense != dense_before:
                kept.append(" ")
            dense_before = dense
        kept.append(plain)
    return " ".join("".join(kept).split())
