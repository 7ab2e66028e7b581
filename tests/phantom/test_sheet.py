"""The sheet of phantoms, alone and beside other cases."""

import numpy as np
from PIL import Image

from scarnode.phantom.sheet import TILE, tile_of, write_beside
from scarnode.pipeline.segment.model import Tissue
from tests.training.toys import toy_case


def test_a_tile_shows_the_heart_and_its_outlines():
    case = toy_case(0, scar=True)
    plain, outlined = tile_of(case), tile_of(case, outlined=True)
    assert plain.shape == (TILE, TILE, 3)
    assert (plain[..., 0] == plain[..., 2]).all()  # grey
    assert (outlined != plain).any(axis=2).mean() > 0.005
    middle = slice(TILE // 2 - 5, TILE // 2 + 5)
    blood, wall = case.image[case.label == Tissue.BLOOD].mean(), case.image[case.label == Tissue.MYOCARDIUM].mean()
    assert blood > wall
    assert plain[middle, middle].mean() > 150


def test_phantoms_stand_left_and_cases_right(tmp_path):
    path = tmp_path / "beside.png"
    write_beside(path, [toy_case(i) for i in range(3)], columns=2, rows=1)
    picture = np.asarray(Image.open(path))
    assert picture.shape == (TILE, 4 * TILE + 8, 3)
    assert (picture[:, 2 * TILE : 2 * TILE + 8] == 255).all()
