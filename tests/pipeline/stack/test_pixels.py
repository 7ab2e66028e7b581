"""Decoding: every transfer syntax gives the same volume; rescale, padding, MONOCHROME1 are honoured."""

import json
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from scarnode.pipeline.stack import find_stacks, read_volume
from scarnode.pipeline.stack.decode import DecodeError, _decode_apart
from scarnode.util.child import ChildEndedError, ChildProcess
from scarnode.util.errors import InputError, SystemFaultError, system_fault
from tests.harness.tools import wait_until
from tests.pipeline.stack.builders import Study, enhanced, image, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}
SYNTAXES = [
    ImplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEG2000Lossless,
    RLELossless,
]


def signed(index):
    return image(index).astype(np.int16) - 2000


def volume_of(paths):
    (stack,) = find_stacks(paths).stacks
    volume = read_volume(stack)
    assert volume.dtype == np.float32
    assert volume.shape == (len(stack.frames), stack.rows, stack.columns)
    return volume


@pytest.mark.parametrize("picture", [image, signed], ids=["unsigned", "signed"])
@pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.keyword)
def test_transfer_syntaxes(syntax, picture, tmp_path):
    paths = save(slices(count=3, pixels=picture, **LGE), tmp_path, syntax)
    np.testing.assert_array_equal(volume_of(paths), [picture(i) for i in range(3)])


DCMTK = {
    "JPEG lossless .57": ("dcmcjpeg", "+el"),
    "JPEG lossless .70": ("dcmcjpeg", "+e1"),
    "JPEG-LS": ("dcmcjpls", "+el"),
    "RLE": ("dcmcrle", None),
}


@pytest.mark.parametrize("name", DCMTK)
def test_images_compressed_by_another_toolkit(name, tmp_path):
    tool, option = DCMTK[name]
    if not shutil.which(tool):
        pytest.skip(f"{tool} is not installed (Debian package dcmtk)")
    paths = save(slices(count=3, **LGE), tmp_path)
    for path in paths:
        command = [tool, *([option] if option else []), str(path), str(path) + ".c"]
        subprocess.run(command, check=True, capture_output=True)
        path.with_suffix(".dcm.c").rename(path)
    np.testing.assert_array_equal(volume_of(paths), [image(i) for i in range(3)])


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian, JPEGLSLossless, RLELossless],
    ids=lambda uid: uid.keyword,
)
def test_enhanced_transfer_syntaxes(syntax, tmp_path):
    order = [2, 0, 3, 1]
    paths = save(enhanced(count=4, order=order), tmp_path, syntax)
    np.testing.assert_array_equal(volume_of(paths), [image(i) for i in range(4)])


def test_rescale_of_each_slice(tmp_path):
    datasets = slices(
        count=4, RescaleSlope=lambda i: 0.5 + i, RescaleIntercept=lambda i: -100.0 * i, pixels=image, **LGE
    )
    expected = [image(i) * (0.5 + i) - 100.0 * i for i in range(4)]
    np.testing.assert_allclose(volume_of(save(datasets, tmp_path)), expected, rtol=1e-6)


def test_rescale_of_each_frame(tmp_path):
    paths = save(enhanced(count=4, order=[3, 1, 0, 2], rescale=lambda i: (2.0 + i, -50.0)), tmp_path)
    np.testing.assert_allclose(volume_of(paths), [image(i) * (2.0 + i) - 50 for i in range(4)], rtol=1e-6)


@pytest.mark.parametrize("slope", ["0", "nan", "x"])
def test_rescale_that_means_nothing(slope, tmp_path):
    (first, *rest) = slices(count=3, RescaleIntercept="0", **LGE)
    first.add_new(0x00281053, "LO", slope)  # as text: pydicom would not write it as a DS
    paths = save([first, *rest], tmp_path)
    (stack,) = find_stacks(paths).stacks
    with pytest.raises(InputError, match="RescaleSlope"):
        read_volume(stack)


