"""The outermost layer of a DICOM file (PS3.10): where its file meta group ends, how its dataset is encoded.

Files without preamble or file meta information, as some exports write them, are read where dcmtk reads them:
`open_file` gives them what they lack.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Collection, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydicom import dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_file_meta_info
from pydicom.tag import BaseTag
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)
from pydicom.valuerep import STANDARD_VR

from scarnode.dicom.uids import IMPLEMENTATION_CLASS_UID

_LONG_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
_VRS = frozenset(vr.value.encode() for vr in STANDARD_VR)
_HEAD = 4096
"""Bytes by which a file without file meta information is told."""
_PIXELS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
_UNDEFINED = 0xFFFFFFFF

_MAX_META = 1 << 20
_MAX_INFLATED = 256 << 20
"""Bytes a deflated dataset may inflate to: forty slices of 1024 x 1024 need a third of it; a zip bomb needs more."""
_CHUNK = 1 << 20
_SMALL = 256 << 10
"""A dataset of fewer bytes can hold nothing that matters: 32 768 empty elements or items at the most."""
_MAX_ELEMENTS, _MAX_ITEMS, _MAX_DEPTH = 500_000, 200_000, 64
"""What a header may hold. An Enhanced MR of 20 000 frames has 180 000 items; pydicom spends about 1.2 kB on each. SR,
the deepest that scanners and workstations write, nests some ten deep."""
_MAX_TEXT = 1 << 20
"""Bytes of an element that is asked for by its tag: names, UIDs, dates."""


class NotPart10Error(ValueError):
    """The bytes are not a DICOM file: the message says why."""


class IncompleteError(NotPart10Error):
    """The file is DICOM and lacks its beginning: the message says what, and how to mend it."""


class OversizedError(NotPart10Error):
    """The header holds more than any image needs; it was not read."""


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


def open_file(path: Path) -> BinaryIO:
    """Open a DICOM file; one that lacks preamble or file meta information is given as if it had them.

    A bare dataset is told by its first elements, in implicit or explicit VR. What is no DICOM is given as it is.

    Raises
    ------
    OSError
        The file can not be opened.
    """
    stream = path.open("rb")
    try:
        head = stream.read(_HEAD)
        stream.seek(0)
        whole = head[128:132] == b"DICM"
        if whole and head[132:134] == b"\x02\x00" and _names_syntax(stream):
            return stream
        start = _end_of_meta(stream) if whole else 0
        if not whole and head[:2] == b"\x02\x00" and head[4:6].isalpha():
            stream.seek(0)
            rest = stream.read()
            stream.close()
            return _completed(b"\0" * 128 + b"DICM" + rest)
        stream.seek(start)
        syntax = _syntax_of(stream.read(_HEAD))
        if not syntax:
            stream.seek(0)
            return stream
        stream.seek(start)
        dataset = stream.read()
        stream.close()
        return io.BytesIO(_meta(syntax, dataset) + dataset)
    except BaseException:
        stream.close()
        raise


def _completed(data: bytes) -> BinaryIO:
    """Return the bytes of a file that has file meta information; where that names no transfer syntax, one that does."""
    stream = io.BytesIO(data)
    if _names_syntax(stream):
        return stream
    start = _end_of_meta(stream)
    syntax = _syntax_of(data[start : start + _HEAD])
    return io.BytesIO(_meta(syntax, data[start:]) + data[start:]) if syntax else stream


def _names_syntax(stream: BinaryIO) -> bool:
    try:
        skip_meta(stream)
    except NotPart10Error as error:
        return "transfer syntax" not in str(error)
    finally:
        stream.seek(0)
    return True


def _end_of_meta(stream: BinaryIO) -> int:
    """Return where the file meta group ends, or would end, of a file with a DICM prefix."""
    with suppress(NotPart10Error):  # it names no transfer syntax: the stream stands behind the group
        skip_meta(stream)
    end = stream.tell()
    stream.seek(0)
    return end


def _syntax_of(head: bytes) -> str:
    """Determine from the first elements how a bare dataset is encoded; '' for what does not look like one.

    Tags ascend, begin in a group from 0008 (0000: a command, never in a file) to 0020, and VRs are known.
    """
    for syntax, order, explicit in (
        (ExplicitVRLittleEndian, "<", True),
        (ImplicitVRLittleEndian, "<", False),
        (ExplicitVRBigEndian, ">", True),
    ):
        place, last, seen = 0, 0, 0
        while place + 12 <= len(head) and seen < 5:
            group, element = struct.unpack_from(f"{order}HH", head, place)
            tag = group << 16 | element
            vr = head[place + 4 : place + 6]
            if tag <= last or not 0x0008 <= group <= 0x7FE0 or (not seen and group > 0x0020):
                break
            if explicit and vr not in _VRS:
                break
            if explicit and vr in _LONG_VRS:
                length, value = struct.unpack_from(f"{order}L", head, place + 8)[0], place + 12
            elif explicit:
                length, value = struct.unpack_from(f"{order}H", head, place + 6)[0], place + 8
            else:
                length, value = struct.unpack_from(f"{order}L", head, place + 4)[0], place + 8
            if length % 2 and length != _UNDEFINED:
                break
            place, last, seen = value + length, tag, seen + 1
        if seen >= 5 or (seen >= 2 and place > len(head)):
            return syntax
    return ""


def _meta(syntax: str, dataset: bytes) -> bytes:
    """Write the preamble and file meta information that a bare dataset lacks."""
    header = read_dataset(
        io.BytesIO(dataset),
        syntax == ImplicitVRLittleEndian,
        syntax != ExplicitVRBigEndian,
        stop_when=lambda tag, _vr, _length: tag > 0x00080018,
        specific_tags=[BaseTag(0x00080016), BaseTag(0x00080018)],
    )
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = UID(str(header.get("SOPClassUID", "") or ""))
    meta.MediaStorageSOPInstanceUID = UID(str(header.get("SOPInstanceUID", "") or ""))
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    buffer = DicomBytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, meta, enforce_standard=False)
    return buffer.getvalue()


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
        raise _why_not(stream)
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


def _why_not(stream: BinaryIO) -> NotPart10Error:
    """Describe why a file without a DICM prefix is not read, and how to mend it where that can be told."""
    stream.seek(0)
    head = stream.read(_HEAD)
    if head[:4] == b"DICM":
        text = (
            "it lacks the preamble of 128 bytes before its DICM prefix. Put it there: (head -c 128 /dev/zero; cat IN)"
        )
        return IncompleteError(f"{text} > OUT")
    behind = head[128:]
    if (behind[:2] == b"\x02\x00" and behind[4:6].isalpha()) or _syntax_of(behind):
        text = "it lacks the DICM prefix behind its preamble. Take the preamble away: tail -c +129 IN > OUT"
        return IncompleteError(text)
    if not head.strip(b"\0"):
        return NotPart10Error("it holds nothing but zeros" if head else "it is empty")
    return NotPart10Error("it has no DICM prefix")


def open_dataset(stream: BinaryIO, tags: Collection[int] = ()) -> Dataset10:
    """Position at the dataset of a DICOM file, inflating it where needed.

    Parameters
    ----------
    stream : file-like
    tags : collection of int
        Top-level elements that will be read as text.

    Raises
    ------
    NotPart10Error
        As `skip_meta`; or the deflated part is damaged.
    OversizedError
        It would take more memory than any image does: told before anything is allocated for it.
    """
    syntax = skip_meta(stream)
    if syntax == DeflatedExplicitVRLittleEndian:
        stream = _inflated(stream)
    opened = Dataset10(stream, syntax, syntax == ImplicitVRLittleEndian, syntax != ExplicitVRBigEndian)
    _check_size(opened, frozenset(tags))
    return opened


def read(source: Path | BinaryIO, tags: Collection[str] = (), pixels: bool = False) -> FileDataset:
    """Read a DICOM file as `pydicom.dcmread` does, if its header is of a size that an image can have.

    Parameters
    ----------
    source : Path or binary file
    tags : collection of str
        Keywords of the elements that are wanted; empty: all.
    pixels : bool
        With pixel data.

    Raises
    ------
    NotPart10Error, OversizedError
        As `open_dataset`.
    OSError
        The file can not be opened.
    Exception
        Whatever pydicom's parser meets in damaged files.
    """
    with open_file(source) if isinstance(source, Path) else nullcontext(source) as stream:
        known = (tag_for_keyword(keyword) for keyword in tags)
        open_dataset(stream, [tag for tag in known if tag is not None])
        stream.seek(0)
        completed = isinstance(stream, io.BytesIO)
        file = stream if completed or not isinstance(source, Path) else source
        return dcmread(file, stop_before_pixels=not pixels, specific_tags=list(tags) or None)


def _inflated(stream: BinaryIO) -> BinaryIO:
    """Inflate as far as the bytes go; a stream that was cut off gives what came (PS3.5 A.5).

    It is inflated twice: first to see how large it is.
    """
    start = stream.tell()
    try:
        size = sum(map(len, _inflate(stream)))
        if size > _MAX_INFLATED:
            raise OversizedError(f"its deflated dataset is larger than {_MAX_INFLATED >> 20} MiB")
        stream.seek(start)
        plain = io.BytesIO()
        plain.writelines(_inflate(stream))
    except zlib.error as error:
        raise NotPart10Error("its deflated dataset is damaged") from error
    plain.seek(0)
    return plain


def _inflate(stream: BinaryIO) -> Iterator[bytes]:
    """Return the inflated bytes piece by piece, up to a piece more than is allowed."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    size = 0
    while size <= _MAX_INFLATED and not inflater.eof:
        packed = inflater.unconsumed_tail or stream.read(_CHUNK)
        piece = inflater.decompress(packed, _CHUNK)
        if not packed and not piece:
            return
        size += len(piece)
        yield piece


