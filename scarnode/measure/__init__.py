"""From labels to volumes, mass and %LGE."""

from scarnode.measure.model import (
    EXTENSIVE,
    AhaSegment,
    Burden,
    Measurements,
    SliceMeasurements,
    ThresholdMeasurement,
    Transmurality,
)
from scarnode.measure.segments import segment_map
from scarnode.measure.volumes import DENSITY, measure

__all__ = [
    "DENSITY",
    "EXTENSIVE",
    "AhaSegment",
    "Burden",
    "Measurements",
    "SliceMeasurements",
    "ThresholdMeasurement",
    "Transmurality",
    "measure",
    "segment_map",
]