@pytest.mark.parametrize("stated", [-32768, 32768])
def test_padding_takes_the_smallest_real_value(stated, tmp_path):
    def padded(index):
        picture = signed(index)
        picture[:, :4] = -32768
        return picture

    datasets = slices(count=3, pixels=padded, **LGE)
    for ds in datasets:
        ds.add_new(0x00280120, "SS" if stated < 0 else "US", stated)
    volume = volume_of(save(datasets, tmp_path))
    for index, plane in enumerate(volume):
        assert (plane[:, :4] == signed(index)[:, 4:].min()).all()
        np.testing.assert_array_equal(plane[:, 4:], signed(index)[:, 4:])


def test_slice_of_nothing_but_padding(tmp_path):
    datasets = slices(count=3, pixels=lambda i: np.zeros((16, 16), np.uint16) if i == 0 else image(i), **LGE)
    for ds in datasets:
        ds.add_new(0x00280120, "US", 0)
    assert (volume_of(save(datasets, tmp_path))[0] == 0).all()


def test_monochrome1_is_inverted(tmp_path):
    datasets = slices(count=3, PhotometricInterpretation="MONOCHROME1", RescaleSlope="2", RescaleIntercept="1", **LGE)
    expected = [(4095.0 - image(i)) * 2 + 1 for i in range(3)]
    np.testing.assert_array_equal(volume_of(save(datasets, tmp_path)), expected)


def test_volume_runs_base_to_apex_whatever_the_file_order(tmp_path):
    datasets = slices(count=6, **LGE)
    paths = save(datasets[::-1], tmp_path)
    np.testing.assert_array_equal(volume_of(paths), [image(i) for i in range(6)])


def test_rectangular_images(tmp_path):
    paths = save(slices(count=3, pixels=lambda i: image(i, 12, 20), **LGE), tmp_path)
    assert volume_of(paths).shape == (3, 12, 20)


@pytest.mark.parametrize("damage", ["gone", "noise", "other size"])
def test_instance_that_can_not_be_decoded(damage, tmp_path):
    paths = save(slices(count=3, **LGE), tmp_path, JPEGLSLossless)
    (stack,) = find_stacks(paths).stacks
    if damage == "gone":
        paths[1].unlink()
    elif damage == "noise":
        data = paths[1].read_bytes()
        at = data.index(b"\xff\xd8\xff")  # start of the JPEG-LS stream
        paths[1].write_bytes(data[: at + 2] + bytes(len(data) - at - 2))
    else:
        paths[1].write_bytes(
            save(slices(count=3, pixels=lambda i: image(i, 8, 8), **LGE), tmp_path / "b")[1].read_bytes()
        )
    with pytest.raises(InputError) as caught:
        read_volume(stack)
    uid = stack.frames[1].sop_instance_uid
    assert "instance " in str(caught.value)
    assert uid not in str(caught.value)
    assert "Phantom" not in str(caught.value)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEGLSLossless, JPEG2000Lossless], ids=lambda uid: uid.keyword)
def test_codec_that_crashes_takes_nothing_along(syntax, tmp_path):
    """Damaged streams abort some codecs: this process lives on and names the instance, or gets some pixels."""
    paths = save(slices(count=3, **LGE), tmp_path, syntax)
    (stack,) = find_stacks(paths).stacks
    data = paths[1].read_bytes()
    start = data.index(b"\xff\x4f" if syntax == JPEG2000Lossless else b"\xff\xd8")
    rng = np.random.default_rng(4)
    refused = 0
    for _ in range(2):
        damaged = bytearray(data)
        for at in rng.integers(start + 2, start + 60, 6):
            damaged[at] = rng.integers(256)
        paths[1].write_bytes(damaged)
        try:
            read_volume(stack)
        except InputError as error:
            refused += 1
            assert "instance " in str(error)
    assert refused


def test_syntaxes_are_what_they_say(tmp_path):
    from pydicom import dcmread

    for number, syntax in enumerate(SYNTAXES):
        (path,) = save(slices(count=1), tmp_path / str(number), syntax)
        assert UID(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID) == syntax


def test_codec_that_runs_for_ever_ends_though_nobody_waits_for_it_any_more(tmp_path):
    """A worker that is killed can not end its codec process: the kernel does."""
    if not Path("/proc/self/limits").exists():
        pytest.skip("no /proc here")
    os.mkfifo(tmp_path / "image.dcm")  # reading it waits: time to look
    codec = ChildProcess("scarnode.pipeline.stack.codec_process")
    waiting = threading.Thread(target=_decode, args=[codec, [[str(tmp_path / "image.dcm"), 0]] * 3])
    waiting.start()
    limits = Path(f"/proc/{codec.pid}/limits")
    wait_until(lambda: re.search(r"Max cpu time +75 +75 +seconds", limits.read_text()), 30, "the limit")
    codec.kill()
    waiting.join()


