"""One folder of cases in, whatever they are stored as."""

import json
import logging
import shutil
import subprocess
import sys

import nibabel
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code

from scarnode.cases import read_cases
from scarnode.cases.model import split, write_npz
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom, write_truth
from scarnode.pipeline.segment.model import Tissue
from scarnode.util.errors import InputError
from tests.training.segs import foreign_seg
from tests.training.toys import toy_case

SETTINGS = PhantomSettings(
    matrix=(120, 136), pixel_spacing=2.0, slices=5, slice_thickness=8.0, slice_distance=10.0, scar_fraction=0.2
)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(3, SETTINGS)


@pytest.fixture(scope="module")
def series(phantom, tmp_path_factory):
    """Files of a series whose order by name is not the slices' order."""
    return write_dicom(phantom, tmp_path_factory.mktemp("series"), "siemens", shuffle=True)


@pytest.fixture(scope="module")
def good_patient(tmp_path_factory):
    """A folder of one patient with a SEG."""
    folder, phantom = tmp_path_factory.mktemp("good"), make_phantom(5, SETTINGS)
    write_truth(phantom, write_dicom(phantom, folder), folder / "truth.dcm")
    return folder


@pytest.fixture
def patient(series, tmp_path):
    """A folder of cases with one patient, still without a SEG; and the copied files, base to apex."""
    folder = tmp_path / "hospital" / "P01"
    shutil.copytree(series[0].parent, folder)
    return folder, [folder / path.name for path in series]


def masks_of(label):
    return {
        "LV blood pool": label == Tissue.BLOOD,
        "Myocardium, healthy": label == Tissue.MYOCARDIUM,
        "LV_Scar": label == Tissue.SCAR,
    }


# DICOM


def test_phantom_series_with_its_true_seg(phantom, patient):
    folder, files = patient
    write_truth(phantom, files, folder / "truth.dcm")
    (case,) = read_cases(folder.parent)
    assert np.array_equal(case.label, phantom.label)
    assert np.array_equal(case.image, phantom.image)
    assert (case.name, case.source, case.vendor, case.site) == ("P01", "hospital", "Siemens", "Synthetic")
    assert case.pixel_spacing == phantom.pixel_spacing
    assert case.slice_distance == pytest.approx(10)
    assert case.has_scar


def test_the_node_s_own_seg(phantom, patient):
    from datetime import datetime

    from scarnode.pipeline.measure import measure
    from scarnode.pipeline.report import Provenance, build_results
    from scarnode.pipeline.segment.model import ModelIdentity, Segmentation
    from scarnode.pipeline.stack import find_stacks, read_volume

    folder, files = patient
    (stack,) = find_stacks(files).stacks
    found = Segmentation(phantom.label, (60.0, 68.0), ModelIdentity("n", "1", "ab" * 32, "nothing"))
    provenance = Provenance("k" * 64, "d" * 64, "1", datetime(2026, 1, 1))
    volume = read_volume(stack)
    build_results(stack, volume, found, measure(stack, volume, found), provenance).seg.save_as(folder / "seg.dcm")
    (case,) = read_cases(folder.parent)
    assert np.array_equal(case.label, phantom.label)


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
@pytest.mark.parametrize("grid", [{}, {"mirrored": True}, {"cropped": 8}, {"finer": 5}], ids=str)
def test_foreign_seg_of_every_kind_on_every_grid(kind, grid, phantom, patient):
    folder, files = patient
    foreign_seg(folder / "contours.dcm", files, masks_of(phantom.label), kind=kind, **grid)
    (case,) = read_cases(folder.parent)
    assert np.array_equal(case.label, phantom.label)


def test_overlapping_outlines_and_the_right_ventricle(phantom, patient):
    """Epicardial and endocardial areas, scar inside; told by code where the name says nothing."""
    folder, files = patient
    label, right = phantom.label, phantom.right_ventricle
    masks = {
        "Region 4": label == Tissue.SCAR,
        "epicardial": label > 0,
        "Endo": label == Tissue.BLOOD,
        "RV cavity": right,
    }
    foreign_seg(folder / "a.dcm", files, masks, codes={"Region 4": Code("12402003", "SCT", "Scar")})
    (case,) = read_cases(folder.parent)
    assert np.array_equal(case.label, label)
    assert np.array_equal(case.right_ventricle, right & (label == 0))


def test_a_whole_ventricle_with_its_myocardium(phantom, patient):
    folder, files = patient
    wall = phantom.label >= Tissue.MYOCARDIUM
    masks = {"Left ventricle": phantom.label > 0, "Myocardium": wall, "Infarct": phantom.label == Tissue.SCAR}
    foreign_seg(folder / "a.dcm", files, masks)
    assert np.array_equal(read_cases(folder.parent)[0].label, phantom.label)


