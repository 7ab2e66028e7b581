"""A digital phantom of short-axis LGE in hypertrophic cardiomyopathy: synthetic images whose truth is known.

Imports with torch, numpy and scipy alone; only `write_dicom`, `write_truth` and `write_cohort` need pydicom and
highdicom.
"""

from scarnode.lab.phantom.make import make_phantom
from scarnode.lab.phantom.model import PATTERNS, PHENOTYPES, Phantom, PhantomSettings

__all__ = ["PATTERNS", "PHENOTYPES", "Phantom", "PhantomSettings", "make_phantom"]
