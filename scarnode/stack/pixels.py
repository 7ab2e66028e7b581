"""The pixels of a stack, in the scanner's signal units."""

from __future__ import annotations

import contextlib
import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom import dcmread
from pydicom.dataset import Dataset

from scarnode.errors import InputError
from scarnode.stack.decode import DecodeError, stored_pixels
from scarnode.stack.digest import uid_hash
from scarnode.stack.elements import integer, items, number, numbers, text
from scarnode.stack.model import SourceFrame, Stack

_MAX_VOXELS = 1 << 28
"""A float32 volume of 1 GiB: forty slices of 2590 x 2590."""
_MAX_FRAMES = 20_000
_BATCH = 50
"""Files whose decoded pixels are held at a time."""
_TODO = "send the instance again, or retry once it is replaced"


def read_volume(stack: Stack) -> np.ndarray:
    """Decode a stack.

    RescaleSlope and RescaleIntercept (per frame in Enhanced MR) are applied, pixels of PixelPaddingValue take the
    smallest real value of their slice, MONOCHROME1 is inverted, so that larger always means more signal.

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
        An instance is gone, can not be decoded, or is not what its header said. It is named by a hash of its UID.
    """
    shape = (len(stack.frames), stack.rows, stack.columns)
    if min(shape) < 1 or int(np.prod(shape, dtype=object)) > _MAX_VOXELS:
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
        volume[index] = _signal(headers[frame.path], frame, stored[index], shape[1:])
    return volume


def content_digests(paths: Sequence[Path]) -> dict[Path, str]:
    """Give digests of what instances show, whatever their encoding: decoded pixels, geometry and rescale.

    Returns
    -------
    dict
        By path; one that can not be decoded is absent.
    """
    digests: dict[Path, str] = {}
    for start in range(0, len(paths), _BATCH):
        headers = {}
        for path in paths[start : start + _BATCH]:
            with contextlib.suppress(InputError):
                headers[path] = _header(SourceFrame(path, "", path.name, "", 1, (0.0, 0.0, 0.0)))
        wanted = [
            (path, index)
            for path, dataset in headers.items()
            for index in range(min(integer(dataset, 0x00280008) or 1, _MAX_FRAMES))
        ]
        frames: dict[Path, list[np.ndarray]] = defaultdict(list)
        for (path, _), stored in zip(*_decodable(wanted), strict=True):
            frames[path].append(stored)
        digests |= {path: _content_digest(headers[path], stored) for path, stored in frames.items()}
    return digests


def _decodable(wanted: list[tuple[Path, int]]) -> tuple[list[tuple[Path, int]], list[np.ndarray]]:
    """Decode what can be decoded, leaving out each file that fails."""
    while True:
        try:
            return wanted, stored_pixels(wanted)
        except DecodeError as error:
            bad = wanted[error.which][0]
            wanted = [(path, index) for path, index in wanted if path != bad]


def _content_digest(dataset: Dataset, frames: list[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for stored in frames:
        digest.update(f"{stored.shape}".encode() + np.ascontiguousarray(stored, "<i8").tobytes())
    for tag in (0x00200032, 0x00200037, 0x00280030, 0x00281052, 0x00281053):
        digest.update(repr(numbers(dataset, tag)).encode())
    for group in items(dataset, 0x52009230):
        for sequence, tag in ((0x00209113, 0x00200032), (0x00209116, 0x00200037), (0x00289145, 0x00281053)):
            digest.update(repr([numbers(item, tag) for item in items(group, sequence)]).encode())
    return digest.hexdigest()


def _header(frame: SourceFrame) -> Dataset:
    try:
        return dcmread(frame.path, stop_before_pixels=True)
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
    """Give a padding value the sign of the pixels: GE's -32768 is often written as the unsigned 32768."""
    if integer(dataset, 0x00280103) != 1:
        return value & 0xFFFF
    value &= 0xFFFF
    return value - 0x10000 if value >= 0x8000 else value


def _undecodable(frame: SourceFrame, error: Exception) -> InputError:
    why = str(error) if isinstance(error, DecodeError) else type(error).__name__
    return InputError(f"its pixels can not be decoded ({why})", f"instance {uid_hash(frame.sop_instance_uid)}", _TODO)
