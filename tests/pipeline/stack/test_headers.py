"""Damaged, hostile and merely untidy files: each gets its reason, none stops the others."""

import contextlib
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    EncapsulatedPDFStorage,
    EnhancedSRStorage,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    LegacyConvertedEnhancedMRImageStorage,
    RLELossless,
    SegmentationStorage,
)

from scarnode.pipeline.stack import REASONS, Flag, dataset_digest, find_stacks, read_volume
from scarnode.util.errors import InputError
from tests.pipeline.stack.builders import Study, blank, enhanced, image, put, save, slices, write

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}


def fill(ds, tag, vr, raw):
    """Put bytes into a dataset that pydicom would refuse to encode."""
    from pydicom.dataelem import RawDataElement
    from pydicom.tag import Tag

    ds._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(raw), raw, 0, False, True)


def test_not_dicom(tmp_path):
    junk = {
        "empty": b"",
        "text": b"Patient: none\n" * 40,
        "prefix": bytes(128) + b"DICM",
        "png": b"\x89PNG" + bytes(400),
    }
    for name, data in junk.items():
        (tmp_path / name).write_bytes(data)
    paths = save(slices(**LGE), tmp_path / "good")
    search = find_stacks([*(tmp_path / name for name in junk), tmp_path / "absent", tmp_path / "good", *paths])
    assert len(search.stacks) == 1
    assert {path.name: why.split(":")[0] for path, why in search.unreadable} == {
        "empty": "NOT_DICOM",
        "text": "NOT_DICOM",
        "prefix": "NOT_DICOM",
        "png": "NOT_DICOM",
        "absent": "UNREADABLE",
        "good": "UNREADABLE",
    }
    assert all(why.split(":")[0] in REASONS for _, why in search.unreadable)


