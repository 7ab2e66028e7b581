"""The types of the measurements."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

EXTENSIVE = 15.0
"""%LGE from which on scar counts as extensive (15 % or more of the mass; Chan et al., Circulation 2014;130:484)."""


class Burden(str, Enum):
    """Where %LGE lies against `EXTENSIVE`: by its interval; without one by the value, which is never indeterminate."""

    ABOVE = "above"
    BELOW = "below"
    INDETERMINATE = "indeterminate"
    """The interval reaches from below the threshold to it or beyond."""


class Transmurality(str, Enum):
    """Bin of the wall's thickness that scar takes up, percent. Each holds its upper border, the second all above 0."""

    NONE = "0 %"
    TO_25 = "1-25 %"
    TO_50 = "26-50 %"
    TO_75 = "51-75 %"
    TO_100 = "76-100 %"


@dataclass(frozen=True)
class SliceMeasurements:
    """Numbers of one slice (index counted from 0 at the base).

    Attributes
    ----------
    scar_volume, normal_volume, blood_volume : float
        cm3 = voxels x pixel area x the slice's extent (centre-to-centre distance).
    lge_percent : float or None
        100 x scar / (scar + normal myocardium); None where the slice holds no myocardium.
    """

    index: int
    scar_volume: float
    normal_volume: float
    blood_volume: float
    lge_percent: float | None


@dataclass(frozen=True)
class AhaSegment:
    """One of the 17 segments of the left ventricle (Cerqueira et al., Circulation 2002;105:539).

    How the borders are laid: `scarnode.pipeline.measure.segments.aha_segments`.

    Attributes
    ----------
    number : int
        1 to 17.
    volume : float
        cm3 of myocardium, scar included; 0 where the stack does not show the segment.
    lge_percent : float or None
        None without myocardium.
    transmurality : Transmurality or None
        Bin of the mean share of scar along the radial chords that cross scar. None without myocardium, and for segment
        17: its wall is as thick as the slices are deep, which short-axis images do not resolve.
    """

    number: int
    volume: float
    lge_percent: float | None
    transmurality: Transmurality | None


@dataclass(frozen=True)
class ThresholdMeasurement:
    """Scar by intensity inside the network's myocardium, for comparison.

    Attributes
    ----------
    method : str
        ``"5 SD"``, ``"6 SD"``, ``"FWHM"``: see `scarnode.pipeline.measure.comparison`.
    scar_volume : float
        cm3.
    lge_percent : float
    """

    method: str
    scar_volume: float
    lge_percent: float


@dataclass(frozen=True)
class Measurements:
    """Numbers of a whole stack.

    Attributes
    ----------
    scar_volume, normal_volume, blood_volume : float
        cm3; voxel volume = pixel area x centre-to-centre slice distance.
    myocardium_volume : float
        cm3; scar + normal.
    scar_mass, myocardium_mass : float
        g, at 1.05 g/mL.
    lge_percent : float or None
        100 x scar / (scar + normal myocardium) by volume; None where there is no myocardium.
    scar_volume_by_thickness, myocardium_volume_by_thickness : float or None
        cm3 with SliceThickness in place of the centre-to-centre distance, for comparison; None where it is not stated.
    slices : tuple of SliceMeasurements
        Base to apex.
    lge_interval : tuple of float or None
        Likely lower and upper bound of %LGE (`Segmentation.lge_interval`).
    burden : Burden or None
        None where there is no myocardium.
    segments : tuple of AhaSegment
        All 17 in their order; empty where they can not be named: the direction to the right ventricle is not known or
        does not fit the patient's axes, or fewer than three slices show wall around a cavity.
    by_threshold : tuple of ThresholdMeasurement
        Empty where there is no myocardium.
    """

    scar_volume: float
    normal_volume: float
    blood_volume: float
    myocardium_volume: float
    scar_mass: float
    myocardium_mass: float
    lge_percent: float | None
    scar_volume_by_thickness: float | None
    myocardium_volume_by_thickness: float | None
    slices: tuple[SliceMeasurements, ...]
    lge_interval: tuple[float, float] | None = None
    burden: Burden | None = None
    segments: tuple[AhaSegment, ...] = ()
    by_threshold: tuple[ThresholdMeasurement, ...] = ()
