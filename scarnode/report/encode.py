"""Makes a report quick to write: pydicom spends as long on writing its 2300 nested datasets as all else takes."""

from __future__ import annotations

from collections.abc import Hashable

from highdicom.sr import CodedConcept
from pydicom.charset import convert_encodings
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_sequence


def encode_codes(dataset: Dataset) -> None:
    """Put the bytes of each sequence of one code in its place, for a dataset that is only to be written.

    Half of a report's nested datasets are codes, few of them different. The bytes are those that pydicom writes, and
    it is told that no value depends on another's (`pydicom.filewriter.correct_ambiguous_vr`), for which it searches
    every level once for each level above it: an SR has no such element.

    Parameters
    ----------
    dataset : pydicom.Dataset
        In ISO_IR 192, to be written in explicit VR little endian. Changed in place.
    """
    _encode(dataset, {})


def _encode(dataset: Dataset, known: dict[Hashable, bytes]) -> None:
    for tag in list(dataset.keys()):
        element = dataset.get_item(tag)
        if element.VR != "SQ" or element.is_raw:
            continue
        items = dataset[tag].value
        if len(items) == 1 and isinstance(items[0], CodedConcept):
            key = tuple((one.tag, one.value) for one in items[0])
            if key not in known:
                known[key] = _bytes_of(dataset[tag])
            dataset[tag] = RawDataElement(tag, "SQ", len(known[key]), known[key], 0, False, True)
            continue
        for item in items:
            _encode(item, known)
    dataset.set_original_encoding(False, True, dataset._character_set)


def _bytes_of(sequence: DataElement) -> bytes:
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_sequence(buffer, sequence, convert_encodings("ISO_IR 192"))
    return buffer.getvalue()
