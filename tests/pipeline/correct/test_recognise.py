"""Which SEGs are corrections, and of which stack; and that what is measured is what was drawn."""

from datetime import datetime, timezone

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sr.coding import Code

from scarnode.cases import read_cases
from scarnode.cases.correction import write_case
from scarnode.cases.model import read_npz
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.correct.read import read_correction
from scarnode.pipeline.correct.recognise import NoCorrectionError, find_corrected_stack
from scarnode.pipeline.measure import measure
from scarnode.pipeline.report import KINDS, Provenance, build_results
from scarnode.pipeline.report.model import Origin
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.stack import find_stacks, read_volume
from scarnode.util.errors import InputError
from tests.harness.viewer import READER, edited, save
from tests.training.segs import foreign_seg

NETWORK = ModelIdentity("net", "1", "ab" * 32, "nothing")
OURS = {
    "LV blood pool": (Tissue.BLOOD, Code("87612001", "SCT", "Blood")),
    "Normal LV myocardium": (Tissue.MYOCARDIUM, Code("49848007", "SCT", "Myocardium of left ventricle")),
    "LV scar": (Tissue.SCAR, Code("12402003", "SCT", "Scar tissue")),
}


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(3, PhantomSettings(matrix=(120, 136), pixel_spacing=2.0, slices=5, scar_fraction=0.2))


@pytest.fixture(scope="module")
def images(phantom, tmp_path_factory):
    return write_dicom(phantom, tmp_path_factory.mktemp("images"), "siemens")


@pytest.fixture(scope="module")
def stack(images):
    [stack] = find_stacks(images).stacks
    return stack


@pytest.fixture(scope="module")
def ours(phantom, stack):
    """The node's own SEG of the phantom's truth."""
    found = Segmentation(phantom.label, (60.0, 68.0), NETWORK)
    volume = read_volume(stack)
    provenance = Provenance("k" * 64, "d" * 64, "1", datetime(2026, 1, 1))
    return build_results(stack, volume, found, measure(stack, volume, found), provenance).seg


def no_scar(labels):
    for label in labels.values():
        label[label == Tissue.SCAR] = Tissue.MYOCARDIUM


def nothing(_labels):
    """Change nothing."""


@pytest.mark.parametrize("how", [{}, {"drop_empty": True}, {"order": range(14, -1, -1)}], ids=str)
def test_an_edited_seg_is_measured_as_it_was_drawn(how, phantom, stack, ours, tmp_path):
    path = save(edited(ours, no_scar, **how), tmp_path / "a.dcm")
    assert find_corrected_stack(path, [stack]) is stack
    corrected = read_correction(path, stack)
    assert np.array_equal(corrected.labels, np.where(phantom.label == Tissue.SCAR, Tissue.MYOCARDIUM, phantom.label))
    assert corrected.origin.creator == READER
    assert not corrected.origin.by_hand


@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL", "LABELMAP"])
def test_every_kind_with_other_numbers_and_names(kind, phantom, images, stack, tmp_path):
    order = ["LV scar", "LV blood pool", "Normal LV myocardium"]
    masks = {f"Region {n}": phantom.label == OURS[name][0] for n, name in enumerate(order)}
    codes = {f"Region {n}": OURS[name][1] for n, name in enumerate(order)}
    path = foreign_seg(tmp_path / "a.dcm", images, masks, kind=kind, codes=codes)
    assert find_corrected_stack(path, [stack]) is stack
    corrected = read_correction(path, stack)
    assert np.array_equal(corrected.labels, phantom.label)
    assert corrected.origin.by_hand
    assert corrected.origin.segments == {Tissue.SCAR: 1, Tissue.BLOOD: 2, Tissue.MYOCARDIUM: 3}


def test_ohif_drops_codes_and_empty_segments(phantom, images, stack, tmp_path):
    """Every segment is coded as "Tissue"; one without a voxel is not written."""
    masks = {
        "LV blood pool": phantom.label == Tissue.BLOOD,
        "Normal LV myocardium": phantom.label >= Tissue.MYOCARDIUM,
    }
    path = foreign_seg(tmp_path / "a.dcm", images, masks)
    assert find_corrected_stack(path, [stack]) is stack
    corrected = read_correction(path, stack)
    assert corrected.flags == ("NO_SCAR_SEGMENT",)
    assert not (corrected.labels == Tissue.SCAR).any()
    assert np.array_equal(corrected.labels >= Tissue.MYOCARDIUM, phantom.label >= Tissue.MYOCARDIUM)


