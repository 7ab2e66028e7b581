"""Cases: reading, splitting, resampling; painting and augmentation keep image and label together."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from scarnode.cases.model import Case, on_grid, read_acdc, read_emidec, read_npz, split, write_npz
from scarnode.pipeline.segment.model import Tissue
from scarnode.training import augment
from scarnode.training.synthetic_scar import add_synthetic_scar, scar_mask, synthesise_lge
from scarnode.util.errors import InputError
from tests.training.toys import toy_case


def test_npz_there_and_back(tmp_path):
    case = toy_case(1, scar=True)
    write_npz(case, tmp_path / "toys")
    (read,) = read_npz(tmp_path / "toys")
    assert (read.name, read.source, read.pixel_spacing, read.slice_distance) == ("toy1", "toys", (2.0, 2.0), 8.0)
    assert np.array_equal(read.label, case.label)
    assert np.abs(read.image - case.image).max() < 0.2


def test_a_folder_without_cases_and_a_file_without_spacing(tmp_path):
    with pytest.raises(InputError, match="no npz file"):
        read_npz(tmp_path)
    np.savez(tmp_path / "bare.npz", image=np.zeros((3, 9, 9)), label=np.zeros((3, 9, 9)))
    with pytest.raises(InputError, match=r"bare.npz: pixel_spacing, slice_distance missing"):
        read_npz(tmp_path)


def test_image_and_label_must_be_alike():
    with pytest.raises(InputError, match="must be"):
        Case(np.zeros((3, 9, 9), np.float32), np.zeros((3, 9, 8), np.uint8), (1, 1), 8, "x", "y")


@given(st.integers(5, 60), st.integers(0, 5), st.randoms())
def test_split_is_four_to_one_by_scar_and_does_not_depend_on_order(count, seed, random):
    blank = np.zeros((1, 2, 2), np.float32)
    cases = [
        Case(blank, np.full((1, 2, 2), 3 if i % 3 else 2, np.uint8), (1, 1), 8, f"c{i}", "s") for i in range(count)
    ]
    training, held = split(cases, seed)
    assert sorted(c.name for c in training + held) == sorted(c.name for c in cases)
    for scarred in (True, False):
        total = sum(c.has_scar == scarred for c in cases)
        assert sum(c.has_scar == scarred for c in held) == round(0.2 * total)
    shuffled = random.sample(cases, count)
    assert {c.name for c in split(shuffled, seed)[1]} == {c.name for c in held}


def test_resampling_keeps_the_heart_in_the_middle_and_its_size():
    case = toy_case(2, scar=True)
    patch = on_grid(case, 1.4, 128)
    assert patch.image.shape == patch.label.shape == (5, 128, 128)
    for tissue in (Tissue.BLOOD, Tissue.MYOCARDIUM, Tissue.SCAR):
        area = (patch.label == tissue).sum() * 1.4**2
        assert abs(area / ((case.label == tissue).sum() * 4) - 1) < 0.06
    assert np.abs(np.argwhere(patch.label).mean(0)[1:] - 63.5).max() < 1
    assert patch.image[patch.label == Tissue.BLOOD].mean() > 150


@pytest.mark.parametrize("seed", range(6))
def test_painted_scar_lies_in_the_wall_and_is_bright(seed):
    case = on_grid(toy_case(3), 1.4, 128)
    rng = np.random.default_rng(seed)
    painted = add_synthetic_scar(case, rng)
    scar = painted.label == Tissue.SCAR
    assert scar.any()
    assert (case.label[scar] == Tissue.MYOCARDIUM).all()
    assert np.array_equal(painted.label[~scar], case.label[~scar])
    assert painted.image[scar].mean() > case.image[case.label == Tissue.MYOCARDIUM].mean() + 30
    assert 0.002 < painted.scar_fraction < 0.42


@pytest.mark.parametrize("seed", range(4))
def test_painted_scar_is_as_noisy_as_the_wall(seed):
    """A smooth patch in a noisy wall would be learnt in place of scar."""
    case = on_grid(toy_case(3), 1.4, 128)
    rng = np.random.default_rng(seed)
    noisy = replace(case, image=case.image + 10 * rng.standard_normal(case.image.shape, dtype=np.float32))
    painted = add_synthetic_scar(noisy, rng)
    inside = ndimage.binary_erosion(painted.label == Tissue.SCAR, np.ones((1, 3, 3)))
    fine = painted.image - ndimage.median_filter(painted.image, (1, 3, 3))
    assert fine[inside].std() > 0.6 * fine[case.label == Tissue.BLOOD].std()


def test_no_scar_without_a_wall():
    empty = Case(np.zeros((3, 40, 40), np.float32), np.zeros((3, 40, 40), np.uint8), (1.4, 1.4), 10, "e", "t")
    assert not scar_mask(empty, np.random.default_rng(0)).any()
    assert np.isfinite(synthesise_lge(empty, np.random.default_rng(0)).image).all()


def test_insertion_scar_needs_no_right_ventricle_but_uses_it():
    case = on_grid(toy_case(4), 1.4, 128)
    right = np.zeros(case.label.shape, bool)
    right[:, 50:78, 90:110] = True
    for with_right in (case, replace(case, right_ventricle=right & (case.label == 0))):
        assert synthesise_lge(with_right, np.random.default_rng(0), scar_probability=1).has_scar


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**31))
def test_augmentation_keeps_image_and_label_together(seed):
    """Where blood is labelled after turning and shifting, the image is as bright as blood."""
    case = on_grid(toy_case(5), 1.4, 176)
    generator = torch.Generator().manual_seed(seed)
    image = torch.from_numpy(case.image)[None, :3].repeat(4, 1, 1, 1)
    label = torch.from_numpy(case.label)[None, :3].repeat(4, 1, 1, 1)
    moved, labels = augment.place(image, label, 128, 12, generator, warp=False)
    assert moved.shape == labels.shape == (4, 3, 128, 128)
    assert moved[labels == Tissue.BLOOD].mean() > 155
    assert moved[labels == Tissue.MYOCARDIUM].mean() < 90
    before, after = (case.label[:3] == Tissue.BLOOD).sum(), (labels[0] == Tissue.BLOOD).sum()
    assert abs(after / before - 1) < 0.05
    changed = augment.recolour(moved, labels, generator)
    assert changed.shape == moved.shape
    assert torch.isfinite(changed).all()
    assert changed.abs().max() <= 1.5
    cut, cut_label = augment.crop(changed, labels, 96, generator)
    assert cut.shape == cut_label.shape == (4, 3, 96, 96)


def test_augmentation_is_repeatable():
    case = on_grid(toy_case(5), 1.4, 176)
    image, label = torch.from_numpy(case.image)[None, :3], torch.from_numpy(case.label)[None, :3]

    def once(seed: int) -> torch.Tensor:
        generator = torch.Generator().manual_seed(seed)
        return augment.recolour(*augment.place(image, label, 128, 12, generator), generator)

    assert torch.equal(once(1), once(1))
    assert not torch.equal(once(1), once(2))


@pytest.mark.slow
def test_real_sets_are_read_with_the_project_s_labels(real_data):
    emidec, acdc = read_emidec(real_data / "emidec"), read_acdc(real_data / "acdc_ed")
    assert (len(emidec), sum(c.has_scar for c in emidec)) == (78, 52)  # one patient with infarction has none outlined
    assert (len(acdc), sum(c.has_scar for c in acdc)) == (100, 0)
    for case in emidec + acdc:
        assert set(np.unique(case.label)) <= {0, 1, 2, 3}
        assert 1.3 < case.pixel_spacing[0] < 2.0
    # Blood is brighter than the wall in LGE and in cine: a mix-up of labels would show here.
    for case in emidec[::8] + acdc[::8]:
        blood, wall = (np.median(case.image[case.label == t]) for t in (Tissue.BLOOD, Tissue.MYOCARDIUM))
        assert blood > wall
