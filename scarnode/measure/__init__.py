"""From labels to volumes, mass and %LGE."""

from scarnode.measure.model import Measurements, SliceMeasurements
from scarnode.measure.volumes import DENSITY, measure

__all__ = ["DENSITY", "Measurements", "SliceMeasurements", "measure"]
