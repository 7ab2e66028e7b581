"""Reads the numbers of an SR of this node: the ledger holds only their totals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from scarnode.pipeline.measure.model import AhaSegment, Burden, ThresholdMeasurement, Transmurality
from scarnode.pipeline.report import codes
from scarnode.pipeline.segment.model import Tissue

MEASUREMENT_GROUP = Code("125007", "DCM", "Measurement Group")
TRACKING = Code("112039", "DCM", "Tracking Identifier")
FINDING_SITE = Code("363698007", "SCT", "Finding Site")


@dataclass(frozen=True)
class SliceNumbers:
    """Numbers of one slice in an SR (index counted from 0 at the base).

    Attributes
    ----------
    scar_volume, normal_volume : float
        cm3.
    lge_percent : float or None
        None where the slice holds no myocardium.
    """

    index: int
    scar_volume: float
    normal_volume: float
    lge_percent: float | None


@dataclass(frozen=True)
class ReportNumbers:
    """Numbers of an SR, as in `scarnode.pipeline.measure.Measurements`, rounded to four digits.

    Attributes
    ----------
    scar_mass, myocardium_mass : float or None
        g.
    lge_interval : tuple of float or None
        Likely lower and upper bound of %LGE.
    burden : Burden or None
    slices : tuple of SliceNumbers
    segments : tuple of AhaSegment
    by_threshold : tuple of ThresholdMeasurement
    """

    scar_mass: float | None
    myocardium_mass: float | None
    lge_interval: tuple[float, float] | None
    burden: Burden | None
    slices: tuple[SliceNumbers, ...]
    segments: tuple[AhaSegment, ...]
    by_threshold: tuple[ThresholdMeasurement, ...]


def read_numbers(sr: Dataset) -> ReportNumbers:
    """Read the numbers of an SR that `scarnode.pipeline.report.build_results` made.

    Parameters
    ----------
    sr : pydicom.Dataset

    Returns
    -------
    ReportNumbers
        Empty where the SR reports a failed analysis.
    """
    groups = {_text(group, TRACKING): group for group in _groups(sr)}
    scar = groups.get(codes.SEGMENTS[Tissue.SCAR].label, Dataset())
    whole = groups.get("LV myocardium, scar included", Dataset())
    slices = [group for name, group in groups.items() if name.startswith("Slice ")]
    segments = [group for name, group in groups.items() if name.startswith("AHA segment ")]
    burdens: dict[Code | None, Burden] = {code: burden for burden, code in codes.BURDENS.items()}
    return ReportNumbers(
        scar_mass=_number(scar, codes.MASS),
        myocardium_mass=_number(whole, codes.LV_MASS),
        lge_interval=_interval(scar),
        burden=burdens.get(_coded(scar, codes.BURDEN)),
        slices=tuple(_slice(index, group) for index, group in enumerate(slices)),
        segments=tuple(_segment(group) for group in segments),
        by_threshold=tuple(
            ThresholdMeasurement(method, _number(group, codes.VOLUME) or 0.0, _number(group, codes.LGE_PERCENT) or 0.0)
            for method in codes.THRESHOLDS
            if (group := groups.get(f"Scar by {method} threshold, for comparison")) is not None
        ),
    )


def _slice(index: int, group: Dataset) -> SliceNumbers:
    scar, normal = _number(group, codes.SLICE_SCAR_VOLUME), _number(group, codes.SLICE_NORMAL_VOLUME)
    return SliceNumbers(index, scar or 0.0, normal or 0.0, _number(group, codes.LGE_PERCENT))


def _segment(group: Dataset) -> AhaSegment:
    bins: dict[Code | None, Transmurality] = {code: part for part, code in codes.TRANSMURALITIES.items()}
    return AhaSegment(
        number=codes.AHA_SEGMENTS.index(_coded(group, FINDING_SITE)) + 1,
        volume=_number(group, codes.VOLUME) or 0.0,
        lge_percent=_number(group, codes.LGE_PERCENT),
        transmurality=bins.get(_coded(group, codes.TRANSMURALITY)),
    )


def _interval(scar: Dataset) -> tuple[float, float] | None:
    for item in _named(scar, codes.LGE_PERCENT):
        value = float(item.MeasuredValueSequence[0].NumericValue)
        lower, upper = _number(item, codes.LOWER_UNCERTAINTY), _number(item, codes.UPPER_UNCERTAINTY)
        if lower is not None and upper is not None:
            return value - lower, value + upper
    return None


def _groups(item: Dataset) -> Iterator[Dataset]:
    for child in item.get("ContentSequence", []):
        if _name(child) == MEASUREMENT_GROUP:
            yield child
        else:
            yield from _groups(child)


def _named(item: Dataset, name: Code) -> Iterator[Dataset]:
    return (child for child in item.get("ContentSequence", []) if _name(child) == name)


def _name(item: Dataset) -> Code | None:
    sequence = item.get("ConceptNameCodeSequence")
    return _code(sequence[0]) if sequence else None


def _code(item: Dataset) -> Code:
    return Code(str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")), "")


def _number(item: Dataset, name: Code) -> float | None:
    for child in _named(item, name):
        if child.get("MeasuredValueSequence"):
            return float(child.MeasuredValueSequence[0].NumericValue)
    return None


def _coded(item: Dataset, name: Code) -> Code | None:
    return next((_code(child.ConceptCodeSequence[0]) for child in _named(item, name)), None)


def _text(item: Dataset, name: Code) -> str:
    return next((str(child.TextValue) for child in _named(item, name)), "")
