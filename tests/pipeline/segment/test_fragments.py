"""Slivers beyond base and apex are dropped; a small apex, and slices between others, are kept."""

import numpy as np
import pytest
import torch

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.pipeline.segment import Tissue
from scarnode.pipeline.segment.fragments import drop_fragments
from scarnode.pipeline.segment.predict import Segmenter

rows, columns = np.indices((64, 64)) - 32
radius = np.hypot(rows, columns)
angle = np.arctan2(rows, columns)


def ring(inner: float = 10, outer: float = 16) -> np.ndarray:
    """A closed wall around its blood pool."""
    return np.where(radius < inner, Tissue.BLOOD, np.where(radius < outer, Tissue.MYOCARDIUM, Tissue.BACKGROUND))


def arc(share: float, tissue: Tissue = Tissue.MYOCARDIUM) -> np.ndarray:
    """A piece of a thin wall, `share` of the way around, without a blood pool."""
    piece = (np.abs(radius - 13) < 1.5) & (np.abs(angle) < np.pi * share)
    return np.where(piece, tissue, Tissue.BACKGROUND)


def walls(*slices: np.ndarray) -> list[int]:
    """Pixels of the wall in each slice after fragments were dropped."""
    labels = torch.from_numpy(np.stack(slices).astype(np.int64))
    probabilities = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    kept = drop_fragments(probabilities)
    assert torch.equal(kept.sum(dim=1), torch.ones_like(kept.sum(dim=1)))
    return (kept.argmax(dim=1) >= Tissue.MYOCARDIUM).sum(dim=(1, 2)).tolist()


@pytest.mark.parametrize("tissue", [Tissue.MYOCARDIUM, Tissue.SCAR])
@pytest.mark.parametrize("share", [0.05, 0.25, 0.45])
def test_a_sliver_beyond_either_end_is_dropped(share, tissue):
    sliver, full = arc(share, tissue), int((ring() >= Tissue.MYOCARDIUM).sum())
    assert walls(sliver, ring(), ring(), sliver) == [0, full, full, 0]


def test_slivers_in_two_slices_are_both_dropped():
    assert walls(arc(0.02), arc(0.2), ring(), ring())[:2] == [0, 0]


def test_a_small_apex_is_kept():
    apex = np.where(radius < 6, Tissue.MYOCARDIUM, Tissue.BACKGROUND)
    assert walls(ring(), ring(6, 11), apex)[2] == (radius < 6).sum()


def test_a_long_thin_piece_is_kept():
    assert walls(arc(0.7), ring(), ring())[0] > 0


def test_a_slice_between_others_is_kept():
    assert walls(ring(), arc(0.1), ring())[1] > 0


def test_one_slice_and_none_are_left_alone():
    assert walls(arc(0.1))[0] > 0
    nothing = np.zeros((64, 64), int)
    assert walls(nothing, nothing) == [0, 0]


def test_no_myocardium_is_measured_where_there_is_no_ventricle():
    """A synthetic stack whose first slice lies above the ventricle: a sliver with much "scar" was measured there."""
    settings = PhantomSettings(
        matrix=(224, 224), slice_thickness=8.0, slice_distance=10.0, component="magnitude", scar_fraction=0.12
    )
    phantom = make_phantom(7, settings)
    assert not (phantom.label[0] >= Tissue.MYOCARDIUM).any()
    found = Segmenter(device="cpu").segment(phantom.image, phantom.pixel_spacing)
    assert not found.labels[0].any()
    assert (found.labels[1] >= Tissue.MYOCARDIUM).any()
