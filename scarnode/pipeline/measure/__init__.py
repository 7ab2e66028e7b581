"""From labels to volumes, mass and %LGE."""

from scarnode.pipeline.measure.model import (
    EXTENSIVE,
    AhaSegment,
    Burden,
    Measurements,
    SliceMeasurements,
    ThresholdMeasurement,
    Transmurality,
)
from scarnode.pipeline.measure.segments import segment_map
from scarnode.pipeline.measure.volumes import DENSITY, measure

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