def test_structures_in_a_seg_each_and_blood_filled_in(phantom, patient):
    folder, files = patient
    masks = masks_of(phantom.label)
    for name in ("Myocardium, healthy", "LV_Scar"):
        foreign_seg(folder / f"{name}.dcm", files, {name: masks[name]})
    (case,) = read_cases(folder.parent)
    assert np.array_equal(case.label >= Tissue.MYOCARDIUM, phantom.label >= Tissue.MYOCARDIUM)
    assert np.array_equal(case.label == Tissue.SCAR, phantom.label == Tissue.SCAR)
    closed = phantom.label[2] > 0  # a middle slice, where the wall closes around the blood
    assert np.array_equal(case.label[2] > 0, closed)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("no seg", "no DICOM Segmentation is among the files"),
        ("twice", "two SEGs outline the same tissue of one stack"),
        ("off", "5.0 mm from the image it names|lie on no slice of the stack"),
        ("unknown", "segment 'Liver' is not understood -> say in labels.json"),
        ("no wall", "no myocardium is labelled"),
        ("other study", "no SEG outlines one of the late-enhancement stacks"),
        ("damaged", "the SEG can not be read"),
    ],
)
def test_an_unusable_case_is_left_out_with_its_reason(fault, message, phantom, patient, good_patient, tmp_path, caplog):
    folder, files = patient
    masks, seg = masks_of(phantom.label), folder / "seg.dcm"
    if fault == "twice":
        foreign_seg(folder / "other.dcm", files, masks)
    if fault == "unknown":
        masks["Liver"] = phantom.label == 9
    if fault == "no wall":
        masks = {"scar": phantom.label == Tissue.SCAR}
    if fault == "other study":
        files = write_dicom(make_phantom(4, SETTINGS), tmp_path / "elsewhere")
    if fault != "no seg":
        foreign_seg(seg, files, masks, shift=5.0 if fault == "off" else 0)
    if fault == "damaged":
        dataset = dcmread(seg)
        dataset.PixelData = dataset.PixelData[: len(dataset.PixelData) // 4 * 2]
        dataset.save_as(seg)
    with pytest.raises(InputError, match=message):
        read_cases(folder.parent)
    shutil.copytree(good_patient, folder.parent / "P02")
    with caplog.at_level(logging.WARNING):
        assert [case.name for case in read_cases(folder.parent)] == ["P02"]
    assert "left out hospital/P01: " in caplog.text


def test_labels_json_says_what_a_segment_is(phantom, patient):
    folder, files = patient
    names = ("Pool 7", "Liver", "wall without bright", "Bright")
    masks = dict(zip(names, (phantom.label == value for value in (1, 9, 2, 3)), strict=True))
    foreign_seg(folder / "s.dcm", files, masks)
    legend = {"Liver": "background", "bright": "scar", "wall without bright": "myocardium"}
    (folder.parent / "labels.json").write_text(json.dumps(legend))
    (case,) = read_cases(folder.parent)
    assert np.array_equal(case.label, phantom.label)


def test_a_series_the_node_would_pass_over_is_used_where_it_is_outlined(phantom, patient, caplog):
    folder, files = patient
    for path in files:
        dataset = dcmread(path)
        dataset.SeriesDescription, dataset.ProtocolName = "cine_4711", "x"
        dataset.save_as(path)
    write_truth(phantom, files, folder / "truth.dcm")
    (case,) = read_cases(folder.parent)
    assert np.array_equal(case.label, phantom.label)
    assert "the node would not analyse it (CINE" in caplog.text


def test_two_studies_of_a_patient_stay_together(phantom, patient):
    folder, files = patient
    write_truth(phantom, files, folder / "truth.dcm")
    other = write_dicom(make_phantom(6, SETTINGS), folder / "follow-up")
    write_truth(make_phantom(6, SETTINGS), other, folder / "follow-up-truth.dcm")
    for path in [*other, folder / "follow-up-truth.dcm"]:
        dataset = dcmread(path)
        dataset.PatientID = "SYN-000003"
        dataset.save_as(path)
    cases = read_cases(folder.parent)
    assert [case.name for case in cases] == ["P01-1", "P01-2"]
    assert len({case.patient for case in cases}) == 1
    assert "SYN" not in cases[0].patient
    training, held = split(cases, held_out=0.5)
    assert {len(training), len(held)} == {0, 2}


# NIfTI


def save_nifti(path, array, affine):
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array, affine), path)


