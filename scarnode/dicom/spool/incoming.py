"""A C-STORE request as it came, and the head that its dataset gets as a DICOM file."""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, cast

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from scarnode.dicom.part10 import NotPart10Error, skip_meta
from scarnode.dicom.spool.partial import PartialFile
from scarnode.dicom.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, derived_uid

_PREAMBLE = b"\0" * 128 + b"DICM"
_GROUP_LENGTH = b"\2\0\0\0UL\4\0"
_BEFORE_GROUP = len(_PREAMBLE) + len(_GROUP_LENGTH) + 4
_INSTANCE_UID = b"\2\0\3\0UI"
_LONGEST_GROUP = 64 << 10

SAFE_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Incoming:
    """A C-STORE request as it stands on the wire.

    Attributes
    ----------
    sop_class_uid, sop_instance_uid : str
        AffectedSOPClassUID and AffectedSOPInstanceUID of the request.
    transfer_syntax_uid : str
        Of the presentation context.
    calling_ae, called_ae : str
    dataset : bytes or PartialFile
        The encoded dataset, or the file that it went to while it arrived (`Spool.begin`).
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    called_ae: str
    dataset: bytes | PartialFile = b""

    def head(self) -> bytes:
        """Return preamble, prefix and group 0002 for the dataset, which came without them."""
        before, after = _meta_around(self.sop_class_uid, self.transfer_syntax_uid, self.calling_ae, self.called_ae)
        uid = safe_uid(self.sop_instance_uid).encode()
        instance = _INSTANCE_UID + struct.pack("<H", len(uid) + len(uid) % 2) + uid + b"\0" * (len(uid) % 2)
        group = before + instance + after
        return _PREAMBLE + _GROUP_LENGTH + struct.pack("<L", len(group)) + group

    def as_file(self) -> bytes:
        """Return the instance as it stands in a DICOM file (PS3.10); only of a dataset in memory."""
        return self.head() + cast(bytes, self.dataset)


def read_head(path: Path) -> bytes:
    """Read preamble, prefix and group 0002 of a file of the spool; nothing where it is gone or spoilt."""
    try:
        with path.open("rb") as file:
            return head_of(file)
    except FileNotFoundError:
        return b""


def head_of(file: BinaryIO) -> bytes:
    """Read preamble, prefix and group 0002 from a file that begins there; nothing where they are spoilt."""
    head = file.read(_BEFORE_GROUP)
    if not head.startswith(_PREAMBLE + _GROUP_LENGTH) or len(head) < _BEFORE_GROUP:
        return b""
    length = int.from_bytes(head[-4:], "little")
    group = file.read(length) if length <= _LONGEST_GROUP else b""
    return head + group if len(group) == length else b""


def syntax_of(head: bytes) -> str:
    """Return the transfer syntax UID of a file's head; empty where it is spoilt."""
    try:
        return skip_meta(BytesIO(head))
    except NotPart10Error:
        return ""


def safe_uid(uid: str) -> UID:
    """Return the UID, fit for a file name; what is none (``../..``, control characters) is replaced by a derived
    one.
    """
    return UID(uid) if SAFE_UID.fullmatch(uid) and uid.strip(".") else derived_uid("not a UID", uid)


@lru_cache(256)
def _meta_around(sop_class: str, transfer_syntax: str, calling_ae: str, called_ae: str) -> tuple[bytes, bytes]:
    """Encode group 0002 without its length and instance UID: what stands before that and what behind.

    The instances of an association differ in their UID alone, and pydicom needs a millisecond for each.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = safe_uid(sop_class)
    meta.MediaStorageSOPInstanceUID = UID("0")
    meta.TransferSyntaxUID = UID(transfer_syntax)
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION_NAME
    meta.SourceApplicationEntityTitle = calling_ae
    meta.ReceivingApplicationEntityTitle = called_ae
    buffer = DicomBytesIO()
    write_file_meta_info(buffer, meta, enforce_standard=True)
    group = buffer.getvalue()[len(_GROUP_LENGTH) + 4 :]
    before, _, after = group.partition(_INSTANCE_UID + b"\2\0" + b"0\0")
    return before, after
