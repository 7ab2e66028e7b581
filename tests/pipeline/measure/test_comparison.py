"""Scar by 5 SD, 6 SD and FWHM, and the 15 % verdict, against numbers worked out by hand."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from scarnode.pipeline.measure import Burden, measure
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.stack.model import Component, SourceFrame, Stack
from scarnode.util.errors import InputError

MODEL = ModelIdentity("m", "1", "0" * 64, "")
ORIENTATION = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
RADIUS = np.hypot(*(np.indices((60, 60)) - 29.5)) * 1.5


def make_stack(depths=(0.0, 10.0, 30.0), component=Component.MAGNITUDE):
    frames = tuple(SourceFrame(Path("x"), "1.2", f"1.{k}", "1.3", 1, (0.0, 0.0, -d)) for k, d in enumerate(depths))
    return Stack("1", "2", component, "", 60, 60, (1.5, 1.5), ORIENTATION, 8.0, None, frames)


def make_heart(offset=0.0):
    """Rings of 60 +- 5 with scar of 100 (FWHM calls none of it) and of 300 in the lower half of the middle slice."""
    labels = np.zeros((3, 60, 60), np.uint8)
    labels[:, RADIUS < 28] = Tissue.MYOCARDIUM
    labels[:, RADIUS < 20] = Tissue.BLOOD
    image = np.random.default_rng(0).normal(60, 5, labels.shape)
    faint, bright = np.zeros((2, *labels.shape), bool)
    wall = labels[1] == Tissue.MYOCARDIUM
    bright[1, 38:] = wall[38:]
    faint[1, 45:, :28] = wall[45:, :28]
    bright &= ~faint
    image[bright], image[faint] = 300, 120
    return image + offset, labels, bright, faint


def by_name(stack, image, labels):
    found = measure(stack, image, Segmentation(labels, None, MODEL))
    return {item.method: item for item in found.by_threshold}


def test_methods_by_hand():
    """The middle slice stands for 15 mm, the others for 10 and 20: pixels of 2.25 mm2."""
    image, labels, bright, faint = make_heart()
    found = by_name(make_stack(), image, labels)
    assert list(found) == ["5 SD", "6 SD", "FWHM"]
    pixel = 2.25 * 15 / 1000
    wall = (labels >= Tissue.MYOCARDIUM).sum(axis=(1, 2)) @ (2.25 * np.array([10, 15, 20]) / 1000)
    both = (bright | faint).sum() * pixel
    assert found["5 SD"].scar_volume == pytest.approx(both)
    assert found["6 SD"].scar_volume == pytest.approx(both)
    assert found["FWHM"].scar_volume == pytest.approx(bright.sum() * pixel)
    assert found["FWHM"].lge_percent == pytest.approx(100 * bright.sum() * pixel / wall)


def test_the_networks_scar_does_not_matter_only_its_wall():
    image, labels, bright, _ = make_heart()
    relabelled = labels.copy()
    relabelled[0][labels[0] == Tissue.MYOCARDIUM] = Tissue.SCAR
    assert by_name(make_stack(), image, relabelled) == by_name(make_stack(), image, labels)
    image[labels == Tissue.BLOOD] = 900
    image[:, :5] = 2000
    assert by_name(make_stack(), image, labels)["FWHM"].scar_volume == pytest.approx(bright.sum() * 2.25 * 15 / 1000)


def test_a_phase_sensitive_image_has_no_zero_to_count_from():
    plain, lifted = (by_name(make_stack(component=Component.PSIR), *make_heart(by)[:2]) for by in (0, 2000))
    for name, item in plain.items():
        assert lifted[name].scar_volume == pytest.approx(item.scar_volume)
    magnitude = by_name(make_stack(), *make_heart(2000)[:2])
    assert magnitude["FWHM"].lge_percent == pytest.approx(100)  # half of 2300 is below everything


def test_no_scar_and_no_myocardium():
    image, labels, *_ = make_heart()
    image[1] = image[0]
    assert {item.scar_volume for item in by_name(make_stack(), image, labels).values()} == {0}
    assert by_name(make_stack(), image, np.zeros_like(labels)) == {}


def test_images_of_another_stack():
    image, labels, *_ = make_heart()
    with pytest.raises(InputError, match="images have shape"):
        measure(make_stack(), image[:2], Segmentation(labels, None, MODEL))


@pytest.mark.parametrize(
    ("scar_pixels", "interval", "expected"),
    [
        (149, None, Burden.BELOW),
        (150, None, Burden.ABOVE),  # 15 % or more counts as extensive
        (300, (15.2, 40.0), Burden.ABOVE),
        (300, (14.9, 40.0), Burden.INDETERMINATE),
        (100, (4.0, 15.1), Burden.INDETERMINATE),
        (100, (4.0, 14.9), Burden.BELOW),
        (0, (0.0, 3.0), Burden.BELOW),
    ],
)
def test_burden(scar_pixels, interval, expected):
    labels = np.zeros((3, 60, 60), np.uint8)
    labels[1].ravel()[:1000] = Tissue.MYOCARDIUM
    labels[1].ravel()[:scar_pixels] = Tissue.SCAR
    outlined = Segmentation(labels, None, MODEL, lge_interval=interval)
    assert measure(make_stack(), np.zeros(labels.shape), outlined).burden is expected
    unsure = dataclasses.replace(outlined, flags=("UNSURE_SCAR",))
    assert measure(make_stack(), np.zeros(labels.shape), unsure).burden is Burden.INDETERMINATE
    nothing = dataclasses.replace(unsure, labels=np.zeros_like(labels))
    assert measure(make_stack(), np.zeros(labels.shape), nothing).burden is None
