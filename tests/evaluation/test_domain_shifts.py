"""Other looks change the image, not the heart."""

from dataclasses import replace

import numpy as np
import pytest

from scarnode.evaluation.domain_shifts import FINDER_SHIFTS, finer, other_center, rectified, sparser
from scarnode.pipeline.segment.model import Tissue
from tests.training.toys import toy_case


@pytest.mark.parametrize("look", FINDER_SHIFTS)
def test_a_look_keeps_the_heart(look):
    case = toy_case(0, scar=True)
    seen = look(case)
    assert seen.source.startswith("toy-")
    assert seen.name == case.name
    pixel = np.prod(seen.pixel_spacing) * seen.slice_distance
    volume = (seen.label == Tissue.MYOCARDIUM).sum() * pixel
    assert abs(volume / ((case.label == Tissue.MYOCARDIUM).sum() * 4 * 8) - 1) < 0.25
    assert np.isfinite(seen.image).all()


def test_what_each_look_changes():
    case = toy_case(0)
    muscle = case.label == Tissue.MYOCARDIUM
    assert np.median(rectified(case).image[muscle]) < 0.05
    assert finer(case).pixel_spacing == pytest.approx((0.75, 0.75), rel=0.01)
    assert len(sparser(case).image) == 3


def test_another_centers_slices_are_few_dark_and_noisy():
    case = toy_case(0, scar=True)
    seen = other_center(case)
    assert seen.pixel_spacing == pytest.approx((0.73, 0.73), rel=0.01)
    assert seen.slice_distance == 16  # of 8 mm: every second slice
    assert 2 <= len(seen.image) <= 6
    blood, muscle = (seen.image[seen.label == tissue] for tissue in (Tissue.BLOOD, Tissue.MYOCARDIUM))
    assert seen.image.min() >= 0
    assert np.median(muscle) < 0.25 * np.median(blood)
    assert muscle.std() > 0.02 * np.median(blood)
    assert np.array_equal(other_center(case).image, seen.image)  # the same at every call


def test_another_centers_stack_has_at_most_six_slices_of_the_heart():
    case = toy_case(0, slices=30)
    empty = np.zeros_like(case.label[:4])
    label = np.concatenate([empty, case.label[4:-4], empty])
    seen = other_center(replace(case, label=label))
    assert len(seen.image) == 6
    assert (seen.label != Tissue.BACKGROUND).any(axis=(1, 2)).all()
