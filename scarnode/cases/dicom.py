"""DICOM series with Segmentation objects -> cases. Needs pydicom.

The stack is found and read by `scarnode.pipeline.stack`, so that training sees what the node will see.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scarnode.cases.labels import finish, vendor_name
from scarnode.cases.model import Case
from scarnode.pipeline.correct.model import SEG_CLASSES
from scarnode.util.errors import InputError

if TYPE_CHECKING:
    from scarnode.pipeline.correct.outline import Outline
    from scarnode.pipeline.stack import Stack, StackSearch

log = logging.getLogger(__name__)

MAX_GROUP = 100_000
"""Files of one patient's folder; more is a mistaken path."""


@dataclass(frozen=True)
class _Header:
    """What is needed of a file before anything is read for good."""

    path: Path
    sop_class: str
    instance: str
    series: str
    vendor: str
    site: str
    patient: str


def dicom_readers(
    folder: Path, source: str, legend: Mapping[str, int], ignore: Collection[str] = ()
) -> dict[str, Callable[[], list[Case]]]:
    """One function for each sub-folder with files, and one for the files in the folder itself, by name.

    Raises
    ------
    InputError
        pydicom is missing.
    """
    try:
        import pydicom  # noqa: F401
    except ModuleNotFoundError as error:
        raise InputError("reading DICOM needs pydicom", str(folder), "pip install scarnode") from error
    groups: dict[str, list[Path]] = {}
    for entry in sorted(folder.iterdir()):
        if entry.is_dir():
            groups[entry.name] = sorted(path for path in entry.rglob("*") if path.is_file())
        elif entry.name not in ignore:
            groups.setdefault(folder.resolve().name, []).append(entry)
    return {name: partial(_read_group, files, name, source, legend) for name, files in groups.items() if files}


def scanner_of(path: Path) -> tuple[str, str, str]:
    """Read the scanner's vendor, the site and a digest of the patient from an image; each empty where unknown."""
    header = _header(path)
    return (header.vendor, header.site, header.patient) if header else ("", "", "")


def _read_group(files: Sequence[Path], name: str, source: str, legend: Mapping[str, int]) -> list[Case]:
    """Every stack among the files that a SEG outlines."""
    from scarnode.cases.seg import segment_meaning
    from scarnode.pipeline.correct.outline import read_seg
    from scarnode.pipeline.stack import read_volume

    if len(files) > MAX_GROUP:
        raise InputError(f"{len(files)} files lie in it", "", "give one sub-folder for each patient")
    headers = [header for header in map(_header, files) if header]
    segs = [header for header in headers if header.sop_class in SEG_CLASSES]
    if not segs:
        raise InputError("no DICOM Segmentation is among the files", "", "put the contours' SEG beside the series")
    outlines = [
        read_seg(header.path, partial(segment_meaning, legend=legend, where=header.path.name)) for header in segs
    ]
    matched = _match(outlines, headers)
    if not matched:
        raise InputError(
            "no SEG outlines one of the late-enhancement stacks found",
            "",
            "put the series that the SEG was drawn on beside it",
        )
    cases = []
    for number, (stack, own) in enumerate(matched, 1):
        first = next(h for h in headers if h.instance == stack.frames[0].sop_instance_uid)
        gaps = stack.slice_extents
        case = Case(
            read_volume(stack),
            _merge([outline.on(stack) for outline in own]),
            stack.pixel_spacing,
            float(np.median(gaps)),
            name if len(matched) == 1 else f"{name}-{number}",
            source,
            None,
            first.vendor,
            first.site,
            first.patient,
        )
        cases.append(finish(case))
    return cases


def _header(path: Path) -> _Header | None:
    from pydicom import dcmread

    from scarnode.pipeline.stack.digest import uid_hash

    keywords = ("SOPClassUID", "SOPInstanceUID", "SeriesInstanceUID", "Manufacturer", "InstitutionName", "StationName")
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=[*keywords, "PatientID"])
        sop_class, instance, series = (str(dataset.get(keyword, "")) for keyword in keywords[:3])
        vendor, site, station = (str(dataset.get(keyword) or "").strip() for keyword in keywords[3:])
        patient = str(dataset.get("PatientID") or "").strip()
    except Exception:  # no DICOM, or damaged: the search for stacks names it where it matters
        return None
    who = uid_hash(patient) if patient else ""
    return _Header(path, sop_class, instance, series, vendor_name(vendor), site or station, who)


def _match(outlines: Sequence[Outline], headers: Sequence[_Header]) -> list[tuple[Stack, list[Outline]]]:
    """Return stacks with their outlines: matched by the images that these reference, else by position."""
    from scarnode.pipeline.stack import find_stacks

    paths = [header.path for header in headers if header.sop_class not in SEG_CLASSES]
    search = find_stacks(paths)
    matched: dict[tuple, tuple[Stack, list[Outline]]] = {}
    for outline in outlines:
        stack = outline.best_of(search.stacks) or _outlined_by_hand(outline, search, headers)
        if stack is not None:
            matched.setdefault(stack.frames, (stack, []))[1].append(outline)
    return list(matched.values())


def _outlined_by_hand(outline: Outline, search: StackSearch, headers: Sequence[_Header]) -> Stack | None:
    """Return the stack of the series that a SEG names, also where the node would reject it (by its name, for example).

    Raises
    ------
    InputError
        The series is there, but is no stack even so.
    """
    from scarnode.pipeline.stack import Rules, find_stacks

    named = {header.series for header in headers if header.instance in outline.instances}
    verdicts = [verdict for verdict in search.series if verdict.series_instance_uid in named]
    if not verdicts:
        return None
    names = tuple({re.escape(verdict.description) if verdict.description else r"^\s*$" for verdict in verdicts})
    again = find_stacks([header.path for header in headers if header.series in named], Rules(site_accept=names))
    stack = outline.best_of(again.stacks)
    if stack is None:
        verdict = again.series[0]
        raise InputError(
            f"the outlined series is no usable stack ({verdict.reason}: {verdict.detail})",
            outline.where,
            "docs/recognition.md says what this reason means",
        )
    log.warning(
        "%s: used because a SEG outlines it, but the node would not analyse it (%s: %s); see [recognition]",
        outline.where,
        verdicts[0].reason,
        verdicts[0].detail,
    )
    return stack


def _merge(marked: Sequence[dict[int, np.ndarray]]) -> np.ndarray:
    """Labels of one stack from the masks of all its outlines, by meaning.

    The right ventricle gets only the pixels that no other tissue has.

    Raises
    ------
    InputError
        Two SEGs outline the same tissue.
    """
    from scarnode.pipeline.correct.outline import merge_masks
    from scarnode.pipeline.segment.heart import RIGHT_VENTRICLE
    from scarnode.pipeline.segment.model import Tissue

    masks: dict[int, np.ndarray] = {}
    for own in marked:
        both = [Tissue(key).name.lower() if key in list(Tissue) else "right ventricle" for key in own if key in masks]
        if both:
            raise InputError(
                f"two SEGs outline the same tissue of one stack ({', '.join(both)})",
                "",
                "keep the SEG that is to be learnt from",
            )
        masks |= own
    label = merge_masks(masks)
    if RIGHT_VENTRICLE in masks:
        label[masks[RIGHT_VENTRICLE] & (label == Tissue.BACKGROUND)] = RIGHT_VENTRICLE
    return label
