"""From a corrected SEG to labels on its stack."""

from __future__ import annotations

from pathlib import Path

from scarnode.dicom.part10 import read
from scarnode.pipeline.correct.model import Corrected
from scarnode.pipeline.correct.outline import merge_masks, read_seg
from scarnode.pipeline.correct.recognise import read_origin, tissue_of
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.stack import Stack
from scarnode.util.errors import InputError


def read_correction(path: Path, stack: Stack) -> Corrected:
    """Read a SEG for which `find_corrected_stack` found a stack.

    Frames are placed by the image they name; a slice without a frame has nothing outlined.

    Raises
    ------
    InputError
        Its pixels can not be decoded, or it outlines no myocardium.
    """
    masks = read_seg(path, tissue_of).on(stack)
    labels = merge_masks(masks)
    if not (labels >= Tissue.MYOCARDIUM).any():
        raise InputError("the corrected SEG outlines no myocardium", "", "outline it, or send nothing")
    flags = () if Tissue.SCAR in masks else ("NO_SCAR_SEGMENT",)
    return Corrected(labels, read_origin(read(path)), flags)
