"""Values of a dataset, read so that no fault of one element can fail the whole: a value that can not be read is absent.

pydicom keeps an element's bytes until it is asked for the value, and then insists on the standard (a decimal in an
IS, an unknown character set, an over-long SH). Scanners do not; so the bytes are taken and read here.
"""

from __future__ import annotations

import struct
import warnings
from collections.abc import Iterator

import pydicom.charset
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset

_BINARY = {"FD": "d", "FL": "f", "US": "H", "SS": "h", "UL": "I", "SL": "i", "US or SS": "H"}
_PRIVATE_VRS = {0x0043102F: "SS"}
"""VRs of the private elements that are read, for datasets whose encoding does not say."""
_MAX_TEXT = 4096


def text(dataset: Dataset, tag: int) -> str:
    """Give an element's text, all values, stripped of padding; '' where it is absent."""
    element = _element(dataset, tag)
    if element is None or element.value is None:
        return ""
    if not isinstance(element, RawDataElement) or not isinstance(element.value, bytes):
        value = element.value
        joined = value if isinstance(value, str | bytes) else "\\".join(map(str, _listed(value)))
        return (joined.decode("latin-1") if isinstance(joined, bytes) else joined)[:_MAX_TEXT].strip("\0 ")
    raw = element.value[:_MAX_TEXT]
    decoded = raw.decode("ascii") if raw.isascii() and b"\x1b" not in raw else _decode(dataset, raw)
    return decoded.strip("\0 ")


def texts(dataset: Dataset, tag: int) -> tuple[str, ...]:
    """Give an element's values as text, in upper case; () where it is absent."""
    joined = text(dataset, tag)
    return tuple(part.strip("\0 ").upper() for part in joined.split("\\")) if joined else ()


def numbers(dataset: Dataset, tag: int) -> tuple[float, ...] | None:
    """Give an element's values as numbers (NaN and infinity included); None where it is absent or any is no number."""
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
    """Give an element's first value as a finite number, else None."""
    values = numbers(dataset, tag)
    if not values or not abs(values[0]) < float("inf"):
        return None
    return values[0]


def integer(dataset: Dataset, tag: int) -> int | None:
    """Give an element's first value as an integer (``'256.0'`` reads as 256), else None."""
    value = number(dataset, tag)
    return None if value is None else int(value)


def items(dataset: Dataset, tag: int) -> list[Dataset]:
    """Give a sequence's items; [] where it is absent or damaged."""
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


def _decode(dataset: Dataset, raw: bytes) -> str:
    """Decode by the dataset's SpecificCharacterSet, by Latin-1 where that is unknown or wrong."""
    names = dataset.get_item(0x00080005) if 0x00080005 in dataset else None
    value = names.value if names is not None else None
    listed = (value.decode("ascii", "replace") if isinstance(value, bytes) else str(value or "")).split("\\")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            encodings = pydicom.charset.convert_encodings([name.strip("\0 ") for name in listed])
            return pydicom.charset.decode_bytes(raw, encodings, {0xD, 0xA, 0x9, 0xC})
    except Exception:
        return raw.decode("latin-1")