@pytest.mark.parametrize("missing", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_no_uid(missing, tmp_path):
    (path,) = save(slices(count=1, **LGE), tmp_path)
    from pydicom import dcmread

    ds = dcmread(path)
    del ds[missing]
    ds.save_as(path)
    search = find_stacks([path])
    ((_, why),) = search.unreadable
    assert why.startswith("NO_UID")
    assert missing in why


@pytest.mark.parametrize("syntax", [None, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_truncated_pixels(syntax, tmp_path):
    paths = save(slices(S, pixels=lambda i: image(i, 64, 64), **LGE), tmp_path, *([syntax] if syntax else []))
    data = paths[9].read_bytes()
    paths[9].write_bytes(data[: len(data) - 3000])
    search = find_stacks(paths)
    (stack,) = search.stacks
    assert len(stack.frames) == 9
    assert stack.flags == (Flag.MISSING_SLICE,)  # at the end of the stack, where no gap shows
    assert sorted((v.reason, v.instances) for v in search.series) == [
        ("LGE_SHORT_AXIS", 9),
        ("TRUNCATED_PIXEL_DATA", 1),
    ]
    ((path, why),) = search.unreadable
    assert (path, why.split(":")[0]) == (paths[9], "TRUNCATED_PIXEL_DATA")


@pytest.mark.parametrize("syntax", [JPEGLSLossless, RLELossless])
@pytest.mark.parametrize("cut", [4, 12, 200])
def test_truncated_compressed_pixels(syntax, cut, tmp_path):
    paths = save(slices(count=3, **LGE), tmp_path, syntax)
    paths[2].write_bytes(paths[2].read_bytes()[:-cut])
    assert {v.reason for v in find_stacks(paths).series} == {"LGE_SHORT_AXIS", "TRUNCATED_PIXEL_DATA"}


def test_compressed_frame_that_is_absent(tmp_path):
    """Every fragment is whole and the end is there, but one frame's fragment is not."""
    (path,) = save(enhanced(S, count=4), tmp_path, JPEGLSLossless)
    data = path.read_bytes()
    item = b"\xfe\xff\x00\xe0"
    last = data.rindex(item)
    end = data.index(b"\xfe\xff\xdd\xe0", last)
    path.write_bytes(data[:last] + data[end:])
    assert [v.reason for v in find_stacks([path]).series] == ["TRUNCATED_PIXEL_DATA"]


def test_file_cut_anywhere_is_told_or_refused(tmp_path):
    """A file cut at any byte never crashes the search, and is never taken for a whole image."""
    (path,) = save(slices(count=1, **LGE), tmp_path)
    data = path.read_bytes()
    for length in [*range(0, len(data), 7), len(data) - 2]:
        path.write_bytes(data[:length])
        search = find_stacks([path])
        assert not search.stacks
        assert len(search.series) + len(search.unreadable) >= 1


def test_missing_pixels(tmp_path):
    absent = slices(S, 1, count=3, **LGE)
    empty = slices(S, 2, count=3, **LGE)
    short = slices(S, 3, count=3, **LGE)
    for ds in absent:
        del ds.PixelData
    for ds in empty:
        ds.PixelData = b""
    for ds in short:
        ds.Rows = 32
    search = find_stacks(save(absent + empty + short, tmp_path))
    assert not search.stacks
    assert {v.series_instance_uid: v.reason for v in search.series} == {
        S.series(1): "NO_PIXEL_DATA",
        S.series(2): "NO_PIXEL_DATA",
        S.series(3): "TRUNCATED_PIXEL_DATA",
    }


def test_sound_copy_beats_a_truncated_one(tmp_path):
    datasets = slices(S, 1, **LGE)
    paths = save(datasets, tmp_path / "b")
    (cut,) = save(datasets[3], tmp_path / "a")
    cut.write_bytes(cut.read_bytes()[:-100])
    search = find_stacks([cut, *paths])
    assert len(search.stacks[0].frames) == 10
    assert search.stacks[0].flags == ()


@pytest.mark.parametrize("keyword", ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"])
def test_absent_geometry(keyword, tmp_path):
    search = find_stacks(save(slices(**{**LGE, keyword: None}), tmp_path))
    assert not search.stacks
    assert [v.reason for v in search.series] == ["NO_GEOMETRY"]
    assert keyword in search.series[0].detail


def test_one_slice_without_geometry_is_missed(tmp_path):
    paths = save(slices(ImagePositionPatient=lambda i: None, count=1, first_number=11, **LGE), tmp_path)
    search = find_stacks(paths + save(slices(**LGE), tmp_path))
    (stack,) = search.stacks
    assert stack.flags == (Flag.MISSING_SLICE,)


BAD = [
    (0x00200032, "DS", b"nan\\0\\0"),
    (0x00200032, "DS", b"0\\inf\\0 "),
    (0x00200032, "DS", b"1e300\\0\\0 "),
    (0x00200032, "DS", b"0\\0 "),
    (0x00200032, "DS", b"left\\0\\0"),
    (0x00200037, "DS", b"1\\0\\0\\1\\0\\0 "),
    (0x00200037, "DS", b"0\\0\\0\\0\\0\\0 "),
    (0x00200037, "DS", b"2\\0\\0\\0\\1\\0 "),
    (0x00200037, "DS", b"1\\0\\0\\0\\nan\\0 "),
    (0x00200037, "DS", b"1\\0\\0\\0\\1 "),
    (0x00280030, "DS", b"0\\0 "),
    (0x00280030, "DS", b"-1\\1"),
    (0x00280030, "DS", b"nan\\1 "),
    (0x00280030, "DS", b"1.4 "),
    (0x00280010, "US", struct.pack("<H", 0)),
    (0x00280010, "US", b""),
    (0x00280011, "US", struct.pack("<H", 65535)),
]


@pytest.mark.parametrize(("tag", "vr", "raw"), BAD)
def test_impossible_geometry(tag, vr, raw, tmp_path):
    datasets = slices(count=3, **LGE)
    for ds in datasets:
        fill(ds, tag, vr, raw)
    search = find_stacks(save(datasets, tmp_path))
    assert not search.stacks
    (verdict,) = search.series
    assert verdict.reason in ("NO_GEOMETRY", "BAD_GEOMETRY", "BAD_SIZE", "TRUNCATED_PIXEL_DATA")
    assert verdict.detail


def test_untidy_headers_are_read(tmp_path):
    datasets = slices(**LGE)
    for index, ds in enumerate(datasets):
        ds.PatientID = ""
        fill(ds, 0x00200013, "IS", b"%d.0 " % (index + 1))
        fill(ds, 0x00280008, "IS", b"1.0 ")
        fill(ds, 0x00080005, "CS", b"GBK ")
        fill(ds, 0x00100010, "PN", b"\xd5\xc5\xff\xfe^\x1b$B")
        fill(ds, 0x00200010, "SH", b"far too long for a short string, and more ")
        fill(ds, 0x00180050, "DS", b"8.000000000000000000000 ")
        fill(ds, 0x0008103E, "LO", "LGE SAX 短轴".encode("gbk"))
        fill(ds, 0x00180082, "DS", b"280.0\\ ")
        fill(ds, 0x00291010, "UN", b"\x00\xff" * 50)
        fill(ds, 0x00080022, "DA", b"2024.03.05")
        fill(ds, 0x00080032, "TM", b"10:30:00")
    search = find_stacks(save(datasets, tmp_path))
    (stack,) = search.stacks
    assert len(stack.frames) == 10
    assert stack.description == "LGE SAX 短轴"
    assert stack.slice_thickness == 8.0
    assert read_volume(stack).shape == (10, 16, 16)


@pytest.mark.parametrize("charset", [b"ISO 2022 IR 87", b"\\ISO 2022 IR 87", b"ISO_IR 192", b"NONSENSE", b"\xff\xff"])
def test_no_character_set_stops_the_search(charset, tmp_path):
    datasets = slices(**LGE)
    for ds in datasets:
        fill(ds, 0x00080005, "CS", charset)
        fill(ds, 0x0008103E, "LO", b"LGE SAX \x1b$B;3ED\x1b(B \xe9\xff")
        fill(ds, 0x00100010, "PN", b"\x1b$B;3ED\x1b(B")
    assert len(find_stacks(save(datasets, tmp_path)).stacks) == 1


def test_frame_of_reference_that_is_absent_is_one_for_the_study(tmp_path):
    datasets = slices(S, 1, FrameOfReferenceUID=None, **LGE)
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    assert stack.frame_of_reference_uid.startswith("2.25.")
    assert len(stack.frames) == 10


def test_objects_that_are_no_images_are_refused_politely(tmp_path):
    kinds = {SegmentationStorage: "SEG", EnhancedSRStorage: "SR", EncapsulatedPDFStorage: "DOC"}
    datasets = []
    for number, (sop_class, modality) in enumerate(kinds.items(), start=20):
        ds = blank(S, number, 1, sop_class, modality)
        ds.SeriesDescription = "LGE SAX scar"
        datasets.append(ds)
    search = find_stacks(save(datasets, tmp_path))
    assert {v.modality: v.reason for v in search.series} == {"SEG": "NOT_MR", "SR": "NOT_MR", "DOC": "NOT_MR"}
    assert not search.unreadable


def test_enhanced_frames_that_are_not_described(tmp_path):
    for number, change in enumerate(("fewer", "none", "shared", "empty item", "huge")):
        ds = enhanced(S, number + 1)
        if change == "fewer":
            del ds.PerFrameFunctionalGroupsSequence[3:]
        elif change == "none":
            del ds.PerFrameFunctionalGroupsSequence
        elif change == "shared":
            del ds.SharedFunctionalGroupsSequence
        elif change == "empty item":
            ds.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence = []
        else:
            ds.NumberOfFrames = 10**9
        save(ds, tmp_path)
    search = find_stacks(list(tmp_path.iterdir()))
    told = {v.series_instance_uid: set() for v in search.series}
    for verdict in search.series:
        told[verdict.series_instance_uid].add(verdict.reason)
    assert told[S.series(1)] == told[S.series(2)] == {"INCONSISTENT_FRAMES"}
    assert told[S.series(3)] == {"NO_GEOMETRY"}
    assert told[S.series(4)] == {"NO_GEOMETRY", "LGE_SHORT_AXIS"}
    assert told[S.series(5)] == {"TRUNCATED_PIXEL_DATA"}
    (stack,) = search.stacks
    assert (len(stack.frames), stack.flags) == (9, (Flag.MISSING_SLICE,))


def test_legacy_converted_enhanced(tmp_path):
    """A converter leaves TE, TI and the sequence words in the unassigned attributes."""
    from pydicom.dataset import Dataset

    ds = enhanced(S, 1, "mystery sa")
    ds.SOPClassUID = LegacyConvertedEnhancedMRImageStorage
    del ds.EchoPulseSequence
    shared = ds.SharedFunctionalGroupsSequence[0]
    del shared.MRModifierSequence
    del shared.MREchoSequence
    left = Dataset()
    left.EchoTime, left.InversionTime, left.ScanningSequence = 1.7, 270.0, ["GR", "IR"]
    shared.UnassignedSharedConvertedAttributesSequence = [left]
    search = find_stacks(save(ds, tmp_path))
    assert [(v.reason, v.score) for v in search.series] == [("LGE_SHORT_AXIS", 7)]


def test_multi_frame_in_a_single_frame_class(tmp_path):
    datasets = slices(count=1, pixels=lambda i: np.stack([image(0), image(1)]), NumberOfFrames=2, **LGE)
    search = find_stacks(save(datasets, tmp_path))
    assert [v.reason for v in search.series] == ["INCONSISTENT_FRAMES"]


def test_deflate_bomb(tmp_path):
    import zlib

    (path,) = save(slices(count=1, **LGE), tmp_path, DeflatedExplicitVRLittleEndian)
    from scarnode.dicom.part10 import skip_meta

    with path.open("rb") as stream:
        skip_meta(stream)
        head = path.read_bytes()[: stream.tell()]
    packer = zlib.compressobj(1, wbits=-15)
    path.write_bytes(head + b"".join(packer.compress(bytes(1 << 24)) for _ in range(17)) + packer.flush())
    ((_, why),) = find_stacks([path]).unreadable
    assert why.startswith("OVERSIZED")
    assert "larger than" in why


def test_digest_of_a_dataset(tmp_path):
    (ds,) = slices(count=1, **LGE)
    first = write(ds, tmp_path / "a.dcm", sender="CT_SCANNER_1")
    second = write(ds, tmp_path / "b.dcm", sender="PACS")
    assert first.read_bytes() != second.read_bytes()
    assert dataset_digest(first) == dataset_digest(second)
    put(ds, "SeriesDescription", "another")
    assert dataset_digest(write(ds, tmp_path / "c.dcm")) != dataset_digest(first)
    (tmp_path / "d").write_bytes(b"nothing")
    with pytest.raises(InputError, match="not a DICOM file"):
        dataset_digest(tmp_path / "d")


@pytest.fixture(scope="module")
def sample(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample")
    classic = save(slices(S, 1, count=1, **LGE), folder)[0].read_bytes()
    multi = save(enhanced(S, 2, count=3), folder)[0].read_bytes()
    return folder, (classic, multi)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_hostile_bytes_never_crash_the_search(sample, data):
    folder, originals = sample
    changed = bytearray(data.draw(st.sampled_from(originals)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(132, len(changed) - 9))
        junk = data.draw(st.binary(min_size=1, max_size=8))
        changed[at : at + len(junk)] = junk
    path = folder / "hostile.dcm"
    path.write_bytes(changed)
    search = find_stacks([path])
    assert len(search.series) + len(search.unreadable) >= 1
    for stack in search.stacks:
        assert np.isfinite(stack.slice_extents).all()
        with contextlib.suppress(InputError):
            read_volume(stack)


@pytest.mark.parametrize("keyword", ["SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID"])
@pytest.mark.parametrize("uid", ["../../etc/x", "1.2\n3", "1.2\x1b[2J", "1.2/3", "one.two", "1" * 200])
def test_what_is_no_uid_is_refused_by_name(keyword, uid, tmp_path, monkeypatch):
    from pydicom import config

    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
    monkeypatch.setattr(config.settings, "reading_validation_mode", config.IGNORE)
    datasets = slices(count=3, **LGE)
    setattr(datasets[1], keyword, uid)
    search = find_stacks(save(datasets, tmp_path))
    assert [why for _, why in search.unreadable] == [f"BAD_UID: {keyword} is no UID"]
    assert [len(stack.frames) for stack in search.stacks] == [2]


def test_leading_zeros_and_long_uids_are_served(tmp_path, monkeypatch):
    from pydicom import config

    monkeypatch.setattr(config.settings, "_writing_validation_mode", config.IGNORE)
    datasets = slices(count=3, **LGE)
    for ds in datasets:
        ds.StudyInstanceUID = "1.2.007." + "9" * 60
    assert len(find_stacks(save(datasets, tmp_path)).stacks) == 1
