"""The node's results in a viewer that radiologists have: stock OHIF on a real Orthanc, in a real browser."""

import numpy as np
import pytest
from pydicom import Dataset

from scarnode.dicom.scu import RemoteAE, send
from scarnode.pipeline.report import codes
from scarnode.pipeline.segment import Tissue
from scarnode.pipeline.segment.predict import Segmenter
from tests.harness.orthanc import Orthanc
from tests.harness.tools import find_tool
from tests.viewer.chromium import Chromium
from tests.viewer.ohif import Ohif, Reader, Shown, find_ohif
from tests.viewer.studies import Study, make_study

pytestmark = [pytest.mark.viewer, pytest.mark.timeout(420)]

FAILED = "failed analysis"
STUDIES = {
    "plain": {},
    "no scar": {"scar": False},
    "Enhanced": {"enhanced": True},
    "251 x 253": {"matrix": (251, 253)},
    "no heart": {"heart": False},
    FAILED: {"fails": True},
}


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory):
    for tool in ("npm", "chromium"):
        find_tool(tool)
    # Orthanc 1.10 does not know the label map
    with Orthanc(tmp_path_factory.mktemp("orthanc"), web=True, UnknownSopClassAccepted=True) as running:
        yield running


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with Chromium(tmp_path_factory.mktemp("chromium")) as running:
        yield running


@pytest.fixture(scope="module")
def ohif(orthanc):
    with Ohif(find_ohif(), orthanc) as running:
        yield running


@pytest.fixture(scope="module")
def study(tmp_path_factory, orthanc):
    """Give a study with its results, which Orthanc has taken by C-STORE."""
    segmenter, made = Segmenter(device="cpu"), {}

    def get(name: str) -> Study:
        if name not in made:
            made[name] = make_study(tmp_path_factory.mktemp("study"), segmenter, 21 + len(made), **STUDIES[name])
            destination = RemoteAE(orthanc.host, orthanc.port, orthanc.ae_title)
            assert all(outcome.ok for outcome in send(made[name].files, destination, "SCARNODE"))
        return made[name]

    return get


@pytest.mark.parametrize("name", STUDIES)
def test_seg_and_sr(name, study, ohif, chromium):
    """Every voxel on its image in its colour; the SR's numbers, as written, beside outlines on the images it names."""
    seen = study(name)
    with chromium.page(name) as page:
        reader = Reader(page, ohif, seen.uid)
        if name != FAILED:
            check_segmentation(reader.open_segmentation("scarnode LGE SEG"), seen)
        check_report(reader.open_report("scarnode LGE SR"), seen)
        assert page.problems == []


def test_labelmap(study, ohif, chromium):
    seen = study("251 x 253")
    with chromium.page("labelmap") as page:
        shown = Reader(page, ohif, seen.uid).open_segmentation("scarnode LGE LABELMAP")
        assert shown.segments.pop(0, "Background") == "Background"
        shown.colors.pop(0, None)
        check_segmentation(shown, seen)
        assert page.problems == []


def check_segmentation(shown: Shown, study: Study) -> None:
    assert shown.segments == {int(tissue): codes.SEGMENTS[tissue].label for tissue in codes.SEGMENTS}
    for tissue, segment in codes.SEGMENTS.items():  # through CIELab, which rounds
        assert np.abs(np.subtract(shown.colors[tissue], segment.rgb)).max() <= 2
    labels = study.segmentation.labels
    assert (labels == Tissue.SCAR).any() == study.scar
    assert labels.any() == study.heart
    for image, label in zip(study.images, labels, strict=True):
        assert np.array_equal(shown.voxels.get(image, np.zeros_like(label)), label), f"other voxels on {image}"
    assert set(shown.voxels) <= set(study.images)
    wanted = dict(zip(study.images, labels, strict=True))
    assert len(shown.painted) == 2
    for image, pixels in shown.painted.items():
        assert (pixels > 500) == wanted[image].any(), f"{pixels} coloured pixels on {image}"


def check_report(report, study: Study) -> None:
    written = list(groups(study.results.sr))
    assert sorted(measurement for _, measurement in report.measurements) == sorted(listed for _, listed in written)
    assert {(image, listed) for image, listed in report.measurements} == set(written)
    assert set(report.visited) <= set(study.images)
    # the viewer goes through the outlines in the SR's order
    assert list(report.visited) == [image for image, _ in written][: len(report.visited)]
    if study.results.seg is not None:
        first = [f"{name}: {value}" for name, value in written[0][1]]
        assert any(all(line in text for line in first) for text in report.texts)


def groups(sr: Dataset):
    """Image and (name, value with unit as OHIF writes it) of every measurement group that has numbers."""
    [container] = [item for item in sr.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue == "126010"]
    for group in container.ContentSequence:
        numbers = [item for item in group.ContentSequence if item.ValueType == "NUM"]
        listed = tuple((item.ConceptNameCodeSequence[0].CodeMeaning, as_shown(item)) for item in numbers)
        if numbers:
            yield image_of(numbers[0]), listed


def as_shown(item: Dataset) -> str:
    [value] = item.MeasuredValueSequence
    number = f"{float(value.NumericValue):.2f}" if float(value.NumericValue) else ""  # OHIF leaves out a zero
    return f"{number} {value.MeasurementUnitsCodeSequence[0].CodeValue}"


def image_of(number: Dataset) -> tuple[str, int]:
    [outline] = [item for item in number.ContentSequence if item.ValueType == "SCOORD"]
    [reference] = outline.ContentSequence[0].ReferencedSOPSequence
    return reference.ReferencedSOPInstanceUID, int(reference.get("ReferencedFrameNumber", 1))
