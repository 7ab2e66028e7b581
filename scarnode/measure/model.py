"""The types that leave the measure room."""

from __future__ import annotations

from dataclasses import dataclass


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
