"""The pixels of a stack, in the scanner's signal units."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import BaseTag

from scarnode.dicom.elements import integer, items, number, numbers, text
from scarnode.dicom.part10 import open_dataset, open_file, read
from scarnode.pipeline.stack.decode import DecodeError, stored_pixels
from scarnode.pipeline.stack.digest import uid_hash
from scarnode.pipeline.stack.grid import on_common_grid
from scarnode.pipeline.stack.model import MAX_VOXELS, SourceFrame, Stack
from scarnode.util.errors import InputError, SystemFaultError, name_of, raise_system_fault

_FIRST_PIXELS = 0x7FE00008
_GROUPS = (0x52009229, 0x52009230)
_MEANING = (0x00200032, 0x00200037, 0x00280030, 0x00280120, 0x00280121, 0x00281052, 0x00281053)
"""Position, orientation, spacing, padding and rescale."""
_MACROS = (
    (0x00209113, 0x00200032),
    (0x00209116, 0x00200037),
    (0x00289110, 0x00280030, 0x00180050),
    (0x00289145, 0x00281052, 0x00281053),
)
_ENCODING = (*_MEANING, 0x00280002, 0x00280008, 0x00280010, 0x00280011, 0x00280100, 0x00280101, 0x00280102, 0x00280103)
_CHUNK = 1 << 20
_MAX_FRAMES = 20_000
_BATCH_VOXELS = 1 << 24
_BATCH = 50
"""Voxels (128 MiB as integers of 64 bits) and files whose decoded pixels are held at a time."""
_TODO = "send the instance again, or retry once it is replaced"


def read_volume(stack: Stack) -> np.ndarray:
    """Decode a stack.

    RescaleSlope and RescaleIntercept (per frame in Enhanced MR) are applied, pixels of PixelPaddingValue take the
    smallest real value of their slice, MONOCHROME1 is inverted, so that larger always means more signal. A slice on
    another pixel grid is resampled to the stack's.

    Parameters
    ----------
    stack : Stack

    Returns
    -------
    numpy.ndarray
        float32, shape (slices, rows, columns), base to apex.

    Raises
    ------
    InputError
        An instance can not be decoded, or is not what its header said. It is named by a hash of its UID.
    SystemFaultError
        The machine is to blame; also where an instance is not there.
    """
    shape = (len(stack.frames), stack.rows, stack.columns)
    if min(shape) < 1 or int(np.prod(shape, dtype=object)) > MAX_VOXELS:
        raise InputError(
            f"a volume of {shape[0]} x {shape[1]} x {shape[2]} can not be read", "stack", "send a smaller stack"
        )
    try:
        stored = stored_pixels([(frame.path, frame.frame_number - 1) for frame in stack.frames])
    except DecodeError as error:
        raise _undecodable(stack.frames[error.which], error) from error
    volume = np.empty(shape, np.float32)
    headers: dict[Path, Dataset] = {}
    for index, frame in enumerate(stack.frames):
        if frame.path not in headers:
            headers[frame.path] = _header(frame)
        own = frame.grid
        size = shape[1:] if own is None else (own.rows, own.columns)
        signal = _signal(headers[frame.path], frame, stored[index], size)
        volume[index] = signal if own is None else on_common_grid(signal, stack, frame)
    return volume


def stored_digest(path: Path) -> str:
    """Return the digest of an instance's encoded pixel data and of the attributes that define their meaning.

    Returns
    -------
    str
        Equal for files that show the same image in the same encoding, whatever else their headers say; '' where there
        is nothing to read.

    Raises
    ------
    SystemFaultError
    """
    try:
        with open_file(path) as stream:
            opened = open_dataset(stream)
            dataset = read_dataset(
                opened.stream,
                opened.implicit_vr,
                opened.little_endian,
                stop_when=lambda tag, _vr, _length: tag >= _FIRST_PIXELS,
                specific_tags=[BaseTag(tag) for tag in (0x00280004, *_ENCODING, *_GROUPS)],
            )
            digest = hashlib.sha256(repr([opened.transfer_syntax_uid, _meaning(dataset, _ENCODING)]).encode())
            while chunk := opened.stream.read(_CHUNK):
                digest.update(chunk)
    except Exception as error:  # any error of the parser: nothing is known of this file
        raise_system_fault(error, path.name)
        return ""
    return digest.hexdigest()


def content_digests(paths: Sequence[Path]) -> dict[Path, str]:
    """Return digests of what instances show, whatever their encoding: decoded pixels, geometry and rescale.

    Returns
    -------
    dict
        By path; one that can not be decoded, or is too large for a stack, is absent.

    Raises
    ------
    SystemFaultError
    """
    digests: dict[Path, str] = {}
    headers: dict[Path, Dataset] = {}
    voxels = 0
    for path in paths:
        try:
            header = _header(SourceFrame(path, "", path.name, "", 1, (0.0, 0.0, 0.0)))
        except SystemFaultError:
            raise
        except InputError:
            continue
        size = [integer(header, tag) or 0 for tag in (0x00280010, 0x00280011)]
        more = max(integer(header, 0x00280008) or 1, 1) * max(size[0], 1) * max(size[1], 1)
        if more > MAX_VOXELS:
            continue
        if headers and (voxels + more > _BATCH_VOXELS or len(headers) >= _BATCH):
            digests |= _contents(headers)
            headers, voxels = {}, 0
        headers[path] = header
        voxels += more
    return digests | _contents(headers)


def _contents(headers: dict[Path, Dataset]) -> dict[Path, str]:
    wanted = [
        (path, index)
        for path, dataset in headers.items()
        for index in range(min(integer(dataset, 0x00280008) or 1, _MAX_FRAMES))
    ]
    frames: dict[Path, list[np.ndarray]] = defaultdict(list)
    for (path, _), stored in zip(*_decodable(wanted), strict=True):
        frames[path].append(stored)
    return {path: _content_digest(headers[path], stored) for path, stored in frames.items()}


def _decodable(wanted: list[tuple[Path, int]]) -> tuple[list[tuple[Path, int]], list[np.ndarray]]:
    """Decode what can be decoded, leaving out each file that fails."""
    while True:
        try:
            return wanted, stored_pixels(wanted)
        except DecodeError as error:
            bad = wanted[error.which][0]
            raise_system_fault(error, bad.name)
            wanted = [(path, index) for path, index in wanted if path != bad]


def _content_digest(dataset: Dataset, frames: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for stored in frames:
        digest.update(f"{stored.shape}".encode() + np.ascontiguousarray(stored, "<i8").tobytes())
    digest.update(repr(_meaning(dataset, _MEANING)).encode())
    return digest.hexdigest()


def _meaning(dataset: Dataset, tags: Sequence[int]) -> list:
    """Return the values that define signal and position of the frames: rescale, padding, geometry."""
    described: list = [text(dataset, 0x00280004), *(numbers(dataset, tag) for tag in tags)]
    for group in (*items(dataset, _GROUPS[0]), *items(dataset, _GROUPS[1])):
        for sequence, *own in _MACROS:
            described.append([numbers(item, tag) for item in items(group, sequence) for tag in own])
    return described


def _header(frame: SourceFrame) -> Dataset:
    try:
        return read(frame.path)
    except Exception as error:  # whatever the parser meets, the reader learns which instance it was
        raise _undecodable(frame, error) from error


def _signal(dataset: Dataset, frame: SourceFrame, stored: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if stored.shape != shape:
        what = f"pixels of shape {stored.shape} where the header says {shape}"
        raise InputError(what, f"instance {uid_hash(frame.sop_instance_uid)}", _TODO)
    slope, intercept = _rescale(dataset, frame)
    padding = _padding(dataset, stored)
    values = stored.astype(np.float64)
    if text(dataset, 0x00280004) == "MONOCHROME1":
        low, high = _stored_range(dataset)
        values = low + high - values
    values = values * slope + intercept
    if padding.any():
        values[padding] = values[~padding].min() if not padding.all() else 0.0
    return values.astype(np.float32)


def _rescale(dataset: Dataset, frame: SourceFrame) -> tuple[float, float]:
    """Slope and intercept of the frame's own functional group, the shared one, or the top level (C.7.6.16.2.9)."""
    groups = items(dataset, 0x52009230)
    own = groups[frame.frame_number - 1 : frame.frame_number]
    for group in (*own, *items(dataset, 0x52009229)[:1]):
        for transformation in items(group, 0x00289145)[:1]:
            return _finite(transformation, frame)
    return _finite(dataset, frame)


