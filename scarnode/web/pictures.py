"""Pictures and numbers of a job's result, read from disk on request and cached for a short time.

Slices are drawn by `scarnode.pipeline.report.tiles` and the 17 segments by `scarnode.pipeline.report.bullseye`, as
on the report page.
Outlines come from the SEG that was sent, or from the corrected SEG that was measured. Numbers come from the SR.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Generic, TypeVar

import numpy as np
from PIL import Image

from scarnode.dicom.part10 import read
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import FAILURE
from scarnode.ledger.results import anchored
from scarnode.pipeline.correct.outline import merge_masks, read_seg
from scarnode.pipeline.correct.recognise import tissue_of
from scarnode.pipeline.report.bullseye import draw_bullseye
from scarnode.pipeline.report.page_header import is_synthetic
from scarnode.pipeline.report.readback import ReportNumbers, read_numbers
from scarnode.pipeline.report.tiles import View, choose_view, draw_pair
from scarnode.pipeline.stack import read_volume
from scarnode.util.errors import InputError
from scarnode.web.queries import JobParts, files_of

SIDE = 480
"""Width and height of a slice's picture, in pixels."""
LARGEST = 1 << 24
"""Most voxels of a stack that is shown. It takes 64 MiB while it is read, in the process that receives images."""
KEPT_VOLUMES, KEPT_PICTURES = 40 << 20, 16 << 20
"""Bytes."""
SYNTHETIC_TAGS = ("StudyDescription", "InstitutionName")
PHANTOM_NAME = "PHANTOM^"

T = TypeVar("T")


class GoneError(Exception):
    """The requested object is not on this machine; the message holds the reason."""


@dataclass(frozen=True)
class _Slices:
    """Slices ready to be drawn: uint8 pixels, labels, and the field of view."""

    grey: np.ndarray
    labels: np.ndarray
    view: View


