"""The meaning of labels: maps values and names of other people's contours to `Tissue`, and builds the case."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy import ndimage

from scarnode.cases.model import Case, read_npz_file
from scarnode.pipeline.segment.heart import RIGHT_VENTRICLE
from scarnode.pipeline.segment.model import Tissue
from scarnode.util.errors import InputError

LEGEND = "labels.json"
KNOWN = "background, blood, myocardium, scar, no-reflow, right ventricle"

_PATTERNS: tuple[tuple[str, int | None], ...] = (
    (r"^(background|ignore|none|nothing)$", Tissue.BACKGROUND),
    # A right ventricle's wall, scar or insertion point is neither of what is learnt here: let a person decide.
    (r"(\bright ventric|\brv).*(wall|myo|muscle|epi|scar|insert|point)|insertion|(grey|gray|border) ?zone", None),
    (r"\bright ventric|\brv", RIGHT_VENTRICLE),
    (r"\b(without|no|non|not) (scar|infarct|lge|enhanc)|\b(healthy|normal|remote|viable)\b", Tissue.MYOCARDIUM),
    (r"\bno ?re ?flow\b|\bmvo\b|microvascular obstruction", Tissue.SCAR),
    (r"scar|infarct|fibros|enhancement|^lge$|^mi$", Tissue.SCAR),
    (r"myocard|\bl?v?myo\b|\bmuscle|\bepi(card\w*)?\b|\blvm\b|\bmlv\b|\bwall\b", Tissue.MYOCARDIUM),
    (r"\b(right|left) atri|\b[rl]a\b|aort", None),
    (r"blood|\bpool\b|\bcavity\b|\blumen\b|\bendo(card\w*)?\b|\blvc\b|\blvbp\b|\blv\b|left ventric", Tissue.BLOOD),
)


def meaning_of(words: str) -> int | None:
    """Tissue that a name speaks of (or `RIGHT_VENTRICLE`); None where it says nothing of the heart.

    >>> [meaning_of(name) for name in ("LV_scar", "Normal LV myocardium", "RV", "liver")]
    [<Tissue.SCAR: 3>, <Tissue.MYOCARDIUM: 2>, 4, None]
    """
    plain = re.sub(r"[^a-z0-9]+", " ", words.lower()).strip()
    return next((meaning for pattern, meaning in _PATTERNS if re.search(pattern, plain)), None)


def read_legend(folder: Path) -> dict[str, int]:
    """Meaning by label value, or by segment name in lower case, from ``labels.json`` or nnU-Net's ``dataset.json``.

    Raises
    ------
    InputError
        The file is no such table, or uses a word that is not understood.
    """
    path, turned = folder / LEGEND, False
    if not path.is_file():
        path = folder / "dataset.json"
        if not path.is_file():
            return {}
        turned = True
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
        table = table["labels"] if turned else table
        entries = [(str(key), str(value)) for key, value in table.items()]
    except (ValueError, KeyError, AttributeError) as error:
        todo = 'write {"1": "blood", "2": "myocardium", "3": "scar"} with your own values'
        raise InputError("is not a table of labels and their meaning", str(path), todo) from error
    if turned:  # nnU-Net's second version writes the name first
        entries = [(value, key) if value.isdigit() else (key, value) for key, value in entries]
    legend = {}
    for label, words in entries:
        meaning = meaning_of(words)
        if meaning is None:
            raise InputError(
                f"label {label!r} means {words!r}, which is not understood",
                str(path),
                f"say in {LEGEND} what each label is, one of: {KNOWN}",
            )
        legend[label.strip().lower()] = int(meaning)
    return legend


def translate(values: np.ndarray, legend: Mapping[str, int], where: str) -> np.ndarray:
    """Label values of a file -> values of `Tissue` and `RIGHT_VENTRICLE`.

    Raises
    ------
    InputError
        A value is no whole number, or has no meaning.
    """
    known = {int(key): value for key, value in legend.items() if key.lstrip("-").isdigit()}
    known = {0: 0, **known} if known else {int(tissue): int(tissue) for tissue in Tissue}
    found = np.unique(values)
    unknown = [f"{value:g}" for value in found if value not in known]
    if unknown:
        raise InputError(
            f"label value {', '.join(unknown[:5])} has no meaning (known: {', '.join(map(str, sorted(known)))})",
            where,
            f"say in {LEGEND}, in the folder of the cases, what each value is, one of: {KNOWN}",
        )
    table = np.array([known[int(value)] for value in found], np.uint8)
    return table[np.searchsorted(found, values)]


def finish(case: Case) -> Case:
    """Check a case whose label may hold `RIGHT_VENTRICLE`, move that into its own mask, and fill missing blood.

    Raises
    ------
    InputError
        No myocardium is labelled, or neither blood nor a wall around some; sizes are not positive.
    """
    label, right = case.label, case.right_ventricle
    if (label == RIGHT_VENTRICLE).any():
        right = label == RIGHT_VENTRICLE
        label = np.where(right, Tissue.BACKGROUND, label).astype(np.uint8)
    wall = (label == Tissue.MYOCARDIUM) | (label == Tissue.SCAR)
    sizes = (*case.pixel_spacing, case.slice_distance)
    if len(sizes) != 3 or not all(np.isfinite(size) and size > 0 for size in sizes):
        raise InputError(f"pixel spacing and slice distance are {sizes}", "", "give three positive sizes in mm")
    if not (label == Tissue.MYOCARDIUM).any():
        raise InputError("no myocardium is labelled", "", f"label it, or say in {LEGEND} which label it is")
    if not (label == Tissue.BLOOD).any():
        inside = np.stack([ndimage.binary_fill_holes(ring) for ring in wall]) & ~wall
        if not inside.any():
            todo = "label the blood pool of the left ventricle too"
            raise InputError("no blood is labelled, and the wall encloses none", "", todo)
        label = np.where(inside & (label == Tissue.BACKGROUND), Tissue.BLOOD, label).astype(np.uint8)
    return replace(case, label=label, right_ventricle=right)


def read_npz_case(path: Path, source: str, legend: Mapping[str, int]) -> Case:
    """Read one npz file; its labels mean what the legend says."""
    case = read_npz_file(path, source)
    return finish(replace(case, label=translate(case.label, legend, path.name)))


def vendor_name(manufacturer: str) -> str:
    """Short name of a scanner's maker, one for its many spellings.

    >>> vendor_name("SIEMENS"), vendor_name("GE MEDICAL SYSTEMS"), vendor_name("CANON_MEC")
    ('Siemens', 'GE', 'Canon')
    """
    plain = manufacturer.strip()
    for pattern, name in (
        (r"siemens", "Siemens"),
        (r"^ge\b|general electric", "GE"),
        (r"philips", "Philips"),
        (r"canon|toshiba", "Canon"),
    ):
        if re.search(pattern, plain, re.IGNORECASE):
            return name
    return plain
