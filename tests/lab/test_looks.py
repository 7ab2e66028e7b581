"""Other looks change the image, not the heart."""

import numpy as np
import pytest

from scarnode.lab.looks import FINDING_LOOKS, finer, rectified, sparser
from scarnode.segment.model import Tissue
from tests.lab.toys import toy_case


@pytest.mark.parametrize("look", FINDING_LOOKS)
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
