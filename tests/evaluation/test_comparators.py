"""The intensity methods on noise whose outcome is known, on hearts whose scar is known, and on odd walls."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scarnode.evaluation.comparators import METHODS
from scarnode.evaluation.metrics import dice
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.thresholds import Wall, above_remote, call_scar, find_remote
from tests.training.toys import toy_case

SPACING = (2.0, 2.0)


@pytest.fixture(scope="module")
def rayleigh() -> np.ndarray:
    """Magnitude of complex noise: perfectly nulled myocardium."""
    rng = np.random.default_rng(0)
    return np.hypot(*rng.normal(0, 20, (2, 8, 1500, 1500)))


@pytest.mark.parametrize(("deviations", "share"), [(2, 0.037), (3, 0.0056), (4, 0.00055), (5, 0.000035)])
def test_false_positives_in_perfectly_nulled_myocardium(rayleigh, deviations, share):
    everything = np.ones(rayleigh.shape, bool)
    called = above_remote(Wall(rayleigh, everything, everything), deviations)
    expected = share * rayleigh.size
    assert called.sum() == pytest.approx(expected, rel=0.015, abs=4 * np.sqrt(expected))


@pytest.mark.parametrize("name", METHODS)
def test_a_clear_scar_is_found_inside_the_wall(name):
    """Scar at 225 in a wall of 60 +- 5: anything between them will do."""
    case = toy_case(3, scar=True)
    truth = case.label == Tissue.SCAR
    labels = call_scar(case.image, case.label >= Tissue.MYOCARDIUM, METHODS[name], case.pixel_spacing)
    assert labels.dtype == np.uint8
    assert ((labels != 0) == (case.label >= Tissue.MYOCARDIUM)).all()
    found = dice(labels == Tissue.SCAR, truth)
    assert found > (0.95 if name in ("4 SD", "5 SD", "6 SD", "FWHM", "FWHM above remote", "Otsu", "mixture") else 0.75)


@pytest.mark.parametrize("name", ["5 SD", "6 SD", "FWHM", "FWHM above remote", "mixture"])
def test_a_healthy_heart_has_no_scar(name):
    case = toy_case(4)
    labels = call_scar(case.image, case.label == Tissue.MYOCARDIUM, METHODS[name], case.pixel_spacing)
    assert (labels == Tissue.SCAR).sum() == 0


def test_otsu_always_splits_the_noise():
    case = toy_case(4)
    wall = case.label == Tissue.MYOCARDIUM
    labels = call_scar(case.image, wall, METHODS["Otsu"], case.pixel_spacing)
    assert 0.2 < (labels == Tissue.SCAR).sum() / wall.sum() < 0.6


def test_the_mixture_knows_rayleigh_noise_with_and_without_scar():
    """A Gaussian pair would call the noise's long tail a second component."""
    rng = np.random.default_rng(1)
    image = np.hypot(*rng.normal(0, 20, (2, 4, 60, 60)))
    wall = np.ones(image.shape, bool)
    assert not METHODS["mixture"](Wall(image, wall, wall)).any()
    scar = np.zeros_like(wall)
    scar[:, 20:35, 20:35] = True
    image[scar] = rng.normal(150, 20, scar.sum())
    assert dice(METHODS["mixture"](Wall(image, wall, ~scar)), scar) > 0.98


@pytest.mark.parametrize("name", ["Otsu", "mixture"])
def test_something_darker_than_myocardium_does_not_make_myocardium_scar(name):
    """A contour that slips into black lung here and there: two classes, but the brighter one is all of the heart."""
    case = toy_case(8)
    wall = case.label == Tissue.MYOCARDIUM
    image = case.image.copy()
    image[tuple(np.argwhere(wall)[::30].T)] = -60
    assert not (call_scar(image, wall, METHODS[name], SPACING) == Tissue.SCAR).any()


def test_half_of_the_maximum_depends_on_where_zero_is_only_without_baseline():
    case = toy_case(5, scar=True)
    wall = case.label >= Tissue.MYOCARDIUM
    results = {
        name: [
            (call_scar(case.image + offset, wall, METHODS[name], SPACING) == Tissue.SCAR).sum() for offset in (0, 400)
        ]
        for name in ("FWHM", "FWHM above remote")
    }
    plain, lifted = results["FWHM above remote"]
    assert plain == lifted
    assert results["FWHM"][1] > 2 * results["FWHM"][0]


def test_remote_is_a_dark_sector_without_scar():
    case = toy_case(6, scar=True)
    wall = case.label >= Tissue.MYOCARDIUM
    remote = find_remote(case.image, wall)
    assert not (remote & ~wall).any()
    assert not (remote & (case.label == Tissue.SCAR)).any()
    assert all(0.1 < r.sum() / w.sum() < 0.25 for r, w in zip(remote, wall, strict=True))


def test_a_given_remote_region_is_used():
    case = toy_case(7, scar=True)
    wall = case.label >= Tissue.MYOCARDIUM
    whole = call_scar(case.image, wall, METHODS["2 SD"], SPACING, remote=wall)  # scar and all: a large deviation
    automatic = call_scar(case.image, wall, METHODS["2 SD"], SPACING)
    assert (whole == Tissue.SCAR).sum() < 0.95 * (automatic == Tissue.SCAR).sum()


def test_islands_are_dropped_by_area_as_the_network_drops_them():
    image = np.full((1, 40, 40), 10.0)
    image[0, ::2] += 1  # some deviation
    wall = np.zeros(image.shape, np.int16)
    wall[0, 5:35, 5:35] = 7
    image[0, 10, 10:13] = 99  # three pixels
    image[0, 20:24, 20:24] = 99
    remote = image < 50
    fine = call_scar(image, wall, METHODS["3 SD"], (1.4, 1.4), remote)
    assert (fine == Tissue.SCAR).sum() == 16
    coarse = call_scar(image, wall, METHODS["3 SD"], (2.8, 2.8), remote)  # three pixels are 23 mm2
    assert (coarse == Tissue.SCAR).sum() == 19


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 2**31),
    st.sampled_from(sorted(METHODS)),
    st.floats(0, 1),
    st.sampled_from([0.0, 1e-6, 1.0, 1e6, -5.0]),
)
def test_any_wall_and_image_give_labels_inside_the_wall(seed, name, share, scale):
    """No wall, one pixel, scattered pixels, constant or negative images."""
    rng = np.random.default_rng(seed)
    wall = rng.random((3, 12, 12)) < share
    labels = call_scar(rng.random(wall.shape) * scale, wall, METHODS[name], SPACING)
    assert ((labels != Tissue.BACKGROUND) == wall).all()
    assert set(np.unique(labels)) <= {Tissue.BACKGROUND, Tissue.MYOCARDIUM, Tissue.SCAR}


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 100))
def test_more_deviations_call_less_scar(seed):
    case = toy_case(seed, scar=True)
    wall = case.label >= Tissue.MYOCARDIUM
    remote = find_remote(case.image, wall)
    called = [above_remote(Wall(case.image, wall, remote), n) for n in (2, 3, 4, 5, 6)]
    assert all((more | fewer == more).all() for more, fewer in pairwise(called))
