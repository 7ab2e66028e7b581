"""The spool: received instances on disk, byte for byte as they came. It is the truth for what was received."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from contextlib import suppress
from io import FileIO
from pathlib import Path
from typing import IO, cast
from uuid import uuid4

from scarnode.dicom.spool.incoming import Incoming, head_of, read_head, safe_uid, syntax_of
from scarnode.dicom.spool.partial import PartialFile
from scarnode.util.disk import DISK_FULL, NO_LIMIT, FreeSpaceLimit
from scarnode.util.durable import check_writable, make_folder, place, place_new, sync_folder
from scarnode.util.errors import SpoolError

NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
"""Why a file system makes no hard link. Then two machines that store one name at the same time both succeed."""

ASIDE = "removed-"
"""Begins the name of a file that is being deleted from a shared spool."""

ABANDONED = 3600.0
"""Seconds after which what lies half-written in a shared spool is nobody's."""


class Spool:
    """A folder of received instances.

    A file is named after its SOP Instance UID and the SHA-256 of its dataset, so that a re-send is the same file, and
    other content under the same UID gets a file of its own. Files are spread over 256 folders by that digest. The same
    bytes mean something else in another transfer syntax: what comes in another than the file of that name has gets
    the digest of dataset, NUL and transfer syntax UID. A re-send replaces a file by the same bytes, those that the
    first sender is named in: only the file's time is new.

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

    def __init__(self, root: Path, floor: FreeSpaceLimit = NO_LIMIT, shared: bool = False) -> None:
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

    def begin(self, incoming: Incoming) -> PartialFile:
        """Make ready for the dataset of an instance, which is then given to `store` in place of its bytes.

        Parameters
        ----------
        incoming : Incoming
            Its dataset counts for nothing.

        Raises
        ------
        OSError
            There is no room for any instance.
        """
        if self._spare() < 0:
            raise OSError(errno.ENOSPC, "below the floor of free disk space")
        return PartialFile(self._new_name(), incoming.head(), self._spare)

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
            Disk full (`scarnode.util.disk.DISK_FULL`) or the like; no part of the file is left behind. Where the
            instance
            would leave less free than the floor, nothing is written at all, or no more of one that was begun.
        """
        dataset = incoming.dataset
        partial = dataset if isinstance(dataset, PartialFile) else None
        try:
            if partial is None:
                partial = PartialFile(self._new_name(), incoming.head(), self._spare)
                partial.write(cast(bytes, dataset))
            path = self._place(incoming, partial)
        except BaseException as error:
            if partial is not None:
                partial.discard()
            if isinstance(error, OSError):
                self.note_refusal(error, partial.size if partial else 0)
            raise
        partial.close()
        return path

    def note_refusal(self, error: OSError, size: int) -> None:
        """Count an instance of so many bytes that could not be stored, if for want of space."""
        if error.errno in DISK_FULL:
            self.refusals += 1
            self.refused = max(self.refused, size)

    def _spare(self) -> int:
        return self.floor.usage(self.root).spare

    def _new_name(self) -> Path:
        return self._partial / uuid4().hex

    def _path(self, uid: str, digest: str) -> Path:
        return self.root / digest[:2] / f"{uid}.{digest}.dcm"

    def _place(self, incoming: Incoming, partial: PartialFile) -> Path:
        """Return a file whose dataset is there its name, durably."""
        file = partial.flush()
        uid, syntax = safe_uid(incoming.sop_instance_uid), incoming.transfer_syntax_uid
        path = self._path(uid, partial.digest())
        if self._place_new(file, partial.path, path):
            return path
        first = read_head(path)
        if first and syntax_of(first) != syntax:
            path = self._path(uid, partial.digest(_in_syntax(syntax)))
            if self._place_new(file, partial.path, path):
                return path
            first = read_head(path)
        if first and first != partial.head and syntax_of(first) == syntax:  # another sender: the first one's stays
            partial.give_head(self._new_name(), first)
        place(partial.flush(), partial.path, path, self._placing)
        return path

    def _place_new(self, file: FileIO, temporary: Path, path: Path) -> bool:
        """Return a file a name unless another has it: False."""
        if not self._shared:
            return place_new(file, temporary, path, self._placing)
        if path.exists():
            return False
        os.fsync(file.fileno())
        try:
            path.hardlink_to(temporary)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            temporary.replace(path)
        temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        return True

    def is_whole(self, path: Path) -> bool:
        """Describe whether a file holds all that `store` was given: its name has the digest.

        Raises
        ------
        OSError
            It can not be read.
        """
        digest = hashlib.sha256()
        with path.open("rb") as file:
            head = head_of(file)
            if not head:
                return False
            while piece := file.read(1 << 20):
                digest.update(piece)
        named = path.stem.rpartition(".")[2]
        if digest.hexdigest() == named:
            return True
        digest.update(_in_syntax(syntax_of(head)))
        return digest.hexdigest() == named

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
        """Return for how many seconds a file has lain there, by the file system's own clock; 0 where it is gone."""
        probe = self._partial / f".probe-{uuid4().hex}"
        probe.touch()
        now = probe.stat().st_mtime
        probe.unlink()
        try:
            return now - path.stat().st_mtime
        except FileNotFoundError:
            return 0.0

    def close(self) -> None:
        """Allow another node have the spool."""
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


def _in_syntax(transfer_syntax_uid: str) -> bytes:
    """Return what the digest of a dataset goes on with where its file's name says the transfer syntax, too."""
    return b"\0" + transfer_syntax_uid.encode("ascii", "replace")
