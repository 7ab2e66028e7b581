"""What the segments of other people's DICOM Segmentations mean."""

from __future__ import annotations

from collections.abc import Mapping

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from scarnode.cases.labels import KNOWN, LEGEND, meaning_of
from scarnode.pipeline.segment.heart import RIGHT_VENTRICLE
from scarnode.pipeline.segment.model import Tissue
from scarnode.util.errors import InputError

_CODES: tuple[tuple[Code, int], ...] = (
    (Code("12402003", "SCT", "Scar"), Tissue.SCAR),
    (Code("22298006", "SCT", "Myocardial infarction"), Tissue.SCAR),
    (Code("55641003", "SCT", "Infarct"), Tissue.SCAR),
    (Code("112674009", "SCT", "Fibrosis"), Tissue.SCAR),
    (Code("49848007", "SCT", "Myocardium of left ventricle"), Tissue.MYOCARDIUM),
    (Code("74281007", "SCT", "Myocardium"), Tissue.MYOCARDIUM),
    (Code("87612001", "SCT", "Blood"), Tissue.BLOOD),
    (Code("53085002", "SCT", "Right ventricle"), RIGHT_VENTRICLE),
)
"""Segmented property types (SNOMED CT); pydicom compares retired SRT codes as their SCT successors."""


def segment_meaning(item: Dataset, legend: Mapping[str, int], where: str) -> int:
    """Return the tissue of a segment: by labels.json first, then by its name, then by its coded type.

    Raises
    ------
    InputError
        It is not understood.
    """
    label = str(item.get("SegmentLabel", "")).strip()
    meaning = legend.get(label.lower())
    if meaning is None:
        meaning = meaning_of(label)
    for kind in item.get("SegmentedPropertyTypeCodeSequence", [])[:1] if meaning is None else []:
        code = Code(str(kind.get("CodeValue", "")), str(kind.get("CodingSchemeDesignator", "")), "")
        meaning = next((own for known, own in _CODES if known == code), None)
    if meaning is None:
        raise InputError(
            f"segment {label!r} is not understood",
            where,
            f'say in {LEGEND}, in the folder of the cases, what it is, as {{"{label}": "background"}}; one of: {KNOWN}',
        )
    return int(meaning)
