"""Phantoms through their public function."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from scarnode.phantom import PHENOTYPES, PhantomSettings, annotated_label, make_phantom
from scarnode.phantom.anatomy import draw_heart
from scarnode.phantom.scar import draw_fraction, draw_scar
from scarnode.pipeline.segment.certainty import dice
from scarnode.util.errors import InputError

SMALL = PhantomSettings(matrix=(128, 128), pixel_spacing=2.2, slices=10, slice_thickness=8, slice_distance=10)


@pytest.fixture(scope="module")
def cohort():
    return [make_phantom(seed, SMALL) for seed in range(8)]


def test_same_seed_same_phantom_other_seed_other_phantom():
    one, again, other = (make_phantom(seed, SMALL) for seed in (5, 5, 6))
    assert np.array_equal(one.image, again.image) and np.array_equal(one.label, again.label)
    assert not np.array_equal(one.image, other.image)


@pytest.mark.slow
def test_component_changes_nothing_but_the_component():
    magnitude, psir = (make_phantom(3, replace(SMALL, component=name)) for name in ("magnitude", "psir"))
    assert np.array_equal(magnitude.label, psir.label)
    assert magnitude.inversion_time == psir.inversion_time
    assert not np.array_equal(magnitude.image, psir.image)


def test_shapes_types_and_range(cohort):
    for phantom in cohort:
        assert phantom.image.shape == phantom.label.shape == phantom.right_ventricle.shape == (10, 128, 128)
        assert phantom.image.dtype == np.float32 and phantom.label.dtype == np.uint8
        assert phantom.right_ventricle.dtype == bool
        assert set(np.unique(phantom.label)) <= {0, 1, 2, 3}
        assert phantom.image.min() >= 0 and 300 < phantom.image.max() <= 4095
        assert np.array_equal(phantom.image, np.round(phantom.image))


def test_label_is_a_heart(cohort):
    """One ventricle; its cavity within its wall at mid level; the right ventricle beside it."""
    for phantom in cohort:
        _, pieces = ndimage.label(phantom.label >= 1, structure=np.ones((3, 3, 3)))
        assert pieces == 1
        areas = (phantom.label >= 1).sum(axis=(1, 2))
        middle = int(np.argmax(areas))
        # Base first: the cavity is wider in the first half of the stack than in the second.
        cavity = (phantom.label == 1).sum(axis=(1, 2))
        assert cavity[:5].sum() > cavity[5:].sum()
        ventricle = ndimage.binary_fill_holes(phantom.label[middle] >= 1)
        assert (phantom.label[middle] == 1).sum() > 0
        assert not (phantom.right_ventricle[middle] & ventricle).any()
        assert phantom.right_ventricle.sum() > 0


def test_scar_lies_inside_the_myocardial_ring():
    for seed in range(3):
        phantom = make_phantom(seed, replace(SMALL, scar_fraction=0.2))
        scar = phantom.label == 3
        assert scar.any()
        filled = np.stack([ndimage.binary_fill_holes(part >= 1) for part in phantom.label])
        assert not (scar & ~filled).any()


def test_right_ventricle_lies_between_its_insertions(cohort):
    for phantom in cohort:
        level = int(np.argmax(phantom.right_ventricle.sum(axis=(1, 2))))
        heart = np.argwhere(phantom.label[level] >= 1).mean(axis=0)
        right = np.argwhere(phantom.right_ventricle[level]).mean(axis=0)
        direction = np.arctan2(*(right - heart))
        middle = np.mean(phantom.insertion_angles)
        apart = (direction - middle + np.pi) % (2 * np.pi) - np.pi
        assert abs(apart) < np.deg2rad(30)


def test_voxels_count_to_the_continuous_volume():
    plain = replace(SMALL, slices=None, matrix=(176, 176), pixel_spacing=1.6, corruption=False, pattern="confluent")
    ratios = []
    for seed in range(4):
        phantom = make_phantom(seed, replace(plain, scar_fraction=0.25))
        myocardium = phantom.slice_myocardium_volumes.sum() / phantom.true_myocardium_volume
        assert myocardium == pytest.approx(1, abs=0.06)
        assert phantom.true_lge_percent == pytest.approx(25)
        ratios.append(phantom.lge_percent / phantom.true_lge_percent)
    assert np.mean(ratios) == pytest.approx(1, abs=0.08)


def test_scar_is_brighter_than_remote_myocardium_without_noise():
    """Physics must show: inside physics contrast near the null, scar outshines what is normal."""
    brighter = 0
    for seed in range(5):
        settings = replace(SMALL, scar_fraction=0.2, corruption=False, component="psir", pattern="confluent")
        phantom = make_phantom(seed, settings)
        brighter += np.median(phantom.image[phantom.label == 3]) > np.median(phantom.image[phantom.label == 2])
    assert brighter == 5


def test_noise_follows_snr():
    def air(snr):
        image = make_phantom(11, replace(SMALL, component="magnitude", snr=snr)).image
        return np.percentile(image, 5) / image.max()

    assert air(5) > 2 * air(40)


def test_scar_sizes_are_those_of_the_published_cohort():
    """2.6 +- 6.1 % with 37 % of patients above 1 %, 4 % above 15 %."""
    rng = np.random.default_rng(0)
    sizes = 100 * np.array([draw_fraction(rng, False, None) for _ in range(4000)])
    assert sizes.mean() == pytest.approx(2.7, abs=0.4)
    assert sizes.std() == pytest.approx(6.4, abs=1.0)
    assert (sizes > 1).mean() == pytest.approx(0.37, abs=0.03)
    assert (sizes > 15).mean() == pytest.approx(0.04, abs=0.015)
    training = 100 * np.array([draw_fraction(rng, True, None) for _ in range(1000)])
    assert training.mean() > 1.5 * sizes.mean()


def test_drawn_scar_has_the_size_asked_for():
    rng = np.random.default_rng(1)
    for pattern in ("insertion", "midwall", "confluent", "diffuse", "apical", "papillary", "infarct"):
        heart = draw_heart(rng)
        scar = draw_scar(rng, heart, 0.1, pattern, True)
        assert scar.volume == pytest.approx(0.1 * heart.myocardium_volume)
        inside = (scar.field > 0) & (heart.wall[::2, ::2] > 0)[:, None]
        assert 0.02 < inside.sum() / (heart.wall[::2, ::2] > 0).sum() / scar.field.shape[1] < 0.3


def mass(heart):
    return 1.05 * heart.myocardium_volume


def test_hearts_weigh_what_hearts_weigh():
    """An 8 mm wall about 108 g; septal hypertrophy about 150 g, with a 22 mm septum more."""
    streams = [np.random.default_rng(seed) for seed in range(30)]
    normal = [mass(draw_heart(rng, "normal", wall=8.0, diameter=45.0, length=84.0)) for rng in streams]
    septal = [mass(draw_heart(rng, "septal")) for rng in streams]
    assert np.mean(normal) == pytest.approx(108, rel=0.12)
    assert 140 < np.mean(septal) < 190


def test_cohort_of_hearts_is_plausible_and_mixed_as_stated():
    hearts = [draw_heart(np.random.default_rng(seed)) for seed in range(120)]
    masses = [mass(heart) for heart in hearts]
    assert min(masses) > 55 and max(masses) < 330
    for name, part in PHENOTYPES.items():
        assert sum(heart.phenotype == name for heart in hearts) / 120 == pytest.approx(part, abs=0.12)


def test_annotator_agrees_with_the_truth_as_people_do():
    bright = replace(SMALL, matrix=(192, 192), pixel_spacing=1.5, snr=30, pattern="confluent", component="psir")
    phantom = make_phantom(2, replace(bright, scar_fraction=0.2))
    drawn = annotated_label(phantom)
    assert 0.75 < dice(drawn >= 2, phantom.label >= 2) < 0.99
    assert 0.5 < dice(drawn == 3, phantom.label == 3) < 0.99
    assert not np.array_equal(drawn, annotated_label(phantom, seed=1))
    assert not (annotated_label(make_phantom(2, replace(bright, scar_fraction=0.0))) == 3).any()


def test_thin_slices_and_few_slices():
    thin = make_phantom(1, replace(SMALL, slices=None, slice_thickness=4.0, slice_distance=4.0, matrix=(96, 112)))
    assert len(thin.image) >= 15 and thin.image.shape[1:] == (96, 112)
    few = make_phantom(1, replace(SMALL, slices=3, slice_distance=20.0))
    assert len(few.image) == 3 and (few.label[1] >= 2).any()


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        (PhantomSettings(phenotype="huge"), "phenotype"),
        (PhantomSettings(pattern="stripe"), "pattern"),
        (PhantomSettings(scar_fraction=0.9), "scar_fraction"),
        (PhantomSettings(component="phase"), "component"),  # type: ignore[arg-type]
    ],
)
def test_wrong_settings_are_named(settings, word):
    with pytest.raises(InputError, match=word):
        make_phantom(0, settings)


@pytest.mark.slow
def test_imports_without_a_dicom_stack():
    code = "import sys, scarnode.phantom; sys.exit('pydicom' in sys.modules or 'highdicom' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
