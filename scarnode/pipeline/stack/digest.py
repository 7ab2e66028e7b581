"""Digests that tell whether two inputs are the same."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path

from scarnode.dicom.part10 import NotPart10Error, open_file, skip_meta
from scarnode.pipeline.stack.model import Stack
from scarnode.util.errors import InputError, raise_system_fault

_CHUNK = 1 << 20


def dataset_digest(path: Path) -> str:
    """Return the digest of a file's dataset, without its file meta group.

    The meta group names the sender (SourceApplicationEntityTitle) and the software that wrote the file; the same
    dataset received from another AE has the same digest. A dataset in another transfer syntax has another.

    Parameters
    ----------
    path : Path
        A DICOM Part 10 file.

    Returns
    -------
    str
        SHA-256 of the bytes after the file meta group, as 64 hex digits.

    Raises
    ------
    InputError
        The file can not be read or is not DICOM; a `SystemFaultError` where the machine is to blame.
    """
    digest = hashlib.sha256()
    try:
        with open_file(path) as stream:
            skip_meta(stream)
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
    except NotPart10Error as error:
        raise InputError(f"NOT_DICOM: not a DICOM file: {error}", path.name, "send DICOM Part 10 files") from error
    except OSError as error:
        raise_system_fault(error, path.name)
        raise InputError(
            f"UNREADABLE: {error.strerror or error}", path.name, "check the file and its rights"
        ) from error
    return digest.hexdigest()


def input_digest(stack: Stack) -> str:
    """Return the digest of everything a stack is made of.

    Parameters
    ----------
    stack : Stack

    Returns
    -------
    str
        SHA-256 over the sorted (SOP instance UID, dataset digest, frame numbers) of its instances, as 64 hex digits.

    Raises
    ------
    InputError
        As `dataset_digest`.
    """
    numbers: dict[tuple[str, Path], list[int]] = defaultdict(list)
    for frame in stack.frames:
        numbers[frame.sop_instance_uid, frame.path].append(frame.frame_number)
    rows = [(uid, dataset_digest(path), sorted(own)) for (uid, path), own in numbers.items()]
    return hashlib.sha256(repr(sorted(rows)).encode()).hexdigest()


def uid_hash(uid: str) -> str:
    """Return twelve hex digits that name a UID in messages and logs without giving it away."""
    return hashlib.sha256(uid.encode()).hexdigest()[:12]
