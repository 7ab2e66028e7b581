"""Stack of images -> labels on the stack's own grid: find the heart, outline scar, normal myocardium and blood."""

from typing import TYPE_CHECKING, Any

from scarnode.pipeline.segment.card import read_identity, shipped_weights
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue

if TYPE_CHECKING:
    from scarnode.pipeline.segment.predict import Segmenter

__all__ = ["ModelIdentity", "Segmentation", "Segmenter", "Tissue", "read_identity", "shipped_weights"]


def __getattr__(name: str) -> Any:
    # torch takes more than a second to import: only who segments waits for it.
    if name == "Segmenter":
        from scarnode.pipeline.segment.predict import Segmenter

        return Segmenter
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
