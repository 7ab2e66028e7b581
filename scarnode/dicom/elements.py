"""Values of a dataset, read so that no fault of one element can fail the whole: a value that can not be read is absent.

pydicom keeps an element's bytes until it is asked for the value, and then insists on the standard (a decimal in an
IS, an unknown character set, an over-long SH). Scanners do not; so the bytes are taken and read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

from scarnode.dicom.charset import declared_in, decode
from scarnode.util.text import one_line

_BINARY = {"FD": "d", "FL": "f", "US": "H", "SS": "h", "UL": "I", "SL": "i", "US or SS": "H"}
_PRIVATE_VRS = {0x0043102F: "SS"}
"""VRs of the private elements that are read, for datasets whose encoding does not say."""
_MAX_TEXT = 4096


def text(dataset: Dataset, tag: int) -> str:
    """Return an element's text, all values, stripped of padding and of control characters; '' where it is absent.

    Where the character set is not known, the letters that are not ASCII are U+FFFD.
    """
    element = _element(dataset, tag)
    if element is None or element.value is None:
        return ""
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        value = element.value
        joined = value if isinstance(value, str | bytes) else "\\".join(map(str, _listed(value)))
        return one_line((joined.decode("ascii", "replace") if isinstance(joined, bytes) else joined)[:_MAX_TEXT])
    raw = element.value.strip(b"\0 ")[:_MAX_TEXT]
    decoded = decode(raw, declared_in(dataset))
    return one_line(raw.decode("ascii", "replace") if decoded is None else decoded)


def texts(dataset: Dataset, tag: int) -> tuple[str, ...]:
    """Return an element's values as text, in upper case; () where it is absent."""
    joined = text(dataset, tag)
    return tuple(part.strip("\0 ").upper() for part in joined.split("\\")) if joined else ()


def numbers(dataset: Dataset, tag: int) -> tuple[float, ...] | None:
    """Return an element's values as numbers (NaN and infinity included); None where it is absent or any is no
    number.
    """
    element = _element(dataset, tag)
    if element is None or element.value is None:
        return None
    if isinstance(element, RawDataElement) and isinstance(element.value, bytes):
        vr = element.VR
        if vr in (None, "UN"):
            vr = _PRIVATE_VRS.get(tag) or dictionary_VR(tag)
        if vr in _BINARY:
            return _unpack(element.value, _BINARY[vr], element.is_little_endian)
    joined = text(dataset, tag)
    try:
        return tuple(float(part) for part in joined.split("\\")) if joined else None
    except ValueError:
        return None


def number(dataset: Dataset, tag: int) -> float | None:
    """Return an element's first value as a finite number, else None."""
    values = numbers(dataset, tag)
    if not values or not abs(values[0]) < float("inf"):
        return None
    return values[0]


def integer(dataset: Dataset, tag: int) -> int | None:
    """Return an element's first value as an integer (``'256.0'`` reads as 256), else None."""
    value = number(dataset, tag)
    return None if value is None else int(value)


def items(dataset: Dataset, tag: int) -> list[Dataset]:
    """Return a sequence's items; [] where it is absent or damaged."""
    try:
        value = dataset[tag].value
        return [item for item in value if isinstance(item, Dataset)]
    except MemoryError:
        raise
    except Exception:
        return []


def _element(dataset: Dataset, tag: int) -> DataElement | RawDataElement | None:
    try:
        return dataset.get_item(tag)
    except MemoryError:
        raise
    except Exception:
        return None


def _listed(value: object) -> Iterator[object]:
    try:
        yield from value  # type: ignore[misc]
    except TypeError:
        yield value


def _unpack(raw: bytes, code: str, little_endian: bool) -> tuple[float, ...] | None:
    size = struct.calcsize(code)
    count = len(raw) // size
    if not count:
        return None
    return tuple(float(x) for x in struct.unpack(f"{'<' if little_endian else '>'}{count}{code}", raw[: count * size]))
