"""Stored pixel values of frames. Native frames are read here, compressed ones are decoded in a separate process."""

from __future__ import annotations

import io
import json
import os
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.uid import UID

from scarnode.dicom.part10 import NotPart10Error, open_file, read, skip_meta
from scarnode.pipeline.stack.bits import stored_values
from scarnode.pipeline.stack.codec_process import LONGEST, SECONDS_A_FRAME, SECONDS_TO_START
from scarnode.util.child import ChildEndedError, ChildProcess, MessageError
from scarnode.util.errors import name_of, raise_system_fault


class DecodeError(Exception):
    """A frame can not be decoded.

    Parameters
    ----------
    which : int
        Its index among the requested frames.
    why : str
        Without patient data.
    """

    def __init__(self, which: int, why: str) -> None:
        super().__init__(why)
        self.which = which


def stored_pixels(wanted: Sequence[tuple[Path, int]]) -> list[np.ndarray]:
    """Decode frames: stored values as HighBit and BitsStored say, without rescale.

    JPEG, JPEG-LS, JPEG 2000 and RLE are decoded in a child process. Codecs abort on some damaged streams, and the
    decoded size is unknown before; neither may end the node. Each call with such frames starts one Python process.

    Parameters
    ----------
    wanted : sequence of (Path, int)
        File, and index of the frame in it, from 0.

    Returns
    -------
    list of numpy.ndarray
        Integer, each of shape (rows, columns) for a grey image, in the order asked for.

    Raises
    ------
    DecodeError
        For the first frame that can not be decoded; made from the OSError or MemoryError where the machine is to
        blame.
    SystemFaultError
        No process can be started.
    """
    frames: list[np.ndarray] = [_NOTHING] * len(wanted)
    by_path: dict[Path, list[int]] = defaultdict(list)
    for which, (path, _) in enumerate(wanted):
        by_path[path].append(which)
    apart = []
    for path, numbers in by_path.items():
        which = numbers[0]
        try:
            if _needs_codec(path):
                apart += numbers
                continue
            dataset = read(path, pixels=True)
            for which in numbers:
                frames[which] = np.array(stored_values(dataset, wanted[which][1]))
        except Exception as error:  # whatever the parser meets
            raise DecodeError(which, name_of(error)) from error
    if apart:
        for which, frame in zip(apart, _decode_apart([wanted[which] for which in apart], apart), strict=True):
            frames[which] = frame
    return frames


_NOTHING = np.empty(0)


def _needs_codec(path: Path) -> bool:
    with open_file(path) as stream:
        try:
            syntax = UID(skip_meta(stream))
        except NotPart10Error:
            return False
    # An unknown transfer syntax has no codec that could crash.
    return syntax.is_transfer_syntax and not syntax.is_private and syntax.is_encapsulated


def _decode_apart(wanted: list[tuple[Path, int]], numbers: list[int]) -> list[np.ndarray]:
    try:
        child = ChildProcess("scarnode.pipeline.stack.codec_process", LONGEST, quiet=True)
    except OSError as error:  # no process, no socket
        raise_system_fault(error, "the process that decodes")
        raise
    deadline = time.monotonic() + SECONDS_TO_START + SECONDS_A_FRAME * len(wanted)
    request = json.dumps([[str(path.absolute()), index] for path, index in wanted]).encode()
    frames: list[np.ndarray] = []
    try:
        answer = child.request(request, deadline - time.monotonic())
        for which in numbers:
            if frames:
                answer = child.receive(max(deadline - time.monotonic(), 0.0))
            frames.append(_frame_of(answer, which))
    except TimeoutError:
        raise DecodeError(numbers[len(frames)], "the codec took too long") from None
    except (ChildEndedError, MessageError) as end:
        raise DecodeError(numbers[len(frames)], f"the codec's process ended ({end})") from None
    finally:
        child.close()
    return frames


def _frame_of(answer: bytes, which: int) -> np.ndarray:
    """Return the frame that an answer of the codec's process holds; `DecodeError` where it has none."""
    kind, content = answer[:1], answer[1:]
    if kind == b"!":
        raise DecodeError(which, "it can not be read") from OSError(int(content), os.strerror(int(content)))
    if kind == b"-":
        raise DecodeError(which, content.decode("ascii", "replace"))
    try:
        return np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DecodeError(which, "the codec's process answered nonsense") from error