class Pictures:
    """Draws the pictures of a job and reads its numbers.

    Parameters
    ----------
    spool, results : Path
        Folders to which the ledger's paths are relative.
    """

    def __init__(self, spool: Path, results: Path) -> None:
        self._spool, self._results = spool, results
        self._slices: _Cache[_Slices] = _Cache(KEPT_VOLUMES, lambda kept: kept.grey.nbytes + kept.labels.nbytes)
        self._drawn: _Cache[bytes] = _Cache(KEPT_PICTURES, len)
        self._numbers: _Cache[ReportNumbers] = _Cache(64, lambda _: 1)
        self._said: _Cache[bool] = _Cache(5000, lambda _: 1)

    def slice(self, job: int, parts: JobParts, index: int, outlined: bool) -> bytes:
        """Draw a slice as PNG, `SIDE` pixels wide and high.

        Parameters
        ----------
        job : int
        parts : JobParts
        index : int
            Counted from 0 at the base.
        outlined : bool
            With epicardium, endocardium and scar.

        Raises
        ------
        GoneError
            Images or SEG were removed, or can not be read.
        """
        if not 0 <= index < len(parts.stack.frames):
            raise GoneError("there is no such slice")
        self._check(parts)

        def draw() -> bytes:
            ready = self._slices.get((job, _made(parts)), lambda: self._read(parts))
            plain, with_outlines = draw_pair(ready.grey[index], ready.labels[index], ready.view, SIDE)
            return _png(with_outlines if outlined else plain.convert("L"))

        return self._drawn.get((job, _made(parts), index, outlined), draw)

    def bullseye(self, job: int, parts: JobParts) -> bytes:
        """Draw the 17 segments as PNG.

        Raises
        ------
        GoneError
            The SR was removed or there is none.
        """
        numbers = self.numbers(job, parts)
        if numbers is None:
            raise GoneError("there is no report on this machine")
        return self._drawn.get(
            (job, _made(parts), "bullseye"), lambda: _png(draw_bullseye(numbers.segments, "segments not known"))
        )

    def page(self, parts: JobParts) -> bytes:
        """Return the report page (of the result, else of the failure) as PNG.

        Raises
        ------
        GoneError
            It was removed, or there is none.
        """
        part = parts.result("sc") or parts.result(FAILURE + "sc")
        if part is None:
            raise GoneError("there is no report page on this machine")
        try:
            pixels = read(self._results / part.path, pixels=True).pixel_array
        except OSError as error:
            raise GoneError(f"the report page can not be read ({error.strerror})") from None
        return _png(Image.fromarray(pixels if pixels.ndim == 3 else pixels[0]))

    def numbers(self, job: int, parts: JobParts) -> ReportNumbers | None:
        """Return the numbers of the SR; None where there is none on this machine."""
        part = parts.result("sr")
        if part is None:
            return None
        try:
            return self._numbers.get((job, _made(parts)), lambda: read_numbers(read(self._results / part.path)))
        except OSError:
            return None

    def can_show(self, parts: JobParts) -> str:
        """Return why the slices can not be shown; empty where they can."""
        try:
            self._check(parts)
        except GoneError as why:
            return str(why)
        return ""

    def synthetic(self, study_id: int, ledger: Ledger) -> bool:
        """Return whether a study is marked as synthetic.

        An image that is still there is read, else a result. Where neither is left, the patient's name decides.
        """

        def ask() -> bool:
            sources, results, name = files_of(ledger, study_id)
            for path in [*(self._spool / path for path in sources), *(self._results / path for path in results)]:
                try:
                    return is_synthetic(read(path, SYNTHETIC_TAGS))
                except Exception:  # absent or damaged: try the next file
                    continue
            return name.startswith(PHANTOM_NAME)

        return self._said.get(study_id, ask)

    def _check(self, parts: JobParts) -> None:
        """Raise where something is absent, before any file is read."""
        stack = parts.stack
        if len(stack.frames) * stack.rows * stack.columns > LARGEST:
            raise GoneError("the stack is too large to be shown here")
        if not all((self._spool / path).exists() for path in {frame.path for frame in stack.frames}):
            raise GoneError("its images were removed from this machine")
        if self._outlined_by(parts) is None:
            raise GoneError("there are no outlines on this machine")

    def _outlined_by(self, parts: JobParts) -> Path | None:
        """Return the SEG that was measured."""
        if parts.correction is not None:
            path = self._spool / parts.correction.path
        elif (part := parts.result("seg")) is not None:
            path = self._results / part.path
        else:
            return None
        return path if path.exists() else None

    def _read(self, parts: JobParts) -> _Slices:
        stack, seg = anchored(parts.stack, self._spool), self._outlined_by(parts)
        if seg is None:
            raise GoneError("there are no outlines on this machine")
        try:
            volume, labels = read_volume(stack), merge_masks(read_seg(seg, tissue_of).on(stack))
        except InputError as error:
            raise GoneError(f"the slices can not be shown: {error.what}") from None
        view = choose_view(stack, volume, labels)
        low, high = view.window
        grey = np.nan_to_num(np.clip((volume - low) / (high - low), 0, 1)) * 255
        return _Slices(grey.round().astype(np.uint8), labels, View(view.field, (0.0, 255.0)))


class _Cache(Generic[T]):
    """Caches what was requested last, up to a total size; makes one item at a time.

    Parameters
    ----------
    most : int
    size : callable
    """

    def __init__(self, most: int, size: Callable[[T], int]) -> None:
        self._most, self._size = most, size
        self._kept: OrderedDict[Hashable, T] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the cached item of a key, else make it."""
        with self._lock:
            if key not in self._kept:
                self._kept[key] = make()
            self._kept.move_to_end(key)
            found = self._kept[key]
            while len(self._kept) > 1 and sum(map(self._size, self._kept.values())) > self._most:
                self._kept.popitem(last=False)
            return found


def _made(parts: JobParts) -> tuple[str, ...]:
    """Return a cache key of a job's objects: objects that are made again have other UIDs."""
    return tuple(part.sop_instance_uid for part in parts.results if part.removed_at is None)


def _png(picture: Image.Image) -> bytes:
    encoded = BytesIO()
    picture.save(encoded, "PNG", compress_level=3)
    return encoded.getvalue()
