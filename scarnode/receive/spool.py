"""The spool: received instances on disk, byte for byte as they came. It is the truth for what was received."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import IO
from uuid import uuid4

from pydicom.dataset import FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pydicom.uid import UID

from scarnode.disk import NO_FLOOR, NO_ROOM, Floor
from scarnode.durable import check_writable, make_folder, sync_folder, write_durably
from scarnode.errors import SpoolError
from scarnode.uids import IMPLEMENTATION_CLASS_UID, IMPLEMENTATION_VERSION_NAME, derived_uid

_PREAMBLE = b"\0" * 128 + b"DICM"
_GROUP_LENGTH = b"\2\0\0\0UL\4\0"
_BEFORE_GROUP = len(_PREAMBLE) + len(_GROUP_LENGTH) + 4
_INSTANCE_UID = b"\2\0\3\0UI"
ASIDE = "removed-"
"""Begins the name of a file that is being deleted from a shared spool."""

ABANDONED = 3600.0
"""Seconds after which what lies half-written in a shared spool is nobody's."""

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
    dataset : bytes
        The encoded dataset.
    """

    sop_class_uid: str
    sop_instance_uid: str
    transfer_syntax_uid: str
    calling_ae: str
    called_ae: str
    dataset: bytes

    def head(self) -> bytes:
        """Give preamble, prefix and group 0002 for the dataset, which came without them."""
        before, after = _meta_around(self.sop_class_uid, self.transfer_syntax_uid, self.calling_ae, self.called_ae)
        uid = _safe(self.sop_instance_uid).encode()
        instance = _INSTANCE_UID + struct.pack("<H", len(uid) + len(uid) % 2) + uid + b"\0" * (len(uid) % 2)
        group = before + instance + after
        return _PREAMBLE + _GROUP_LENGTH + struct.pack("<L", len(group)) + group

    def as_file(self) -> bytes:
        """Give the instance as it stands in a DICOM file (PS3.10)."""
        return self.head() + self.dataset


class Spool:
    """A folder of received instances.

    A file is named after its SOP Instance UID and the SHA-256 of its dataset, so that a re-send overwrites
    itself with the same bytes and other content under the same UID gets a file of its own. Files are spread
    over 256 folders by that digest.

    A file gets its name before its bytes are synced (file and name: one commit of the file system's journal). After
    a power loss a name may thus stand on a file that is not whole. It was not answered with Success, and `is_whole`
    tells it by its digest: the start asks for every file that the ledger does not know. In a shared spool the bytes
    come first, for other machines see a name at once, and a file server has a journal of its own.

    Parameters
    ----------
    root : Path
        Created (mode 0700) where absent.
    floor : Floor
        What an instance must leave free on the file system.
    shared : bool
        Other processes, on other machines too, use it at the same time; each of them says so.

    Attributes
    ----------
    refusals : int
        Instances not stored for want of space.
    refused : int
        Size in bytes of the largest of them; whoever watches the disk puts it back to 0.
    closed_for : str
        Why no instance is taken now, as an ErrorComment (LO: up to 64 characters); empty: they are taken.

    Raises
    ------
    SpoolError
        The folder can not be created or written, or another node uses it.
    """

    MARKER = "lock"
    """File in the root that tells it from the empty mount point of its disk."""

    def __init__(self, root: Path, floor: Floor = NO_FLOOR, shared: bool = False) -> None:
        self.root, self.floor, self._shared = root, floor, shared
        self.refusals = self.refused = 0
        self.closed_for = ""
        self._placing = threading.Lock()
        self._partial = root / "partial"
        try:
            make_folder(root)
            self._lock = (root / self.MARKER).open("a+")
            _lock_or_raise(self._lock, root, shared)
            self._partial.mkdir(exist_ok=True, mode=0o700)
            self._clear_partial()
            for number in range(256):
                (root / f"{number:02x}").mkdir(exist_ok=True, mode=0o700)
            sync_folder(root)
            check_writable(self._partial)
        except OSError as error:
            raise SpoolError(
                f"can not be written ({error.strerror})", str(root), "Set [spool] path to a folder this user can write"
            ) from None

    def store(self, incoming: Incoming) -> Path:
        """Write an instance durably: when this returns, the bytes survive a power loss.

        Parameters
        ----------
        incoming : Incoming

        Returns
        -------
        Path
            The DICOM file: preamble, file meta information (PS3.10), then the dataset's bytes as they came.

        Raises
        ------
        OSError
            Disk full (`scarnode.disk.NO_ROOM`) or the like; no part of the file is left behind. Where the instance
            would leave less free than the floor, nothing is written at all.
        """
        try:
            return self._store(incoming)
        except OSError as error:
            if error.errno in NO_ROOM:
                self.refusals += 1
                self.refused = max(self.refused, len(incoming.dataset))
            raise

    def _store(self, incoming: Incoming) -> Path:
        if self.floor.room(self.root).spare < len(incoming.dataset):
            raise OSError(errno.ENOSPC, "below the floor of free disk space")
        digest = hashlib.sha256(incoming.dataset).hexdigest()
        path = self.root / digest[:2] / f"{_safe(incoming.sop_instance_uid)}.{digest}.dcm"
        parts = (incoming.head(), incoming.dataset)
        write_durably(path, self._partial / uuid4().hex, parts, self._placing, place_first=not self._shared)
        return path

    def is_whole(self, path: Path) -> bool:
        """Say whether a file holds all that `store` was given: its name has the digest.

        Raises
        ------
        OSError
            It can not be read.
        """
        with path.open("rb") as file:
            head = file.read(_BEFORE_GROUP)
            if not head.startswith(_PREAMBLE + _GROUP_LENGTH) or len(head) < _BEFORE_GROUP:
                return False
            file.seek(int.from_bytes(head[-4:], "little"), os.SEEK_CUR)
            digest = hashlib.sha256()
            while piece := file.read(1 << 20):
                digest.update(piece)
        return digest.hexdigest() == path.stem.rpartition(".")[2]

    def set_aside(self, path: Path) -> bool:
        """Move a file that is not whole into the folder ``broken``, unless a whole one came in its place meanwhile."""
        with self._placing:
            if self.is_whole(path):
                return False
            broken = self.root / "broken"
            broken.mkdir(exist_ok=True, mode=0o700)
            path.replace(broken / f"{path.stem}.part")
        return True

    def remove(self, path: Path, stored_at: float) -> bool:
        """Delete an instance, unless it came again since.

        Parameters
        ----------
        path : Path
            As `store` gave it.
        stored_at : float
            The file's time (st_mtime) when it was decided to delete it.

        Returns
        -------
        bool
            The file is gone; False: a newer one lies there, which was answered with Success.
        """
        if self._shared:
            return self._remove_shared(path, stored_at)
        with self._placing:
            try:
                if path.stat().st_mtime != stored_at:
                    return False
                path.unlink()
            except FileNotFoundError:
                pass
        return True

    def _remove_shared(self, path: Path, stored_at: float) -> bool:
        """Delete as `remove` does, where a receiver elsewhere may put a newer file into the place at any moment."""
        aside = self._partial / f"{ASIDE}{uuid4().hex}-{path.name}"
        try:
            path.rename(aside)
        except FileNotFoundError:
            return True
        with aside.open("rb") as file:  # opened, for NFS then asks the server which file this is
            newer = os.fstat(file.fileno()).st_mtime != stored_at
        if newer:
            self._put_back(aside)
        else:
            aside.unlink()
        return not newer

    def _put_back(self, aside: Path) -> None:
        name = aside.name.removeprefix(ASIDE).partition("-")[2]
        place = self.root / name.rsplit(".", 2)[1][:2] / name
        with suppress(FileExistsError):  # a newer one yet
            place.hardlink_to(aside)
            sync_folder(place.parent)
        aside.unlink()

    def _clear_partial(self) -> None:
        """Remove what dead processes left: never answered with Success, so that the sender sends it again."""
        left_overs = [path for path in self._partial.iterdir() if not self._shared or self.age(path) > ABANDONED]
        for left_over in left_overs:
            if left_over.name.startswith(ASIDE):
                self._put_back(left_over)
            else:
                left_over.unlink(missing_ok=True)

    def age(self, path: Path) -> float:
        """Give for how many seconds a file has lain there, by the file system's own clock; 0 where it is gone."""
        probe = self._partial / f".probe-{uuid4().hex}"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        try:
            return now - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def close(self) -> None:
        """Let another node have the spool."""
        self._lock.close()

    def __iter__(self) -> Iterator[Path]:
        """Every stored instance, in no particular order."""
        for folder in self.folders():
            yield from folder

    def folders(self) -> Iterator[list[Path]]:
        """Every stored instance, folder by folder."""
        for number in range(256):
            yield list((self.root / f"{number:02x}").glob("*.dcm"))


def _lock_or_raise(lock: IO[str], root: Path, shared: bool) -> None:
    """Hold the spool until this process ends, however it ends: alone, or with others that share it too."""
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        raise SpoolError("another scarnode uses it", str(root), "Stop that node, or set another [spool] path") from None


def _safe(uid: str) -> UID:
    """Give the UID, fit for a file name; what is none (``../..``, control characters) is replaced by a derived one."""
    return UID(uid) if SAFE_UID.fullmatch(uid) and uid.strip(".") else derived_uid("not a UID", uid)


@lru_cache(256)
def _meta_around(sop_class: str, transfer_syntax: str, calling_ae: str, called_ae: str) -> tuple[bytes, bytes]:
    """Encode group 0002 without its length and instance UID: what stands before that and what behind.

    The instances of an association differ in their UID alone, and pydicom needs a millisecond for each.
    """
    meta = FileMetaDataset()
    meta.FileMetaInformationVersion = b"\x00\x01"
    meta.MediaStorageSOPClassUID = _safe(sop_class)
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
