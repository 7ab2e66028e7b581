"""A digital phantom of short-axis LGE in hypertrophic cardiomyopathy: synthetic images whose truth is known.

Making phantoms needs torch, numpy and scipy alone. `scarnode.phantom.dicom` writes them, with pydicom and
highdicom.
"""

from scarnode.phantom.annotator import annotated_label
from scarnode.phantom.cohort import published_test_set
from scarnode.phantom.make import make_cine, make_phantom
from scarnode.phantom.model import PATTERNS, PHENOTYPES, Phantom, PhantomSettings

__all__ = [
    "PATTERNS",
    "PHENOTYPES",
    "Phantom",
    "PhantomSettings",
    "annotated_label",
    "make_cine",
    "make_phantom",
    "published_test_set",
]