def as_nifti(phantom, series, turn=None):
    """Arrays and affine of the phantom as dcm2niix writes it: columns, rows (from the feet up), slices."""
    first, last = dcmread(series[0]), dcmread(series[-1])
    rows = phantom.image.shape[1]
    orientation = np.array(first.ImageOrientationPatient, float)
    along_columns, along_rows = orientation[:3] * 2.0, orientation[3:] * 2.0
    start = np.array(first.ImagePositionPatient, float)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along_columns, -along_rows
    affine[:3, 2] = (np.array(last.ImagePositionPatient, float) - start) / (len(phantom.image) - 1)
    affine[:3, 3] = start + along_rows * (rows - 1)
    affine[:2] *= -1  # LPS to RAS
    arrays = [volume[:, ::-1].transpose(2, 1, 0) for volume in (phantom.image, phantom.label)]
    if turn:
        turned = nibabel.orientations.io_orientation(affine)
        turned = nibabel.orientations.ornt_transform(turned, nibabel.orientations.axcodes2ornt(turn))
        affine = affine @ nibabel.orientations.inv_ornt_aff(turned, arrays[0].shape)
        arrays = [nibabel.orientations.apply_orientation(array, turned) for array in arrays]
    return *arrays, affine


@pytest.mark.parametrize("turn", [None, "RAS", "LPI", "SAR", "IPL"])
def test_nifti_comes_as_the_node_would_see_it(turn, phantom, series, tmp_path):
    """Whatever order and direction its axes have."""
    image, label, affine = as_nifti(phantom, series, turn)
    save_nifti(tmp_path / "set" / "a.nii.gz", image, affine)
    save_nifti(tmp_path / "set" / "a_label.nii.gz", label, affine)
    sidecar = {"Manufacturer": "Philips Medical Systems", "InstitutionName": "North"}
    (tmp_path / "set" / "a.json").write_text(json.dumps(sidecar))
    (case,) = read_cases(tmp_path / "set")
    assert np.array_equal(case.label, phantom.label)
    assert np.array_equal(case.image, phantom.image)
    assert case.pixel_spacing == pytest.approx((2.0, 2.0), rel=1e-4)
    assert case.slice_distance == pytest.approx(10.0, rel=1e-4)
    assert (case.name, case.source, case.vendor, case.site) == ("a", "set", "Philips", "North")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("imagesTr/c1_0000.nii.gz", "labelsTr/c1.nii.gz"),
        ("images/c1.nii", "labels/c1.nii"),
        ("c1/Images/c1.nii.gz", "c1/Contours/c1.nii.gz"),
        ("c1/c1_lge.nii.gz", "c1/c1_seg.nii.gz"),
        ("c1/c1.nii.gz", "c1/c1_gt.nii.gz"),
    ],
)
def test_layouts_of_nifti(image, label, phantom, series, tmp_path):
    voxels, values, affine = as_nifti(phantom, series)
    save_nifti(tmp_path / image, voxels, affine)
    save_nifti(tmp_path / label, values, affine)
    save_nifti(tmp_path / "imagesTs" / "t9_0000.nii.gz", voxels, affine)
    (case,) = read_cases(tmp_path)
    assert case.name == "c1"
    assert np.array_equal(case.label, phantom.label)


def test_frames_of_a_nifti_patient_stay_together(phantom, series, tmp_path):
    voxels, values, affine = as_nifti(phantom, series)
    for name in ("p1/p1_frame01", "p1/p1_frame12", "p2/p2_frame01", "p1_frame01"):
        save_nifti(tmp_path / f"{name}.nii.gz", voxels, affine)
        save_nifti(tmp_path / f"{name}_gt.nii.gz", values, affine)
    cases = read_cases(tmp_path)
    assert sorted((case.name, case.patient) for case in cases) == [
        ("p1-p1_frame01", "p1"),
        ("p1_frame01", ""),
        ("p1_frame12", "p1"),
        ("p2_frame01", "p2"),
    ]