def renumbered(seg):
    seg.SegmentSequence[1].SegmentedPropertyTypeCodeSequence = seg.SegmentSequence[2].SegmentedPropertyTypeCodeSequence


def unlisted(seg):
    """Drawn when the stack had no such image yet."""
    gone = seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence.pop().ReferencedSOPInstanceUID
    groups = seg.PerFrameFunctionalGroupsSequence
    kept = [group for group in groups if gone not in str(group.DerivationImageSequence[0])]
    seg.PerFrameFunctionalGroupsSequence, seg.NumberOfFrames = kept, len(kept)


def other_images(seg):
    for group in seg.PerFrameFunctionalGroupsSequence:
        group.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID = "1.2.3"
    seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[:] = []


def moved(seg):
    seg.PerFrameFunctionalGroupsSequence[0].PlanePositionSequence[0].ImagePositionPatient[0] += 1.0


def turned(seg):
    orientation = seg.SharedFunctionalGroupsSequence[0].PlaneOrientationSequence[0]
    cosines = list(orientation.ImageOrientationPatient)
    orientation.ImageOrientationPatient = [-value for value in cosines[:3]] + cosines[3:]


def without_blood(seg):
    seg.SegmentSequence = [item for item in seg.SegmentSequence if "blood" not in item.SegmentLabel]


def recoded(seg):
    for item in seg.SegmentSequence:
        kind = Dataset()
        kind.CodeValue, kind.CodingSchemeDesignator, kind.CodeMeaning = "10200004", "SCT", "Liver"
        item.SegmentedPropertyTypeCodeSequence = [kind]


def automatic(seg):
    for item in seg.SegmentSequence:
        item.SegmentAlgorithmType = "AUTOMATIC"


