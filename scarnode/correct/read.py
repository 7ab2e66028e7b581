"""From a corrected SEG to labels on its stack."""

from __future__ import annotations

from pathlib import Path

from scarnode.correct.model import Corrected
from scarnode.correct.outline import paint, read_seg
from scarnode.correct.recognise import read_origin, tissue_of
from scarnode.errors import InputError
from scarnode.part10 import read
from scarnode.segment.model import Tissue
from scarnode.stack import Stack


def read_correction(path: Path, stack: Stack) -> Corrected:
    """Read a SEG that `recognise` took for a correction of a stack.

    Frames are placed by the image they name; a slice without a frame has nothing outlined.

    Raises
    ------
    InputError
        Its pixels can not be decoded, or it outlines no myocardium.
    """
    masks = read_seg(path, tissue_of).on(stack)
    labels = paint(masks)
    if not (labels >= Tissue.MYOCARDIUM).any():
        raise InputError("the corrected SEG outlines no myocardium", "", "outline it, or send nothing")
    flags = () if Tissue.SCAR in masks else ("NO_SCAR_SEGMENT",)
    return Corrected(labels, read_origin(read(path)), flags)