def test_values_mean_what_the_set_says(phantom, series, tmp_path):
    image, label, affine = as_nifti(phantom, series)
    right = as_right(phantom)
    theirs = np.array([0, 20, 10, 30], np.int16)[label]
    theirs[(right > 0) & (theirs == 0)] = 50
    save_nifti(tmp_path / "imagesTr/c_0000.nii.gz", image, affine)
    save_nifti(tmp_path / "labelsTr/c.nii.gz", theirs, affine)
    with pytest.raises(InputError, match=r"label value 10, 20, 30, 50 has no meaning \(known: 0, 1, 2, 3\)"):
        read_cases(tmp_path)
    names = {"background": 0, "myo": 10, "LV": 20, "MI": 30, "RV": 50}
    for table in ({"labels": names}, {"labels": {str(v): k for k, v in names.items()}}):
        (tmp_path / "dataset.json").write_text(json.dumps(table))
        (case,) = read_cases(tmp_path)
        assert np.array_equal(case.label, phantom.label)
        assert np.array_equal(case.right_ventricle, phantom.right_ventricle & (phantom.label == 0))
    own = {"10": "blood", "20": "myocardium", "30": "no-reflow", "50": "background"}
    (tmp_path / "labels.json").write_text(json.dumps(own))
    (case,) = read_cases(tmp_path)
    assert np.array_equal(case.label == Tissue.BLOOD, phantom.label == Tissue.MYOCARDIUM)
    assert case.right_ventricle is None
    (tmp_path / "labels.json").write_text(json.dumps({**own, "30": "bright stuff"}))
    with pytest.raises(InputError, match=r"labels.json: label '30' means 'bright stuff', which is not understood"):
        read_cases(tmp_path)


def as_right(phantom):
    return phantom.right_ventricle[:, ::-1].transpose(2, 1, 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda i, v, a: (i, v[:-1], a, a), "the label's shape is"),
        (lambda i, v, a: (i, v, a, a + np.diag([0, 0, 3, 0])), "affine is not the image's"),
        (lambda i, v, a: (i, v * 0.5, a, a), r"label value 0.5, 1.5 has no meaning"),
        (lambda i, v, a: (np.stack([i] * 3, -1), v, a, a), "the volume has the shape"),
    ],
)
def test_faulty_nifti(change, message, phantom, series, tmp_path):
    image, label, affine, its_affine = change(*as_nifti(phantom, series))
    save_nifti(tmp_path / "x.nii.gz", image, affine)
    save_nifti(tmp_path / "x_seg.nii.gz", label.astype(np.float32), its_affine)
    with pytest.raises(InputError, match=message):
        read_cases(tmp_path)


def test_lone_images_and_labels_are_named(phantom, series, tmp_path, caplog):
    image, label, affine = as_nifti(phantom, series)
    for name in ("good.nii.gz", "good_seg.nii.gz", "alone.nii.gz", "lost_seg.nii.gz"):
        save_nifti(tmp_path / name, label if "seg" in name else image, affine)
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "good.nii.gz").read_bytes()[:2000])
    shutil.copy(tmp_path / "good_seg.nii.gz", tmp_path / "cut_seg.nii.gz")
    assert [case.name for case in read_cases(tmp_path, "mine")] == ["good"]
    for reason in (
        "mine/alone: there is no label file",
        "mine/lost: there is no image",
        "mine/cut: cut.nii.gz: can",
    ):
        assert reason in caplog.text


def test_without_nibabel_the_package_is_named(phantom, series, tmp_path, monkeypatch):
    image, _, affine = as_nifti(phantom, series)
    save_nifti(tmp_path / "x.nii.gz", image, affine)
    monkeypatch.setitem(sys.modules, "nibabel", None)
    with pytest.raises(InputError, match=r"pip install scarnode\[lab\]"):
        read_cases(tmp_path)


# npz, and folders


def test_npz_with_a_bad_one_among_them(tmp_path, caplog):
    for seed in (1, 2):
        write_npz(toy_case(seed, scar=True), tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"PK broken")
    assert [case.name for case in read_cases(tmp_path)] == ["toy1", "toy2"]
    assert "bad: " in caplog.text


def test_folders_without_cases(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        read_cases(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"none of 0 cases can be used.*docs/training.md"):
        read_cases(tmp_path)
    write_npz(toy_case(1), tmp_path)
    (tmp_path / "a.nii").write_bytes(b"")
    with pytest.raises(InputError, match="npz and NIfTI"):
        read_cases(tmp_path)


@pytest.mark.slow
def test_training_imports_without_dicom_stack():
    """A training machine has torch, numpy, scipy, scikit-image and safetensors alone."""
    script = """
import sys
class Blocked:
    names = {"pydicom", "highdicom", "pynetdicom", "nibabel", "sqlalchemy", "alembic", "apscheduler", "pydantic",
             "typer", "rich", "PIL", "gdcm", "matplotlib"}
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in self.names:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Blocked())
import scarnode.training.train, scarnode.training.augment, scarnode.training.synthetic_scar
import scarnode.training.export
import scarnode.cases.model
import scarnode.evaluation.metrics, scarnode.cases, scarnode.phantom, scarnode.pipeline.segment.predict
import scarnode.pipeline.segment.weights
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
