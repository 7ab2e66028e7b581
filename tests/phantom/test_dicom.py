"""Phantoms as DICOM: valid, recognisable, and with the truth where it belongs."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pytest
from pydicom import dcmread

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_cine, write_cohort, write_dicom, write_truth
from scarnode.pipeline.stack import Component, Flag, find_stacks, read_volume
from scarnode.util.errors import InputError
from tests.harness.tools import find_tool

SMALL = PhantomSettings(
    matrix=(88, 96), pixel_spacing=3.0, slices=6, slice_thickness=8, slice_distance=12, scar_fraction=0.1
)
VENDORS = ("siemens", "ge", "philips", "canon")


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(42, replace(SMALL, component="magnitude"))


@dataclass(frozen=True)
class Written:
    """The phantom as a vendor's study, among decoys."""

    lge: list[Path]
    cine: list[Path]


@pytest.fixture(scope="module", params=VENDORS)
def written(request, phantom, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    lge = write_dicom(phantom, folder / "lge", request.param, both_components=True)
    return Written(lge, write_cine(phantom, folder / "cine", request.param, phases=5, slices=2))


def errors_of(path):
    """dciodvfy's error lines."""
    done = subprocess.run(
        [find_tool("dciodvfy"), "-new", str(path)], capture_output=True, text=True, check=False, errors="replace"
    )
    return [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]


def test_dicom_is_valid(phantom, written, tmp_path):
    truth = write_truth(phantom, written.lge, tmp_path / "truth.dcm")
    for path in (written.lge[0], written.lge[-1], truth, written.cine[0]):
        assert errors_of(path) == []


@pytest.mark.parametrize("vendor", ["siemens", "philips"])
def test_enhanced_is_valid_and_found(phantom, vendor, tmp_path):
    files = write_dicom(phantom, tmp_path, vendor, enhanced=True, both_components=True)
    assert len(files) == 2
    assert errors_of(files[0]) == [] and errors_of(files[1]) == []
    (stack,) = find_stacks(files).stacks
    assert stack.component is Component.MAGNITUDE
    np.testing.assert_array_equal(read_volume(stack), phantom.image)


def test_stack_is_found_among_decoys_with_the_same_voxels(phantom, written):
    (stack,) = find_stacks([*written.lge, *written.cine]).stacks
    assert stack.component is Component.MAGNITUDE
    assert stack.pixel_spacing == pytest.approx(phantom.pixel_spacing)
    np.testing.assert_allclose(stack.slice_extents, phantom.slice_distance, rtol=1e-4)
    np.testing.assert_array_equal(read_volume(stack), phantom.image)


def test_awkward_series(phantom, tmp_path):
    shuffled = write_dicom(phantom, tmp_path / "a", "siemens", shuffle=True)
    numbers = [int(dcmread(path).InstanceNumber) for path in shuffled]
    assert numbers != sorted(numbers)
    alone = write_dicom(phantom, tmp_path / "b", "siemens", series_per_slice=True)
    assert len({dcmread(path).SeriesInstanceUID for path in alone}) == 6
    for files in (shuffled, alone):
        (stack,) = find_stacks(files).stacks
        np.testing.assert_array_equal(read_volume(stack), phantom.image)
    (gap,) = find_stacks(write_dicom(phantom, tmp_path / "c", "ge", drop=[3])).stacks
    assert len(gap.frames) == 5 and Flag.MISSING_SLICE in gap.flags


def test_psir_only(tmp_path):
    psir = make_phantom(42, replace(SMALL, component="psir"))
    for vendor in VENDORS:
        (stack,) = find_stacks(write_dicom(psir, tmp_path / vendor, vendor)).stacks
        assert stack.component is Component.PSIR and Flag.PSIR_ONLY in stack.flags


def test_headers_say_what_it_is(phantom, tmp_path):
    path = write_dicom(phantom, tmp_path, "siemens")[0]
    dataset = dcmread(path)
    assert dataset.PatientName == "PHANTOM^SEED42" and dataset.PatientID == "SYN-000042"
    assert "Synthetic" in dataset.ImageComments and "not for diagnostic use" in dataset.ImageComments
    assert float(dataset.InversionTime) == phantom.inversion_time
    assert dataset.BitsStored == 12


def test_same_phantom_writes_the_same_bytes(phantom, tmp_path):
    first, second = (write_dicom(phantom, tmp_path / name, "philips") for name in ("a", "b"))
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
    uids = {dcmread(path).SOPInstanceUID for path in first}
    other = write_dicom(make_phantom(43, phantom.settings), tmp_path / "c", "philips")
    assert len(uids) == 6 and not uids & {dcmread(path).SOPInstanceUID for path in other}


@pytest.mark.parametrize("vendor", ["siemens", "canon"])
def test_truth_lies_on_its_slices(phantom, vendor, tmp_path):
    files = write_dicom(phantom, tmp_path, vendor, drop=[2])
    seg = hd.seg.segread(write_truth(phantom, files, tmp_path / "truth.dcm"))
    kept = [0, 1, 3, 4, 5]
    uids = [dcmread(path).SOPInstanceUID for path in files]
    for number in (1, 2, 3):
        mask = seg.get_pixels_by_source_instance(uids, segment_numbers=[number], combine_segments=True)
        np.testing.assert_array_equal(mask > 0, phantom.label[kept] == number)
    named = {item.SeriesInstanceUID for item in seg.ReferencedSeriesSequence}
    assert named == {dcmread(path).SeriesInstanceUID for path in files}


def test_cohort(tmp_path):
    folders = write_cohort(tmp_path, 2, seed=5, vendor="mix", settings=SMALL)
    assert [folder.name for folder in folders] == ["SYN-000005", "SYN-000006"]
    makers = [dcmread(next((folder / "lge").iterdir())).Manufacturer for folder in folders]
    assert makers == ["SIEMENS", "GE MEDICAL SYSTEMS"]
    assert all((folder / "truth.dcm").is_file() for folder in folders)


def test_wrong_requests_are_named(phantom, tmp_path):
    with pytest.raises(InputError, match="vendor"):
        write_dicom(phantom, tmp_path, "hitachi")
    with pytest.raises(InputError, match="Enhanced"):
        write_dicom(phantom, tmp_path, "ge", enhanced=True)
    with pytest.raises(InputError, match="phantom"):
        write_truth(phantom, [], tmp_path / "truth.dcm")
