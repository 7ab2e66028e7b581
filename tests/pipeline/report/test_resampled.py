"""Results of stacks whose slices came on several pixel grids, and of a single slice: every place and volume."""

import dataclasses
import subprocess
from datetime import datetime

import numpy as np
import pytest
from pydicom import dcmread

from scarnode.ledger.planning import STACK_JSON
from scarnode.pipeline.correct.outline import merge_masks, read_seg
from scarnode.pipeline.correct.recognise import tissue_of
from scarnode.pipeline.measure import measure
from scarnode.pipeline.report import Provenance, build_results
from scarnode.pipeline.report.texts import describe_flags
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.stack import find_stacks, read_volume
from tests.harness.tools import find_tool
from tests.pipeline.report.sources import make_case, small
from tests.pipeline.stack.builders import save
from tests.pipeline.stack.test_grids import COLUMN, GRIDS, MIDDLE, ROW, places, stack_of

OUTER, INNER, SCAR = 22.0, 13.0, 0.9
"""mm, mm, radians: a ring around the axis through MIDDLE, with scar on one side."""


def tissue_at(points):
    off = np.asarray(points) - MIDDLE
    x, y = off @ ROW, off @ COLUMN
    radius, angle = np.hypot(x, y), np.arctan2(y, x)
    labels = np.where(radius < INNER, Tissue.BLOOD, np.where(radius < OUTER, Tissue.MYOCARDIUM, Tissue.BACKGROUND))
    labels[(labels == Tissue.MYOCARDIUM) & (np.abs(angle) < SCAR)] = Tissue.SCAR
    return labels.astype(np.uint8)


@pytest.fixture(
    params=["fewer rows", "spacing 2 %", "turned by 12 degrees", "mirrored", "off the grid"], scope="module"
)
def made(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("grids")
    (stack,) = find_stacks(save(stack_of(GRIDS[request.param], {0, 3}, count=5), folder)).stacks
    labels = np.stack([tissue_at(places(stack, index)) for index in range(5)])
    model = ModelIdentity("lge3d", "2026.1", "ab12" * 16, "synthetic phantom")
    segmentation = Segmentation(labels, None, model, (), None)
    volume = read_volume(stack)
    numbers = measure(stack, volume, segmentation)
    provenance = Provenance(request.param, "feed" * 16, "0.1.0", datetime(2026, 3, 14))
    results = build_results(stack, volume, segmentation, numbers, provenance)
    for kind, dataset in results.items():
        dataset.save_as(folder / f"{kind}.dcm", enforce_file_format=True)
    return stack, segmentation, numbers, folder


def frames_of(seg):
    """Slice's position, segment and mask of every frame, with the reference to its source."""
    shared = seg.SharedFunctionalGroupsSequence[0]
    for mask, item in zip(seg.pixel_array, seg.PerFrameFunctionalGroupsSequence, strict=True):
        (source,) = item.DerivationImageSequence[0].SourceImageSequence
        position = np.array(item.PlanePositionSequence[0].ImagePositionPatient, float)
        number = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        yield shared, position, number, mask > 0, source


def test_seg_lies_where_the_heart_is(made):
    stack, _, _, folder = made
    seg = dcmread(folder / "seg.dcm")
    named = set()
    for shared, position, number, mask, source in frames_of(seg):
        steps = np.array(shared.PixelMeasuresSequence[0].PixelSpacing, float)
        orientation = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float)
        r, c = np.indices(mask.shape)
        points = position + r[..., None] * steps[0] * orientation[3:] + c[..., None] * steps[1] * orientation[:3]
        np.testing.assert_array_equal(mask, tissue_at(points) == number)
        image = dcmread(next(f.path for f in stack.frames if f.sop_instance_uid == source.ReferencedSOPInstanceUID))
        normal = np.cross(*np.array(image.ImageOrientationPatient, float).reshape(2, 3))
        assert abs((np.array(image.ImagePositionPatient, float) - points[10, 10]) @ normal) < 0.01
        named.add(source.ReferencedSOPInstanceUID)
    assert named == {frame.sop_instance_uid for frame in stack.frames}


def test_seg_says_which_images_have_other_pixels(made):
    """A frame whose pixels are not those of the image that it names says so, and has another matrix."""
    stack, _, _, folder = made
    seg = dcmread(folder / "seg.dcm")
    for _, position, _, mask, source in frames_of(seg):
        image = dcmread(next(f.path for f in stack.frames if f.sop_instance_uid == source.ReferencedSOPInstanceUID))
        same = (image.Rows, image.Columns) == mask.shape
        if same:
            np.testing.assert_allclose(np.array(image.ImagePositionPatient, float), position, atol=1e-3)
        assert source.SpatialLocationsPreserved == ("YES" if same else "NO")


