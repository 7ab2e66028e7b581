"""Stack of images -> labels on the stack's own grid: find the heart, outline scar, normal myocardium and blood.

`scarnode.pipeline.segment.predict` has the `Segmenter`. It needs torch, which takes more than a second to import: only
who segments waits for it.
"""

from scarnode.pipeline.segment.card import read_identity, shipped_weights
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue

__all__ = ["ModelIdentity", "Segmentation", "Tissue", "read_identity", "shipped_weights"]
