"""A cache of encoded sequences: pydicom takes as long for a report's 2300 nested datasets as all else together."""

from __future__ import annotations

import struct
from collections.abc import Hashable, Iterable

from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_data_element
from pydicom.uid import UID

_ENCODINGS = convert_encodings("ISO_IR 192")
_ITEM = 0xFFFE, 0xE000


def encode_sequences(dataset: Dataset) -> None:
    """Put the bytes of each sequence in its place, for a dataset that is only to be written.

    Half of a report's nested datasets are codes, few of them different, and numbers share an outline: what is there
    twice is encoded once. The bytes are those that pydicom writes. It searches every level once for each level above
    it for values that depend on another's (`pydicom.filewriter.correct_ambiguous_vr`): an SR has none.

    Parameters
    ----------
    dataset : pydicom.Dataset
        In ISO_IR 192, to be written in explicit VR little endian. Changed in place.
    """
    encoder = _Encoder()
    for tag in list(dataset.keys()):
        if dataset[tag].VR == "SQ":
            value = encoder.items(dataset[tag].value)
            dataset[tag] = RawDataElement(tag, "SQ", len(value), value, 0, False, True)
    dataset.set_original_encoding(False, True, dataset._character_set)


class _Encoder:
    """Explicit VR little endian, lengths defined (PS3.5 7.1.2, 7.5); knows what it encoded before."""

    def __init__(self) -> None:
        self._items: dict[int, bytes] = {}
        self._elements: dict[Hashable, bytes] = {}

    def items(self, sequence: Iterable[Dataset]) -> bytes:
        """Encode the items of a sequence."""
        return b"".join(map(self._item, sequence))

    def _item(self, item: Dataset) -> bytes:
        known = self._items.get(id(item))  # no item goes while its sequence is encoded
        if known is None:
            body = b"".join(self._element(item[tag]) for tag in sorted(item.keys()))
            known = self._items[id(item)] = struct.pack("<HHL", *_ITEM, len(body)) + body
        return known

    def _element(self, element: DataElement) -> bytes:
        if element.VR == "SQ":
            value = self.items(element.value)
            return struct.pack("<HH2s2xL", element.tag.group, element.tag.element, b"SQ", len(value)) + value
        if type(element.value) not in (str, UID):  # others can be equal, and yet not the same when written
            return _written(element)
        key = element.tag, element.VR, element.value
        if key not in self._elements:
            self._elements[key] = _written(element)
        return self._elements[key]


def _written(element: DataElement) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_data_element(buffer, element, _ENCODINGS)
    return buffer.getvalue()