@pytest.mark.parametrize(
    ("fault", "reason", "detail"),
    [
        (renumbered, "CORRECTION_REFUSED", "two segments are coded as LV scar"),
        (unlisted, "CORRECTION_REFUSED", "drawn on 4 of the stack's 5 images"),
        (other_images, "CORRECTION_WAITS", "none of the 1 images"),
        (moved, "CORRECTION_REFUSED", "1.0 mm from the image"),
        (turned, "CORRECTION_REFUSED", "ImageOrientationPatient"),
        (without_blood, "CORRECTION_REFUSED", "LV blood pool is missing"),
        (recoded, "FOREIGN_SEG", "10200004 SCT"),
        (automatic, "AUTOMATIC_SEG", "AUTOMATIC"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_is_no_correction_says_why(fault, reason, detail, stack, ours, tmp_path):
    seg = edited(ours, nothing)
    fault(seg)
    with pytest.raises(NoCorrectionError, match=detail) as told:
        find_corrected_stack(save(seg, tmp_path / "a.dcm"), [stack])
    assert told.value.reason == reason


@pytest.mark.parametrize("grid", [{"mirrored": True}, {"cropped": 8}, {"finer": 5}, {"shift": 3.0}], ids=str)
def test_another_matrix_is_refused(grid, phantom, images, stack, tmp_path):
    masks = {name: phantom.label == tissue for name, (tissue, _) in OURS.items()}
    path = foreign_seg(tmp_path / "a.dcm", images, masks, **grid)
    with pytest.raises(NoCorrectionError) as told:
        find_corrected_stack(path, [stack])
    assert told.value.reason == "CORRECTION_REFUSED"


def test_no_seg_and_no_stack(images, stack, ours, tmp_path):
    with pytest.raises(NoCorrectionError, match="header can not be understood"):
        find_corrected_stack(images[0], [stack])
    with pytest.raises(NoCorrectionError, match="none of the 5 images"):
        find_corrected_stack(save(edited(ours, nothing), tmp_path / "a.dcm"), [])


def test_no_myocardium_is_an_error(stack, ours, tmp_path):
    path = save(edited(ours, lambda labels: [label.fill(0) for label in labels.values()]), tmp_path / "a.dcm")
    assert find_corrected_stack(path, [stack]) is stack
    with pytest.raises(InputError, match="no myocardium"):
        read_correction(path, stack)


def test_the_case_is_one_that_the_lab_reads(phantom, stack, ours, tmp_path):
    corrected = read_correction(save(edited(ours, no_scar), tmp_path / "a.dcm"), stack)
    found = Segmentation(phantom.label, (60.0, 68.0), NETWORK)
    volume = read_volume(stack) * 100  # brighter than half precision reaches
    made_at = datetime(2026, 3, 4, tzinfo=timezone.utc)
    path = write_case(stack, volume, corrected, found, "c" * 64, made_at, tmp_path)
    assert path.parent == tmp_path / "corrections"
    [case] = read_cases(path.parent)
    assert np.array_equal(case.label, corrected.labels)
    scale = case.image.max() / volume.max()
    assert np.isfinite(case.image).all()
    assert np.allclose(case.image, volume * scale, rtol=1e-3, atol=1e-3)
    assert (case.vendor, case.site, case.source) == ("Siemens", "Synthetic", "corrections")
    with np.load(path) as stored:
        assert np.array_equal(stored["network_label"], phantom.label)
        assert list(stored["network"]) == ["net", "1", "ab" * 32]
    assert read_npz(path.parent)[0].patient == case.patient != ""


def test_the_report_of_a_correction(phantom, stack, ours, tmp_path):
    """No SEG of ours; the SR refers to the person's segments by their numbers, and has a group for a missing one."""
    volume, labels = read_volume(stack), np.where(phantom.label == Tissue.SCAR, Tissue.MYOCARDIUM, phantom.label)
    found = Segmentation(labels, (60.0, 68.0), NETWORK, ("NO_SCAR_SEGMENT",))
    origin = Origin(
        "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3.4", "1.2.3.5", {Tissue.BLOOD: 7, Tissue.MYOCARDIUM: 4}, True, READER, ""
    )
    provenance = Provenance("k" * 64, "d" * 64, "1", datetime(2026, 1, 1), ("1.2.9", "1.2.8"), origin)
    objects = build_results(stack, volume, found, measure(stack, volume, found), provenance, KINDS)
    assert [kind for kind, _ in objects.items()] == ["sr", "sc", "pdf"]
    segments = {
        item.ReferencedSOPSequence[0].ReferencedSegmentNumber: item.ReferencedSOPSequence[0].ReferencedSOPInstanceUID
        for item in objects.sr.iterall()
        if item.tag == 0x0040A730
        for item in item.value
        if "ReferencedSOPSequence" in item and "ReferencedSegmentNumber" in item.ReferencedSOPSequence[0]
    }
    assert segments == {4: "1.2.3.4", 7: "1.2.3.4"}
    text = objects.sr.to_json()
    for told in ("Manual Processing", READER, "1.2.3.4 (MANUAL)", "NO_SCAR_SEGMENT", "LV scar"):
        assert told in text
    assert "net 1, sha256" in text  # the network that was corrected; not as what made the numbers
    assert "Artificial" not in text
    assert objects.sc.SeriesDescription.endswith("(corrected)")


def test_a_seg_of_absurd_size_is_refused_before_its_pixels_are_unpacked(tmp_path, monkeypatch):
    """One bit a pixel: 64 MB on disk are 512 MB in memory, RLE may be anything."""
    from scarnode.pipeline.correct import outline

    ds = Dataset()
    ds.NumberOfFrames, ds.Rows, ds.Columns, ds.SegmentationType = 2**31 - 1, 65535, 65535, "BINARY"
    ds.SegmentSequence = []
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.5"
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.66.4", "1.2.3"
    ds.save_as(tmp_path / "seg.dcm", enforce_file_format=True)
    with pytest.raises(InputError, match="pixels"):
        outline.read_seg(tmp_path / "seg.dcm", lambda _: 1)
