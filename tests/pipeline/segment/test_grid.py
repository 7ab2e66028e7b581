"""From the scanner's grid to the network's and back."""

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.pipeline.segment.grid import Grid, blur
from scarnode.pipeline.segment.islands import drop_islands
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.predict import keep_heart
from scarnode.pipeline.segment.quality import quality_flags


@settings(max_examples=30, deadline=None)
@given(
    st.integers(96, 260),
    st.integers(96, 260),
    st.floats(0.7, 2.2),
    st.floats(0.7, 2.2),
    st.floats(-20, 20),
    st.floats(-20, 20),
)
def test_a_position_survives_the_way_there_and_back(rows, columns, row_spacing, column_spacing, off_row, off_column):
    """A smooth ramp of position, seen through the patch, is the same ramp."""
    center = ((rows - 1) / 2 + off_row, (columns - 1) / 2 + off_column)
    grid = Grid(center, (rows, columns), (row_spacing, column_spacing), 1.4, (128, 128))
    ramp = torch.stack(torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")).float()[None]
    back = grid.to_source(grid.to_network(ramp, mode="bilinear"))
    inside = grid.to_source(grid.to_network(torch.ones(1, 1, rows, columns)))[0, 0] > 0.9999
    margin = 6  # smoothing bends the ramp near the edges
    inside[:margin], inside[-margin:], inside[:, :margin], inside[:, -margin:] = False, False, False, False
    assert inside.any()
    assert (back - ramp).abs()[0, :, inside].max() < 0.05


def test_outside_the_patch_all_is_zero():
    grid = Grid((50.0, 50.0), (300, 300), (1.0, 1.0), 1.0, (40, 40))
    back = grid.to_source(torch.ones(1, 1, 40, 40))[0, 0]
    assert back[50, 50] == 1
    assert not back[100:].any()


def test_blur_keeps_a_constant_and_the_mean():
    assert torch.allclose(blur(torch.ones(1, 2, 30, 30), 2.0, 0.5), torch.ones(1, 2, 30, 30))
    point = torch.zeros(1, 1, 41, 41)
    point[0, 0, 20, 20] = 1
    assert abs(blur(point, 1.5, 1.5).sum().item() - 1) < 1e-5


def _draw(*sizes: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.full((1, 20, 20), Tissue.MYOCARDIUM, np.uint8)
    for i, size in enumerate(sizes):
        labels[0, 3 * i, :size] = Tissue.SCAR
    return labels, np.full_like(labels, Tissue.MYOCARDIUM)


def test_islands_of_four_pixels_go_and_larger_ones_stay():
    labels, other = _draw(1, 4, 5, 12)
    cleaned = drop_islands(labels, other, 4)
    assert [(cleaned[0, 3 * i] == Tissue.SCAR).sum() for i in range(4)] == [0, 0, 5, 12]
    assert (cleaned == Tissue.MYOCARDIUM).sum() == labels.size - 17


def test_islands_connect_over_corners():
    labels, other = _draw()
    labels[0][np.arange(5), np.arange(5)] = Tissue.SCAR
    assert (drop_islands(labels, other, 4) == Tissue.SCAR).sum() == 5


def test_a_dropped_island_becomes_what_is_likeliest_there():
    labels, other = _draw(3)
    other[0, 0, 1] = Tissue.BLOOD
    assert drop_islands(labels, other, 4)[0, 0, :3].tolist() == [Tissue.MYOCARDIUM, Tissue.BLOOD, Tissue.MYOCARDIUM]


def test_only_one_body_stays_through_all_slices():
    labels = torch.zeros(4, 60, 60, dtype=torch.long)
    for i in range(4):
        labels[i, 20 : 40 - 3 * i, 10 + 2 * i : 30] = Tissue.BLOOD
    labels[1, 5:14, 44:55] = Tissue.SCAR
    labels[1, 12:30, 50:52] = Tissue.SCAR  # a thin bridge to the heart
    labels[1, 30, 24:52] = Tissue.SCAR
    probabilities = torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()
    kept = keep_heart(probabilities)
    assert torch.equal(kept.sum(1), torch.ones(4, 60, 60))
    kept_labels = kept.argmax(1)
    assert torch.equal(kept_labels == Tissue.BLOOD, labels == Tissue.BLOOD)
    assert not (kept_labels[1, :28, 40:]).any()
    assert torch.equal(keep_heart(kept), kept)


def test_the_body_in_the_middle_is_the_heart_however_large_another_is():
    labels = torch.zeros(3, 128, 128, dtype=torch.long)
    labels[:, 50:80, 54:80] = Tissue.MYOCARDIUM
    labels[:, :45, :100] = Tissue.BLOOD
    kept = keep_heart(torch.nn.functional.one_hot(labels, 4).movedim(-1, 1).float()).argmax(1)
    assert torch.equal(kept == Tissue.MYOCARDIUM, labels == Tissue.MYOCARDIUM)
    assert not (kept == Tissue.BLOOD).any()


def _rings(radii: list[float], shift: float = 0.0) -> np.ndarray:
    rows, columns = np.indices((100, 100))
    slices = []
    for i, radius in enumerate(radii):
        distance = np.hypot(rows - 50, columns - 50 - i * shift)
        slices.append(np.where(distance < radius - 8, Tissue.BLOOD, np.where(distance < radius, Tissue.MYOCARDIUM, 0)))
    return np.stack(slices).astype(np.uint8)


def test_a_sound_ventricle_has_no_flag():
    assert quality_flags(_rings([25, 26, 25, 23, 20, 15]), (1.0, 1.0)) == ()


def test_signs_of_a_wrong_outline_are_flagged():
    assert quality_flags(np.zeros((3, 9, 9), np.uint8), (1, 1)) == ("NO_MYOCARDIUM",)
    assert "AREA_JUMP" in quality_flags(_rings([25, 26, 12, 25, 24, 20]), (1, 1))
    assert "CENTER_JUMP" in quality_flags(_rings([25, 25, 25, 25], shift=9), (2, 2))
    opened = _rings([25, 25, 25, 25, 25])
    opened[2, 50:, 50:] = Tissue.BACKGROUND * (opened[2, 50:, 50:] == Tissue.MYOCARDIUM) + opened[2, 50:, 50:] * (
        opened[2, 50:, 50:] != Tissue.MYOCARDIUM
    )
    assert quality_flags(opened, (1, 1)) == ("OPEN_RING",)


def test_myocardium_as_bright_as_blood_is_flagged_and_large_scar_is_not():
    labels = _rings([25, 26, 25, 23])
    noise = np.random.default_rng(0).normal(0, 5, labels.shape)
    nulled = np.array([100, 120, 40, 150])[labels] + noise
    inverted = np.array([100, 40, 120, 150])[labels] + noise
    assert quality_flags(labels, (1, 1), nulled) == ()
    assert quality_flags(labels, (1, 1), inverted) == ("BAD_NULLING",)
    half = labels.copy()
    half[:, :50][labels[:, :50] == Tissue.MYOCARDIUM] = Tissue.SCAR
    assert quality_flags(half, (1, 1), np.array([100, 120, 40, 150])[half] + noise) == ()


def test_one_slice_off_the_null_is_no_bad_nulling():
    labels = _rings([25, 26, 25, 23])
    image = np.array([100, 120, 40, 150])[labels].astype(float)
    image[0] = np.array([100, 40, 120, 150])[labels[0]]
    assert quality_flags(labels, (1, 1), image) == ()
