"""The outermost layer of a DICOM file (PS3.10): where its file meta group ends, how its dataset is encoded."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_MAX_META = 1 << 20
_MAX_INFLATED = 256 << 20
"""Bytes a deflated dataset may inflate to: forty slices of 1024 x 1024 need a third of it; a zip bomb needs more."""


class NotPart10Error(ValueError):
    """The bytes are not a DICOM file: the message says why."""


@dataclass(frozen=True)
class Dataset10:
    """A dataset inside a DICOM file, positioned at its first element.

    Attributes
    ----------
    stream : file-like
        Inflated where the file is deflated, else the file itself.
    transfer_syntax_uid : str
    implicit_vr, little_endian : bool
    """

    stream: BinaryIO
    transfer_syntax_uid: str
    implicit_vr: bool
    little_endian: bool


def skip_meta(stream: BinaryIO) -> str:
    """Move `stream` to the first byte after the file meta group and give the transfer syntax UID.

    The elements are walked one by one (explicit VR little endian, PS3.10 7.1): the group's stated length is
    often wrong in practice.

    Raises
    ------
    NotPart10Error
        There is no DICM prefix, no transfer syntax, or the group is cut off.
    """
    stream.seek(0)
    if stream.read(132)[128:] != b"DICM":
        raise NotPart10Error("it has no DICM prefix")
    syntax = ""
    while True:
        start = stream.tell()
        head = stream.read(8)
        if len(head) < 8 or head[:2] != b"\x02\x00":
            stream.seek(start)
            break
        element, vr, length = struct.unpack("<2xH2sH", head)
        if vr in _LONG_VRS:
            length = int.from_bytes(stream.read(4), "little")
        value = stream.read(min(length, _MAX_META))
        if len(value) < length:
            raise NotPart10Error("its file meta group is cut off")
        if element == 0x0010:
            syntax = value.decode("ascii", "replace").strip("\0 ")
    if not syntax:
        raise NotPart10Error("its file meta group names no transfer syntax")
    return syntax


def open_dataset(stream: BinaryIO) -> Dataset10:
    """Position at the dataset of a DICOM file, inflating it where needed.

    Raises
    ------
    NotPart10Error
        As `skip_meta`; or the deflated part is damaged or absurdly large.
    """
    syntax = skip_meta(stream)
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = io.BytesIO(_inflate(stream.read()))
    return Dataset10(stream, syntax, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)


def _inflate(packed: bytes) -> bytes:
    """Inflate as far as the bytes go; a stream that was cut off gives what came (PS3.5 A.5)."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        plain = inflater.decompress(packed, _MAX_INFLATED)
    except zlib.error as error:
        raise NotPart10Error("its deflated dataset is damaged") from error
    if inflater.unconsumed_tail:
        raise NotPart10Error(f"its deflated dataset is larger than {_MAX_INFLATED >> 20} MiB")
    return plain
