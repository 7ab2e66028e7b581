"""Real instances of GE, Philips, Siemens and others, none cardiac: none is accepted, none crashes, all decode."""

import numpy as np
import pytest

from scarnode.pipeline.stack import Component, SourceFrame, Stack, Verdict, find_stacks, input_digest, read_volume
from scarnode.pipeline.stack.headers import read_frames


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".dcm")


def stack_of(paths):
    """A stack of whatever images, which no recognition would accept."""
    frames = [frame for path in paths for frame in read_frames(path)]
    frames.sort(key=lambda frame: (frame.position, frame.frame_number))
    first = frames[0]
    return Stack(
        first.study_instance_uid,
        first.frame_of_reference_uid,
        Component.MAGNITUDE,
        "",
        first.rows,
        first.columns,
        first.pixel_spacing,
        first.orientation,
        first.slice_thickness,
        None,
        tuple(
            SourceFrame(f.path, f.sop_class_uid, f.sop_instance_uid, f.series_instance_uid, f.frame_number, f.position)
            for f in frames
        ),
    )


def test_nothing_is_accepted_and_everything_is_told(real_data):
    paths = [path for path in (real_data / "dicom").rglob("*") if path.is_file()]
    search = find_stacks(paths)
    assert search.stacks == ()
    assert {v.verdict for v in search.series} == {Verdict.REJECTED}
    assert {path.suffix for path, _ in search.unreadable} <= {".txt", ".md", ""}
    seen = sum(v.instances for v in search.series)
    assert seen + len(search.unreadable) >= len(paths) - 16  # four series are the same images, compressed differently


COMPRESSED = ("compressed_j2k", "compressed_jpeg", "compressed_jpegls", "compressed_rle")


@pytest.mark.slow
def test_real_compressed_series_decode_to_the_same_volume(real_data):
    folder = real_data / "dicom" / "dicom2nifti" / "tests" / "data" / "generic"
    volumes = {name: read_volume(stack_of(files(folder / name))) for name in COMPRESSED}
    first = volumes[COMPRESSED[0]]
    assert first.shape[0] == 4
    assert first.std() > 10
    for volume in volumes.values():
        np.testing.assert_array_equal(volume, first)


@pytest.mark.parametrize(
    ("folder", "frames"),
    [
        ("dicom2nifti/tests/data/philips_enhanced/anatomical", 8),
        ("dicom2nifti/tests/data/siemens_multiframe", 8),
        ("dcm_qa_enh/In/Philips", 64),
        ("dicom2nifti/tests/data/philips/anatomical", 4),
        ("dicom2nifti/tests/data/ge/anatomical", 4),
    ],
)
def test_real_frames_decode(folder, frames, real_data):
    stack = stack_of(files(real_data / "dicom" / folder))
    volume = read_volume(stack)
    assert volume.shape == (frames, stack.rows, stack.columns)
    assert np.isfinite(volume).all()
    assert (volume.std(axis=(1, 2)) > 0).all()
    assert len(input_digest(stack)) == 64
