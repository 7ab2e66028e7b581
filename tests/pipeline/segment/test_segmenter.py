"""The segmenter through its one public class, with the shipped weights."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from scarnode.evaluation.metrics import dice
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.pipeline.segment import Tissue, read_identity, shipped_weights
from scarnode.pipeline.segment.certainty import lge_percent
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.pipeline.segment.quality import UNSURE_MYOCARDIUM
from scarnode.util.errors import InputError, WeightsError


@pytest.fixture(scope="module")
def segmenter() -> Segmenter:
    return Segmenter(device="cpu")


def ring_volume(
    slices: int = 3, shape: tuple[int, int] = (192, 176), spacing: tuple[float, float] = (1.5, 1.5)
) -> np.ndarray:
    """A bright disc in a dark ring, in grey surroundings: a cartoon of a heart, 20 mm and 30 mm in radius."""
    rng = np.random.default_rng(0)
    rows, columns = np.indices(shape)
    radius = np.hypot((rows - shape[0] * 0.45) * spacing[0], (columns - shape[1] * 0.55) * spacing[1])
    image = np.where(radius < 20, 700, np.where(radius < 30, 60, 300))
    return np.stack([image + rng.normal(0, 20, shape) for _ in range(slices)])


@pytest.mark.slow
@pytest.mark.parametrize("slices", [1, 2, 3, 40])
def test_any_number_of_slices_gives_labels_on_the_same_grid(segmenter, slices):
    volume = ring_volume(slices)
    found = segmenter.segment(volume, (1.5, 1.5))
    assert found.labels.shape == volume.shape
    assert found.labels.dtype == np.uint8
    assert set(np.unique(found.labels)) <= {int(tissue) for tissue in Tissue}
    assert found.model == segmenter.identity


@pytest.mark.parametrize(
    ("shape", "spacing"),
    [((251, 253), (1.1, 1.1)), ((128, 128), (2.2, 2.2)), ((512, 512), (0.7, 0.7)), ((160, 256), (2.0, 1.0))],
)
def test_any_matrix_and_pixel_size(segmenter, shape, spacing):
    volume = ring_volume(3, shape, spacing)
    found = segmenter.segment(volume, spacing)
    assert found.labels.shape == volume.shape
    assert found.heart_center is not None
    error = np.multiply(np.subtract(found.heart_center, (shape[0] * 0.45, shape[1] * 0.55)), spacing)
    assert np.hypot(*error) < 15
    wall = found.labels >= Tissue.MYOCARDIUM
    area = wall.sum() * spacing[0] * spacing[1] / 3
    assert 0.5 < area / (np.pi * (30**2 - 20**2)) < 1.5


def test_scar_probability_is_on_the_same_grid(segmenter):
    phantom = make_phantom(5, PhantomSettings(slices=4, matrix=(170, 182), component="magnitude", scar_fraction=0.2))
    found = segmenter.segment(phantom.image, phantom.pixel_spacing)
    probability, scar = found.scar_probability, found.labels == Tissue.SCAR
    assert probability.shape == found.labels.shape
    assert probability.dtype == np.uint8
    assert scar.sum() > 50
    # the likeliest of four tissues has at least a quarter; what is more likely scar than not is scar, but for islands
    assert probability[scar].min() >= 255 / 4 - 1
    assert probability[scar].mean() > 128 > 20 > probability[~scar].mean()
    assert (probability > 128)[~scar].sum() < 0.05 * scar.sum()


@pytest.mark.parametrize(("muscle", "brightened"), [(60, True), (260, False)])
def test_slices_with_black_myocardium_are_read_once_more_brightened(segmenter, monkeypatch, muscle, brightened):
    """With blood of 700 and a black border, myocardium of 260 lies far above a fifth of the range."""
    volume = ring_volume()
    volume[volume < 150] += muscle - 60
    volume[:, :40] = 0
    found = segmenter.segment(volume, (1.5, 1.5)).scar_probability.astype(int)
    monkeypatch.setattr("scarnode.pipeline.segment.predict.brighten", lambda images, muscle: images)
    dull = segmenter.segment(volume, (1.5, 1.5)).scar_probability.astype(int)
    assert bool((found != dull).any()) == brightened


def test_an_image_from_before_the_null_is_not_all_scar(segmenter, monkeypatch):
    protocol = {"matrix": (256, 256), "slices": 5, "slice_thickness": 8.0, "slice_distance": 8.0}
    phantom = make_phantom(700056, PhantomSettings(component="magnitude", scar_fraction=0.0, **protocol))
    found = segmenter.segment(phantom.image, phantom.pixel_spacing)
    assert lge_percent(found.labels) < 5
    assert dice(phantom.label >= Tissue.MYOCARDIUM, found.labels >= Tissue.MYOCARDIUM) > 0.7
    assert "BAD_NULLING" in found.flags
    monkeypatch.setattr("scarnode.pipeline.segment.predict.blood_is_darker", lambda images, outline: False)
    assert lge_percent(segmenter.segment(phantom.image, phantom.pixel_spacing).labels) > 20


def test_what_is_outlined_in_white_for_black_is_always_flagged(segmenter, monkeypatch):
    """A wall that is brighter than its blood may as well be diseased all over."""
    volume = ring_volume()
    assert "BAD_NULLING" not in segmenter.segment(volume, (1.5, 1.5)).flags
    monkeypatch.setattr("scarnode.pipeline.segment.predict.blood_is_darker", lambda images, outline: True)
    assert "BAD_NULLING" in segmenter.segment(volume, (1.5, 1.5)).flags


def test_without_heart_the_scar_probability_is_zero(segmenter):
    found = segmenter.segment(np.zeros((3, 64, 64)), (1.5, 1.5))
    assert found.scar_probability.shape == (3, 64, 64)
    assert not found.scar_probability.any()


@pytest.mark.parametrize("value", [0, 7, -3])
def test_constant_image_has_no_heart(segmenter, value):
    found = segmenter.segment(np.full((4, 64, 80), value, np.int16), (1.5, 1.5))
    assert not found.labels.any()
    assert found.heart_center is None
    assert {"NO_HEART", "NO_MYOCARDIUM"} <= set(found.flags)


def test_all_not_a_number_has_no_heart(segmenter):
    found = segmenter.segment(np.full((3, 64, 64), np.nan, np.float32), (1.5, 1.5))
    assert found.heart_center is None


def test_scale_and_offset_of_the_values_do_not_matter(segmenter):
    volume = np.round(ring_volume(3))
    plain = segmenter.segment(volume.astype(np.float32), (1.5, 1.5))
    assert plain.labels.any()
    shifted = segmenter.segment((volume + 4096).astype(np.uint16), (1.5, 1.5))
    negative = segmenter.segment((volume * 1e-3 - 2).astype(np.float32), (1.5, 1.5))
    for other in (shifted, negative):
        assert (other.labels != plain.labels).mean() < 1e-3


def test_some_values_not_a_number(segmenter):
    volume = ring_volume(3).astype(np.float32)
    volume[1, :5] = np.nan
    volume[2, 0, 0] = np.inf
    found = segmenter.segment(volume, (1.5, 1.5))
    assert found.labels.any()


def test_same_input_same_labels(segmenter):
    volume = ring_volume(4)
    first, second = (segmenter.segment(volume, (1.5, 1.5)) for _ in range(2))
    assert np.array_equal(first.labels, second.labels)
    assert first.heart_center == second.heart_center


@pytest.mark.parametrize(
    ("volume", "spacing"),
    [
        (np.zeros((4, 4)), (1, 1)),
        (np.zeros((0, 64, 64)), (1, 1)),
        (np.zeros((3, 64, 64)), (0, 1)),
        (np.zeros((3, 64, 64)), (1, float("nan"))),
    ],
)
def test_unusable_input_is_named(segmenter, volume, spacing):
    with pytest.raises(InputError):
        segmenter.segment(volume, spacing)


@pytest.fixture
def copied_weights(tmp_path: Path) -> Path:
    for suffix in (".safetensors", ".json"):
        shutil.copy(shipped_weights().with_suffix(suffix), tmp_path / f"copy{suffix}")
    return tmp_path / "copy.safetensors"


def test_weights_elsewhere_are_the_same_model(copied_weights, segmenter):
    assert Segmenter(copied_weights).identity == segmenter.identity == read_identity()


def test_missing_weights(tmp_path):
    with pytest.raises(WeightsError, match=r"nothing.safetensors: the weight file is missing"):
        Segmenter(tmp_path / "nothing.safetensors")


def test_missing_card(copied_weights):
    copied_weights.with_suffix(".json").unlink()
    with pytest.raises(WeightsError, match=r"copy.json: the model card is missing"):
        Segmenter(copied_weights)


def test_unreadable_card(copied_weights):
    copied_weights.with_suffix(".json").write_text("{")
    with pytest.raises(WeightsError, match="not readable as JSON"):
        Segmenter(copied_weights)


def test_card_that_lacks_the_architecture(copied_weights):
    card_path = copied_weights.with_suffix(".json")
    card = json.loads(card_path.read_text())
    del card["architecture"]
    card_path.write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="lacks architecture"):
        Segmenter(copied_weights)


def test_changed_weights_are_refused(copied_weights):
    content = bytearray(copied_weights.read_bytes())
    content[-1] ^= 1
    copied_weights.write_bytes(content)
    with pytest.raises(WeightsError, match="sha256"):
        Segmenter(copied_weights)


@pytest.mark.parametrize("change", [{"width": 32}, {"dims": 2}, {"norm": "unheard"}, {"depth": 1}])
def test_card_of_another_architecture(copied_weights, change):
    card_path = copied_weights.with_suffix(".json")
    card = json.loads(card_path.read_text())
    card["architecture"]["outline"].update(change)
    card_path.write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="do not fit the architecture"):
        Segmenter(copied_weights)


def test_shipped_card_says_what_a_reader_must_know():
    card = json.loads(shipped_weights().with_suffix(".json").read_text())
    assert card["use"] == "Research use only, not for diagnostic use"
    assert "CC BY-NC-SA 4.0" in card["licence"]
    assert card["limits"] and card["command"] and card["metrics"]
    assert shipped_weights().stat().st_size < 40e6


def test_importing_the_room_does_not_import_torch():
    code = "import sys; from scarnode.pipeline.segment import read_identity; read_identity(); "
    code += "sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_phantom_is_outlined_and_its_right_ventricle_seen(segmenter):
    """Where no real images are at hand: the contours, the side of the right ventricle, the readings' agreement."""
    phantom = make_phantom(900_010, PhantomSettings(component="magnitude", phenotype="concentric"))
    found = segmenter.segment(phantom.image, phantom.pixel_spacing)
    assert dice(found.labels >= Tissue.MYOCARDIUM, phantom.label >= Tissue.MYOCARDIUM) > 0.7
    outlined = np.argwhere(phantom.right_ventricle).mean(axis=0) - np.argwhere(phantom.label).mean(axis=0)
    expected = np.arctan2(outlined[1], outlined[2])
    assert abs((found.right_ventricle - expected + np.pi) % (2 * np.pi) - np.pi) < np.radians(30)
    assert 0.6 < found.agreement.wall <= 1
    low, high = found.lge_interval
    assert low <= lge_percent(found.labels) <= high


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "sure"), [(3, True), (1, False)])
def test_bfloat16_and_float32_differ_only_where_the_outline_is_flagged(seed, sure):
    """Phantom 1 (synthetic): the heart is lost, and half of its 42 wall voxels are won by less than .1."""
    look = PhantomSettings(slices=12, matrix=(192, 192), component="magnitude", training=True)
    phantom = make_phantom(seed, look)
    both = [Segmenter(device="cpu", dtype=dtype) for dtype in (torch.float32, torch.bfloat16)]
    one, other = (segmenter.segment(phantom.image, phantom.pixel_spacing) for segmenter in both)
    flagged = [UNSURE_MYOCARDIUM in found.flags for found in (one, other)]
    assert flagged == 2 * [not sure]
    alike = dice(one.labels >= Tissue.MYOCARDIUM, other.labels >= Tissue.MYOCARDIUM)
    assert alike > 0.995 or not sure