def texts(item):
    for child in item.get("ContentSequence", []):
        if child.ValueType == "TEXT":
            yield child.ConceptNameCodeSequence[0].CodeValue, child.TextValue
        yield from texts(child)


def outlined(item):
    for child in item.get("ContentSequence", []):
        if child.ValueType == "SCOORD":
            image = child.ContentSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID
            yield image, np.array(child.GraphicData, float).reshape(-1, 2)
        yield from outlined(child)


def test_outlines_of_the_sr_lie_on_the_image_that_they_name(made):
    stack, _, _, folder = made
    seen = set()
    for uid, outline in outlined(dcmread(folder / "sr.dcm")):
        image = dcmread(next(frame.path for frame in stack.frames if frame.sop_instance_uid == uid))
        row, column = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
        x, y = ((outline - 0.5) * np.array(image.PixelSpacing, float)[::-1]).T
        points = np.array(image.ImagePositionPatient, float) + x[:, None] * row + y[:, None] * column
        off = points - MIDDLE
        radius = np.hypot(off @ ROW, off @ COLUMN)
        assert radius.min() > INNER - 2
        assert radius.max() < OUTER + 2
        seen.add(uid)
    assert seen == {frame.sop_instance_uid for frame in stack.frames}


def test_sr_and_page_say_it(made):
    stack, segmentation, _, folder = made
    said = dict(texts(dcmread(folder / "sr.dcm")))
    assert "RESAMPLED_SLICE" in said["QUALITY_FLAGS"]
    other = [str(number) for number, frame in enumerate(stack.frames, 1) if frame.grid is not None]
    assert {"1", "4"} <= set(other)
    assert said["SLICES_USED"] == f"all 5 of the stack, base to apex; resampled to one pixel grid: {', '.join(other)}"
    sentences = dict(describe_flags(stack, segmentation))
    assert "another pixel grid" in sentences["RESAMPLED_SLICE"]


def test_volumes_are_those_of_the_ring(made):
    _, _, numbers, folder = made
    ring = np.pi * (OUTER**2 - INNER**2) * 50 / 1000
    assert numbers.myocardium_volume == pytest.approx(ring, rel=0.04)  # whole pixels of 1.4 mm
    seg = dcmread(folder / "seg.dcm")
    measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    voxel = np.prod(np.array(measures.PixelSpacing, float)) * 10 / 1000
    voxels = sum(mask.sum() for *_, number, mask, _ in frames_of(seg) if number in (2, 3))
    assert voxels * voxel == pytest.approx(numbers.myocardium_volume, rel=1e-3)


@pytest.mark.parametrize("name", ["seg.dcm", "sr.dcm", "sc.dcm"])
def test_dciodvfy_finds_no_error(made, name):
    done = subprocess.run([find_tool("dciodvfy"), name], cwd=made[3], capture_output=True, check=False)
    assert not [line for line in done.stderr.splitlines() if line.startswith(b"Error")]


# --- a single slice -----------------------------------------------------------------------------


@pytest.mark.parametrize(("stated", "depth"), [(10.0, 10.0), (11.5, 11.5), (None, 8.0)])
def test_seg_of_one_slice_states_the_depth_that_was_measured(stated, depth, tmp_path):

    case = make_case(tmp_path, small(slices=1))
    stack = dataclasses.replace(case.stack, spacing_between_slices=stated)
    numbers = measure(stack, case.volume, case.segmentation)
    results = build_results(stack, case.volume, case.segmentation, numbers, case.provenance, kinds=("labelmap",))
    for seg in (results.seg, results.labelmap):
        measures = seg.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
        assert float(measures.SpacingBetweenSlices) == depth
        assert float(measures.SliceThickness) == 8.0
    voxel = np.prod(np.array(measures.PixelSpacing, float)) * float(measures.SpacingBetweenSlices) / 1000
    scar = (case.segmentation.labels == Tissue.SCAR).sum() * voxel
    assert scar == pytest.approx(numbers.scar_volume)


def test_the_seg_is_read_back_onto_the_stack(made):
    """By the pages, and by those who correct it."""
    stack, segmentation, _, folder = made
    masks = read_seg(folder / "seg.dcm", tissue_of).on(stack)
    np.testing.assert_array_equal(merge_masks(masks), segmentation.labels)


def test_the_ledger_keeps_the_grids(made):
    stack = made[0]
    assert STACK_JSON.validate_json(STACK_JSON.dump_json(stack)) == stack
