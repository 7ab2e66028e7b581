"""Text of a header, decoded by its Specific Character Set (0008,0005), or not at all.

Senders misspell the defined terms (PS3.3 C.12.1.1.2), leave them out, or write other bytes than they declare. What is
meant is read where it is plain. Where it is not, there is no text: a wrong name is worse than none.
"""

from __future__ import annotations

import codecs
import re
import unicodedata
from collections.abc import Sequence
from functools import lru_cache

from pydicom.dataset import Dataset

_ASCII = "ascii"
_BY_NUMBER = {
    6: _ASCII,
    13: "shift_jis",
    14: "shift_jis",
    58: "gb2312",
    87: "iso2022_jp_1",
    100: "latin_1",
    101: "iso8859_2",
    109: "iso8859_3",
    110: "iso8859_4",
    126: "iso8859_7",
    127: "iso8859_6",
    138: "iso8859_8",
    144: "iso8859_5",
    148: "iso8859_9",
    149: "euc_kr",
    159: "iso2022_jp_1",
    166: "tis_620",
    192: "utf_8",
    203: "iso8859_15",
}
"""Registration number of a character set, and Python's codec. 58, 87, 149 and 159 have several bytes a character: the
standard knows them as ``ISO 2022 IR`` alone, senders write ``ISO_IR`` as well."""

_BY_ESCAPE = {
    b"(B": _ASCII,
    b"(J": _ASCII,
    b")I": "shift_jis",
    b"$B": "iso2022_jp_1",
    b"$@": "iso2022_jp_1",
    b"$(D": "iso2022_jp_1",
    b"-A": "latin_1",
    b"-B": "iso8859_2",
    b"-C": "iso8859_3",
    b"-D": "iso8859_4",
    b"-F": "iso8859_7",
    b"-G": "iso8859_6",
    b"-H": "iso8859_8",
    b"-L": "iso8859_5",
    b"-M": "iso8859_9",
    b"-T": "tis_620",
    b"-b": "iso8859_15",
    b"$)C": "euc_kr",
    b"$)A": "gb2312",
}
"""Escape sequences (behind the ESC) that designate a character set, PS3.3 tables C.12-3 and C.12-4."""

_LATIN = frozenset({"latin_1", "iso8859_2", "iso8859_3", "iso8859_4", "iso8859_9", "iso8859_15"})
_SEVERAL_BYTES = frozenset({"gb2312", "gbk", "gb18030", "euc_kr", "cp949", "shift_jis", "cp932", "euc_jp", "big5"})
_ALONE = frozenset({"utf_8", "gbk", "gb18030"})
"""Character sets that take no escape sequences."""

_NO_CHARACTER_SETS = re.compile(
    r"utf_?(7|16|32)|punycode|idna|undefined|.*escape|hz|cp(037|1140|273|500|1026|424|875).*"
)
"""Python's codecs that no header is written in: not ASCII in their lower half, or no character sets at all."""
_SPOKEN = {"iso_2022_gbk": "gbk", "iso2022_gbk": "gbk", "unicode": "utf_8", "unicode_utf_8": "utf_8", "utf": "utf_8"}
_TERM = re.compile(r"ISO[ _-]*(?:2022[ _-]*)?(?:IR[ _-]*)?(\d{1,3})")
_ESCAPE = re.compile(rb"\x1b(\$[()][A-Z]|\$[@AB]|[()\-.][A-Za-z])")
_DELIMITER = re.compile(rb"[\\^=\r\n\t\f]")
_SYMBOLS = frozenset("\xaa\xb5\xba")
"""Letters to Unicode, signs to everybody else: never part of a name."""
_SHARED_LATIN = ("latin_1", "iso8859_2", "iso8859_9", "iso8859_15", "iso8859_16", "cp1252", "cp1250", "cp1254")
_WORD = re.compile(r"[^\W\d_]+")


def declared_in(dataset: Dataset) -> tuple[str, ...]:
    """Return the values of a dataset's Specific Character Set, as they came; () where it has none."""
    element = dataset.get_item(0x00080005) if 0x00080005 in dataset else None
    value = element.value if element is not None else None
    if isinstance(value, bytes):
        value = value.decode("ascii", "replace").split("\\")
    listed = [value] if isinstance(value, str) else list(value or ())
    return tuple(str(one).strip("\0 ") for one in listed)


@lru_cache(maxsize=256)
def codec_of(term: str) -> str:
    """Return Python's codec for a value of Specific Character Set, also a misspelt one; '' for one that nobody knows.

    >>> codec_of("ISO_IR 149"), codec_of("iso ir 192"), codec_of("ISO8859-5"), codec_of("KLINGON")
    ('euc_kr', 'utf_8', 'iso8859_5', '')
    """
    plain = term.strip("\0 \"'").upper()
    if not plain:
        return _ASCII
    if match := _TERM.fullmatch(plain):
        return _BY_NUMBER.get(int(match[1]), "")
    name = re.sub(r"[ _-]+", "_", plain.lower())
    if name in _SPOKEN:
        return _SPOKEN[name]
    return "" if _NO_CHARACTER_SETS.fullmatch(name) else _of_python(name)


def _of_python(name: str) -> str:
    """Return the codec that Python knows by a name, if it makes text of the bytes of a header."""
    for spelling in (name, name.replace("_", "")):
        try:
            codec = codecs.lookup(spelling)
            if b"A^=1".decode(codec.name) == "A^=1" and isinstance(codec.decode(b"A")[0], str):
                known = codec.name.replace("-", "_")
                return {"iso8859_1": "latin_1"}.get(known, known)
        except Exception:  # none of Python's, or one that makes no text of bytes
            continue
    return ""