def _decode(codec, wanted):
    with pytest.raises(ChildEndedError, match="SIGKILL"):
        codec.request(json.dumps(wanted).encode(), 60)


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, JPEGLSLossless])
def test_an_image_that_the_disk_does_not_give_is_the_systems_fault(syntax, tmp_path):
    paths = save(slices(count=3, **LGE), tmp_path / "in", syntax)
    (stack,) = find_stacks(paths).stacks
    (tmp_path / "in").rename(tmp_path / "away")
    with pytest.raises(SystemFaultError) as caught:
        read_volume(stack)
    assert caught.value.missing
    assert caught.value.where.startswith("instance ")


def test_one_that_goes_away_between_two_looks_of_the_decoder_is_told_by_its_process(tmp_path):
    [path] = save(slices(count=1, **LGE), tmp_path, JPEGLSLossless)
    with pytest.raises(DecodeError) as caught:
        _decode_apart([(tmp_path / "gone.dcm", 0), (path, 0)], [0, 1])
    fault = system_fault(caught.value)
    assert fault is not None
    assert fault.missing


# --- values that do not lie at the bottom of their cells ------------------------------------------


def in_cells(datasets, stored, high, beside=0):
    """Move 12-bit values up so that their highest bit is `high`; fill the rest of the cell with `beside`."""
    shift = high + 1 - stored
    mask = ((1 << stored) - 1) << shift
    for ds in datasets:
        signed = ds.PixelRepresentation == 1
        values = np.frombuffer(ds.PixelData, "<i2" if signed else "<u2").astype(np.int64)
        cells = ((values << shift) & mask) | (beside & ~mask & 0xFFFF)
        ds.PixelData = cells.astype("<u2").tobytes()
        ds.BitsStored, ds.HighBit = stored, high
    return datasets


@pytest.mark.parametrize("beside", [0, 0xFFFF, 0xA5A5], ids=["empty", "full", "overlay"])
@pytest.mark.parametrize(("stored", "high"), [(12, 15), (12, 14), (12, 12), (13, 15), (12, 11)])
@pytest.mark.parametrize("picture", [image, signed], ids=["unsigned", "signed"])
def test_high_bit(picture, stored, high, beside, tmp_path):
    datasets = in_cells(slices(count=3, pixels=picture, **LGE), stored, high, beside)
    np.testing.assert_array_equal(volume_of(save(datasets, tmp_path)), [picture(i) for i in range(3)])


def test_high_bit_of_eight_bit_cells(tmp_path):
    pixels = [(image(i) >> 6).astype(np.uint8) for i in range(3)]
    datasets = slices(count=3, **LGE)
    for ds, values in zip(datasets, pixels, strict=True):
        ds.BitsAllocated, ds.BitsStored, ds.HighBit = 8, 6, 7
        ds.add_new("PixelData", "OB", (values << 2 | 1).astype(np.uint8).tobytes())
    np.testing.assert_array_equal(volume_of(save(datasets, tmp_path)), pixels)


@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, ExplicitVRBigEndian], ids=lambda uid: uid.keyword)
def test_high_bit_in_another_transfer_syntax(syntax, tmp_path):
    """Compressed as 16 bits that hold cells, then labelled as 12 bits at the top of them."""
    datasets = in_cells(slices(count=3, **LGE), 12, 15)
    for ds in datasets:
        ds.BitsStored = 16
    paths = save(datasets, tmp_path, syntax)
    for path in paths:
        ds = dcmread(path)
        ds.BitsStored, ds.HighBit = 12, 15
        ds.save_as(path)
    np.testing.assert_array_equal(volume_of(paths), [image(i) for i in range(3)])


def test_high_bit_below_the_stored_bits_means_nothing(tmp_path):
    """Seen where somebody changed one of the two: the values lie where all others have theirs."""
    paths = save(slices(count=3, HighBit=7, **LGE), tmp_path)
    np.testing.assert_array_equal(volume_of(paths), [image(i) for i in range(3)])
