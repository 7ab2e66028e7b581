"""Volumes, mass and %LGE against numbers worked out by hand, and laws that must hold for any stack."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from scarnode.pipeline import measure as room
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.stack.model import Component, SourceFrame, Stack
from scarnode.util.errors import InputError

MODEL = ModelIdentity("m", "1", "0" * 64, "")


def measure(stack, outlined):
    """Measure over images of one brightness: volumes come from the labels alone."""
    return room.measure(stack, np.zeros(outlined.labels.shape, np.float32), outlined)


def make_stack(depths, shape=(4, 5), spacing=(1.5, 2.0), thickness=8.0, between=None):
    frames = tuple(
        SourceFrame(Path("x"), "1.2", f"1.{k}", "1.3", 1, (0.0, 0.0, -float(d))) for k, d in enumerate(depths)
    )
    orientation = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    return Stack("1", "2", Component.MAGNITUDE, "", *shape, spacing, orientation, thickness, between, frames)


def segmentation(labels):
    return Segmentation(np.asarray(labels, np.uint8), None, MODEL)


def voxels(counts, shape=(4, 5)):
    """One slice per (blood, myocardium, scar)."""
    labels = np.zeros((len(counts), *shape), np.uint8)
    for k, numbers in enumerate(counts):
        flat = np.repeat([Tissue.BLOOD, Tissue.MYOCARDIUM, Tissue.SCAR], numbers)
        labels[k].ravel()[: len(flat)] = flat
    return segmentation(labels)


def test_by_hand():
    """Pixels of 3 mm2, slices at 0, 10 and 30 mm: depths 10, 15 and 20 mm, so 30, 45 and 60 mm3 a voxel."""
    result = measure(make_stack([0, 10, 30]), voxels([(4, 6, 1), (3, 5, 2), (0, 2, 0)]))
    assert result.scar_volume == pytest.approx((1 * 30 + 2 * 45) / 1000)
    assert result.normal_volume == pytest.approx((6 * 30 + 5 * 45 + 2 * 60) / 1000)
    assert result.blood_volume == pytest.approx((4 * 30 + 3 * 45) / 1000)
    assert result.myocardium_volume == pytest.approx(0.645)
    assert result.scar_mass == pytest.approx(0.12 * 1.05)
    assert result.myocardium_mass == pytest.approx(0.645 * 1.05)
    assert result.lge_percent == pytest.approx(100 * 0.12 / 0.645)
    assert result.scar_volume_by_thickness == pytest.approx(3 * 24 / 1000)
    assert result.myocardium_volume_by_thickness == pytest.approx(16 * 24 / 1000)
    assert [item.lge_percent for item in result.slices] == pytest.approx([100 / 7, 200 / 7, 0])
    assert [item.index for item in result.slices] == [0, 1, 2]


def test_undefined_is_none():
    result = measure(make_stack([0, 10], thickness=None), voxels([(3, 0, 0), (0, 0, 0)]))
    assert result.lge_percent is None
    assert result.scar_volume_by_thickness is None
    assert result.myocardium_volume_by_thickness is None
    assert result.slices[0].lge_percent is None
    assert result.scar_volume == 0
    assert result.blood_volume > 0


def test_no_scar_is_zero_percent():
    assert measure(make_stack([0, 10]), voxels([(3, 4, 0), (0, 4, 0)])).lge_percent == 0


def test_single_slice_takes_stated_spacing_then_thickness():
    one = voxels([(0, 1, 0)])
    assert measure(make_stack([0], between=10.0), one).normal_volume == pytest.approx(0.030)
    assert measure(make_stack([0]), one).normal_volume == pytest.approx(0.024)
    with pytest.raises(InputError, match="depth of a slice is unknown"):
        measure(make_stack([0], thickness=None), one)


def test_labels_of_another_stack():
    with pytest.raises(InputError, match="shape"):
        measure(make_stack([0, 10, 20]), voxels([(0, 1, 0)]))


label_arrays = hnp.arrays(np.uint8, st.tuples(st.integers(1, 6), st.just(4), st.just(5)), elements=st.integers(0, 3))
sizes = st.floats(0.3, 4.0)


@settings(max_examples=40, deadline=None)
@given(label_arrays, sizes, sizes, st.floats(0.5, 20), st.floats(1.1, 5))
def test_laws(labels, row_spacing, column_spacing, distance, factor):
    """Parts add up to the whole; volume goes with every length; %LGE does not depend on scale; scar + normal counts."""
    depths = [distance * k for k in range(len(labels))]
    stack = make_stack(depths, spacing=(row_spacing, column_spacing), between=distance)
    result = measure(stack, segmentation(labels))

    for name in ("scar_volume", "normal_volume", "blood_volume"):
        assert sum(getattr(item, name) for item in result.slices) == pytest.approx(getattr(result, name))
    total = np.count_nonzero(labels) * row_spacing * column_spacing * distance / 1000
    assert result.myocardium_volume + result.blood_volume == pytest.approx(total)

    wider = measure(
        dataclasses.replace(stack, pixel_spacing=(row_spacing * factor, column_spacing)), segmentation(labels)
    )
    assert wider.scar_volume == pytest.approx(result.scar_volume * factor)
    if result.lge_percent is None:
        assert result.myocardium_volume == 0
    else:
        assert 0 <= result.lge_percent <= 100
        assert wider.lge_percent == pytest.approx(result.lge_percent)

    turned = measure(stack, segmentation(labels[:, ::-1, ::-1]))
    assert turned.myocardium_volume == pytest.approx(result.myocardium_volume)


@settings(max_examples=40, deadline=None)
@given(label_arrays, st.lists(st.floats(1, 30), min_size=5, max_size=5))
def test_unequal_gaps_cover_the_whole_depth(labels, gaps):
    """Full slices of myocardium fill the stack's depth plus half a gap beyond each end."""
    count = len(labels)
    depths = np.concatenate([[0], np.cumsum(gaps)])[:count]
    full = np.full_like(labels, Tissue.MYOCARDIUM)
    result = measure(make_stack(depths, between=10.0), segmentation(full))
    used = gaps[: count - 1]
    expected = sum(used) + (used[0] + used[-1]) / 2 if used else 10.0
    assert result.normal_volume == pytest.approx(expected * 20 * 3.0 / 1000)