def _check_size(opened: Dataset10, tags: frozenset[int]) -> None:
    """Walk a header without keeping anything of it, up to its pixel data, and count; the stream's place is kept.

    Every sequence and item is looked into, of defined and of undefined length, whether it will be read or not.
    """
    stream = opened.stream
    start = stream.tell()
    size = stream.seek(0, 2) - start
    stream.seek(start)
    if size >= _SMALL:
        _walk(opened, start + size, tags)
        stream.seek(start)


def _walk(opened: Dataset10, size: int, tags: frozenset[int]) -> None:  # noqa: PLR0912 (the grammar of PS3.5 chapter 7)
    stream = opened.stream
    order = "<" if opened.little_endian else ">"
    tag_and_length = struct.Struct(f"{order}HHL").unpack
    item = struct.pack(f"{order}HH", _ITEM >> 16, _ITEM & 0xFFFF)
    elements = items = 0
    open_ends = [(False, size)]  # is it a sequence, where does it end; _UNDEFINED: at its delimiter
    while open_ends:
        in_sequence, end = open_ends[-1]
        here = stream.tell()
        if here >= end != _UNDEFINED:
            open_ends.pop()
            continue
        head = stream.read(8)
        if len(head) < 8:
            return  # cut off: the parser will say so
        group, element, length = tag_and_length(head)
        tag = group << 16 | element
        if tag == (_SEQUENCE_END if in_sequence else _ITEM_END):
            open_ends.pop()
            continue
        if in_sequence:
            items += 1
            open_ends.append((False, _UNDEFINED if length == _UNDEFINED else here + 8 + length))
        else:
            if len(open_ends) == 1 and tag in _PIXELS:
                return
            elements += 1
            vr = head[4:6] if not opened.implicit_vr and b"AA" <= head[4:6] <= b"ZZ" else b""
            if vr in _LONG_VRS:
                length = int.from_bytes(stream.read(4), "little" if opened.little_endian else "big")
            elif vr:
                length = int.from_bytes(head[6:8], "little" if opened.little_endian else "big")
            value = stream.tell()
            if length == _UNDEFINED:
                open_ends.append((True, _UNDEFINED))  # fragments of pixel data look like items too
            elif vr == b"SQ" or (vr in (b"", b"UN") and stream.read(4) == item):
                stream.seek(value)
                open_ends.append((True, value + length))
            else:
                if tag in tags and len(open_ends) == 1 and length > _MAX_TEXT:
                    raise OversizedError(f"its element ({group:04X},{element:04X}) has {length} bytes")
                stream.seek(value + length)
        if len(open_ends) > 2 * _MAX_DEPTH:
            raise OversizedError(f"its sequences are nested more than {_MAX_DEPTH} deep")
        if items > _MAX_ITEMS or elements > _MAX_ELEMENTS:
            raise OversizedError(f"its header has more than {_MAX_ITEMS} items or {_MAX_ELEMENTS} elements")