def decode(raw: bytes, declared: Sequence[str]) -> str | None:
    """Decode the bytes of a text value.

    Parameters
    ----------
    raw : bytes
        All values of the element, with their backslashes.
    declared : sequence of str
        The values of Specific Character Set.

    Returns
    -------
    str or None
        None where nobody can tell what is meant: the declared set is unknown, or the bytes are not of it; and no other
        reading is plain.
    """
    if raw.isascii() and b"\x1b" not in raw:
        return raw.decode(_ASCII)
    terms = [codec_of(term) for term in declared] or [_ASCII]
    if b"\x1b" in raw and _ESCAPE.search(raw):
        return _with_escapes(raw, terms[0] if terms[0] not in _ALONE else _ASCII)
    if terms[0] == _ASCII and len(terms) > 1:
        terms = terms[1:]  # the first is empty, and what is written without an escape sequence is of the second
    return _choose(raw, terms[0])


def _choose(raw: bytes, codec: str) -> str | None:
    """Choose between what is declared, UTF-8, and what all Latin sets agree in."""
    said, utf8 = _strictly(raw, codec), _strictly(raw, "utf_8")
    if said is not None and codec in _LATIN and _of_another_script(said):
        said = None
    if codec == "utf_8":
        return utf8 if utf8 is not None else _latin(raw)
    if codec in ("", _ASCII):
        # letters of another set are UTF-8 by chance once in a thousand names, and look odd then
        return utf8 if utf8 is not None and (codec == _ASCII or _plausible(utf8)) else _latin(raw)
    if utf8 is None or not _plausible(utf8):
        return said
    if said is None or not _plausible(said):
        return utf8
    if codec in _SEVERAL_BYTES:
        return utf8 if all(char < "\x80" or char >= "\u0800" for char in utf8) else said
    return None if codec in _LATIN else said


def _strictly(raw: bytes, codec: str) -> str | None:
    if not codec:
        return None
    try:
        text = raw.decode(codec)
    except (UnicodeError, LookupError):
        return None
    if any("\x80" <= char <= "\x9f" or unicodedata.category(char) in ("Cn", "Co", "Cs") for char in text):
        return None
    return text


def _plausible(text: str) -> bool:
    """Return whether words are written in one script, without signs among their letters."""
    for char in text:
        if char >= "\x80" and (
            char in _SYMBOLS
            or not (
                unicodedata.category(char)[0] in "LM" or (char > "\u02ff" and unicodedata.category(char)[0] in "PZ")
            )
        ):
            return False
    return all(len({_script(char) for char in word}) == 1 for word in _WORD.findall(text))


def _of_another_script(text: str) -> bool:
    """Return whether most letters of a Latin text are accented: another alphabet's bytes, declared as Latin."""
    for group in re.split(r"[=\\]", text):
        letters = [char for char in group if char.isalpha()]
        strange = sum(char >= "\x80" for char in letters)
        if strange > 1 and 2 * strange > len(letters):
            return True
    return False


def _script(letter: str) -> str:
    script = unicodedata.name(letter, "?").split()[0].split("-")[0]
    east = {"CJK", "HIRAGANA", "KATAKANA", "HALFWIDTH", "FULLWIDTH", "IDEOGRAPHIC", "HANGUL"}
    return "EAST ASIAN" if script in east else script


def _latin(raw: bytes) -> str | None:
    """Read letters that every Latin set has at the same place (a u umlaut, an e acute) among letters of ASCII.

    In a word of another script every letter is above 127.
    """
    readings = set()
    for codec in _SHARED_LATIN:
        try:
            readings.add(raw.decode(codec))
        except UnicodeError:
            return None
    if len(readings) != 1:
        return None
    [text] = readings
    for word in _WORD.findall(text):
        strange = sum(char >= "\x80" for char in word)
        if strange and (2 * strange > len(word) or re.search(r"[^\x00-\x7f]{2}", word)):
            return None
    return text if _plausible(text) else None


def _with_escapes(raw: bytes, first: str) -> str | None:
    """Decode text that switches between character sets (PS3.5 6.1.2.5), whether they are declared or not."""
    text, codec, start = [], first, 0
    designated = first
    matches = [*_ESCAPE.finditer(raw), None]
    for match in matches:
        piece = raw[start : match.start() if match else len(raw)]
        decoded = _fragment(piece, codec, designated if codec == first else first, first)
        if decoded is None:
            return None
        text.append(decoded)
        if match is None:
            break
        codec, start = _BY_ESCAPE.get(match[1], ""), match.end()
        if not codec:
            return None
        if codec == "iso2022_jp_1":
            start = match.start()  # Python's codec wants to see it
        elif codec != _ASCII:
            designated = codec
    joined = "".join(text)
    return None if "\x1b" in joined else joined


def _fragment(piece: bytes, codec: str, designated: str, first: str) -> str | None:
    """Decode what follows an escape sequence: a delimiter brings the first character set back.

    Many writers designate a set once for the whole value: where the first one has no such bytes, it is still in force.
    """
    if codec == "iso2022_jp_1":
        return _strictly(piece, codec)
    delimiter = _DELIMITER.search(piece) if codec not in (first, _ASCII) else None
    end = delimiter.start() if delimiter else len(piece)
    text = []
    for part, names in ((piece[:end], (codec, designated)), (piece[end:], (first, codec))):
        readings = [reading for name in names if (reading := _strictly(part, name)) is not None]
        if not readings:
            return None
        text.append(readings[0])
    return "".join(text)