def _finite(dataset: Dataset, frame: SourceFrame) -> tuple[float, float]:
    pair = []
    for tag, default in ((0x00281053, 1.0), (0x00281052, 0.0)):
        pair.append(default if not text(dataset, tag) else number(dataset, tag))
    slope, intercept = pair
    if slope is None or intercept is None or slope == 0:
        what = "RescaleSlope or RescaleIntercept is no usable number"
        raise InputError(what, f"instance {uid_hash(frame.sop_instance_uid)}", "have the sender corrected")
    return slope, intercept


def _stored_range(dataset: Dataset) -> tuple[int, int]:
    bits = integer(dataset, 0x00280101) or 16
    return (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if integer(dataset, 0x00280103) == 1 else (0, (1 << bits) - 1)


def _padding(dataset: Dataset, stored: np.ndarray) -> np.ndarray:
    """Where the pixels are padding (PS3.3 C.7.5.1.1.2); bool, shape of `stored`."""
    value, limit = integer(dataset, 0x00280120), integer(dataset, 0x00280121)
    if value is None:
        return np.zeros(stored.shape, bool)
    ends = sorted(_as_stored(end, dataset) for end in (value, value if limit is None else limit))
    return (stored >= ends[0]) & (stored <= ends[1])


def _as_stored(value: int, dataset: Dataset) -> int:
    """Return a padding value the sign of the pixels: GE's -32768 is often written as the unsigned 32768."""
    if integer(dataset, 0x00280103) != 1:
        return value & 0xFFFF
    value &= 0xFFFF
    return value - 0x10000 if value >= 0x8000 else value


def _undecodable(frame: SourceFrame, error: Exception) -> InputError:
    """Return the error of an image that can not be decoded; where the machine is to blame, raise that."""
    raise_system_fault(error, f"instance {uid_hash(frame.sop_instance_uid)}")
    why = str(error) if isinstance(error, DecodeError) else name_of(error)
    return InputError(f"its pixels can not be decoded ({why})", f"instance {uid_hash(frame.sop_instance_uid)}", _TODO)
