"""A digital phantom of short-axis LGE in hypertrophic cardiomyopathy: synthetic images whose truth is known.

Making phantoms needs torch, numpy and scipy alone. The writers need pydicom and highdicom, and are imported when first
asked for.
"""

from typing import TYPE_CHECKING, Any

from scarnode.phantom.annotator import annotated_label
from scarnode.phantom.cohort import published_test_set
from scarnode.phantom.make import make_cine, make_phantom
from scarnode.phantom.model import PATTERNS, PHENOTYPES, Phantom, PhantomSettings

if TYPE_CHECKING:
    from scarnode.phantom.dicom import write_cine, write_cohort, write_dicom, write_published_test_set, write_truth

__all__ = [
    "PATTERNS",
    "PHENOTYPES",
    "Phantom",
    "PhantomSettings",
    "annotated_label",
    "make_cine",
    "make_phantom",
    "published_test_set",
    "write_cine",
    "write_cohort",
    "write_dicom",
    "write_published_test_set",
    "write_truth",
]


def __getattr__(name: str) -> Any:
    if name in ("write_cine", "write_cohort", "write_dicom", "write_published_test_set", "write_truth"):
        from scarnode.phantom import dicom

        return getattr(dicom, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
