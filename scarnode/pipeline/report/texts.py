"""Texts of the quality flags, for readers who do not know their names."""

from __future__ import annotations

from scarnode.pipeline.segment import quality
from scarnode.pipeline.segment.model import Segmentation
from scarnode.pipeline.stack.model import Flag, Stack

FLAG_TEXTS: dict[str, str] = {
    Flag.FEW_SLICES: "Only one or two slices: the volumes are those of a part of the ventricle.",
    Flag.MISSING_SLICE: "A slice is missing between two others: its neighbours stand for it in the volumes.",
    Flag.UNEQUAL_SPACING: "The slices are not equally far apart; each counts with its own share of the distance.",
    Flag.PSIR_ONLY: "No magnitude image came: the phase-sensitive one was analysed.",
    Flag.REPEATED_SLICE: "A slice was imaged more than once: the latest image was used.",
    Flag.MOCO_ONLY: "Only motion-corrected, averaged images came.",
    Flag.CONFLICTING_CONTENT: "Two different images came under one identifier: neither was used.",
    Flag.IDENTITY_CHANGED: (
        "The images came with another patient's name, identifier or accession number, too: check which one is right."
    ),
    Flag.IDENTITY_INCOMPLETE: (
        "Part of what the images say of patient or study can not be taken over: it is left empty here."
    ),
    Flag.RESAMPLED_SLICE: "A slice came on another pixel grid than the others: it was resampled to theirs.",
    Flag.FRAMES_OF_REFERENCE: "The slices name several frames of reference: whether they share one space is not known.",
    Flag.LOSSY: "The images were compressed with loss: their values are not those of the scanner.",
    quality.NO_HEART: "Nothing in the images looks like a left ventricle.",
    quality.NO_MYOCARDIUM: "No myocardium was found.",
    quality.AREA_JUMP: "The outlined area changes by more than 60 % between neighbouring slices.",
    quality.CENTER_JUMP: "The ventricle's centre moves by more than 15 mm between neighbouring slices.",
    quality.OPEN_RING: "In a middle slice the myocardium does not close around the blood pool.",
    quality.BAD_NULLING: "The myocardium is as bright as blood: the inversion time missed the null.",
    quality.UNSURE_MYOCARDIUM: "Repeated readings outline the myocardium differently.",
    quality.UNSURE_SCAR: "Repeated readings outline the scar differently.",
    "NO_SCAR_SEGMENT": "The corrected SEG has no segment coded as scar: that was taken as no scar.",
}
"""The sentence of each flag."""


def describe_flags(stack: Stack, segmentation: Segmentation | None) -> list[tuple[str, str]]:
    """Return every flag of stack and segmentation with its sentence.

    Parameters
    ----------
    stack : Stack
    segmentation : Segmentation or None

    Returns
    -------
    list of (str, str)
        Flag and sentence; the sentence is empty for a flag that is not known here.
    """
    names = [flag.value for flag in stack.flags] + list(segmentation.flags if segmentation else ())
    return [(name, FLAG_TEXTS.get(name, "")) for name in dict.fromkeys(names)]
