"""Files made to use up memory or time: refused with a reason, before anything is allocated for them."""

import json
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from pydicom.uid import JPEG2000Lossless, JPEGLSLossless, RLELossless

from scarnode.pipeline.stack import find_stacks
from tests.pipeline.stack.builders import Study, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}
BOUND = 64 << 20
"""Bytes by which a reader may grow over one file of this module."""

PROBE = """
import json, sys, time
from pathlib import Path
from scarnode.dicom.scp import describe
from scarnode.pipeline.stack import find_stacks
good, bad = map(Path, sys.argv[1:])
find_stacks([good]); describe(good.parent, good)

def peak():  # getrusage's would be the parent's, where that was larger
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) << 10

Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
before, start = peak(), time.process_time()
search, row = find_stacks([bad]), describe(bad.parent, bad)
print(json.dumps([peak() - before, [why for _, why in search.unreadable], [v.reason for v in search.series],
    row.problem, time.process_time() - start]))
"""


def explicit(tag: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    length = len(value) if length is None else length
    return struct.pack("<HH2s2xI", tag >> 16, tag & 0xFFFF, vr, length) + value


ITEM, ITEM_END = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF), struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
ENDLESS = struct.pack("<HH2s2xI", 0x0008, 0x1115, b"SQ", 0xFFFFFFFF)


def deflated(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    head = packer.compress(explicit(0x00420011, b"OB", b"", size)) + packer.flush(zlib.Z_FULL_FLUSH)
    megabyte = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return head + megabyte * (size >> 20) + packer.flush()


def empty_elements(count: int) -> bytes:
    """Each of another tag, in private groups."""
    numbers = np.arange(count)
    table = np.zeros(count, [("group", "<u2"), ("element", "<u2"), ("vr", "S2"), ("length", "<u2")])
    table["group"], table["element"], table["vr"] = 0x0009 + numbers // 60_000 * 2, numbers % 60_000, b"LO"
    return table.tobytes()


HOSTILE = {
    "deflate bomb: 1 MB to 1 GB": ("1.2.840.10008.1.2.1.99", lambda: deflated(1 << 30), "OVERSIZED"),
    "sequences 100 000 deep": ("1.2.840.10008.1.2.1", lambda: (ENDLESS + ITEM) * 100_000, "OVERSIZED"),
    "sequences of defined length, 40 000 deep": ("1.2.840.10008.1.2.1", lambda: nested(40_000), "OVERSIZED"),
    "a sequence without an end": ("1.2.840.10008.1.2.1", lambda: ENDLESS + ITEM + bytes(100_000), "DAMAGED_HEADER"),
    "5 million empty items": (
        "1.2.840.10008.1.2.1",
        lambda: ENDLESS + struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 5_000_000,
        "OVERSIZED",
    ),
    "600 000 elements": ("1.2.840.10008.1.2.1", lambda: empty_elements(600_000), "OVERSIZED"),
    "a name of 200 MB": (
        "1.2.840.10008.1.2",
        lambda: struct.pack("<HHI", 0x0010, 0x0010, 200 << 20) + b"A" * (200 << 20),
        "OVERSIZED",
    ),
    "an element of 4 GB that is not there": (
        "1.2.840.10008.1.2",
        lambda: struct.pack("<HHI", 0x0010, 0x0010, 0xFFFFFFFE),
        ("TRUNCATED_HEADER", "DAMAGED_HEADER", "OVERSIZED"),
    ),
}


def nested(depth: int) -> bytes:
    """Sequences of defined length, one in the other: each header states how long what follows is."""
    return b"".join(
        struct.pack("<HH2s2xIHHI", 0x0008, 0x1115, b"SQ", 20 * (depth - k) - 12, 0xFFFE, 0xE000, 20 * (depth - k) - 20)
        for k in range(depth)
    )


def with_meta(folder: Path, syntax: str, dataset: bytes) -> Path:
    """A file as the spool writes it."""
    from scarnode.dicom.scp import Incoming, Spool

    spool = Spool(folder / "spool")
    path = spool.store(Incoming("1.2.840.10008.5.1.4.1.1.4", "1.2.3", syntax, "SCANNER", "SCARNODE", dataset))
    spool.close()
    return path


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="no /proc")
@pytest.mark.parametrize("name", HOSTILE)
def test_reading_it_takes_little_memory_and_time(name, tmp_path):
    syntax, content, reasons = HOSTILE[name]
    good = with_meta(tmp_path / "good", "1.2.840.10008.1.2.1", b"")
    bad = with_meta(tmp_path, syntax, content())
    done = subprocess.run(
        [sys.executable, "-c", PROBE, str(good), str(bad)], capture_output=True, text=True, timeout=60, check=True
    )
    grown, unreadable, series, problem, _ = json.loads(done.stdout)
    assert grown < BOUND, f"{grown >> 20} MiB"
    assert series == []
    assert unreadable[0].startswith(reasons)
    assert problem


def reason_of(paths) -> list[str]:
    return sorted(verdict.reason for verdict in find_stacks(paths).series)


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless, "1.2.840.10008.1.2.4.70"])
def test_a_codestream_of_another_size_than_its_header_is_not_decoded(syntax, tmp_path):
    """65535 x 65535 in the codestream, 16 x 16 in the header."""
    paths = save(slices(S, 1, **LGE), tmp_path, syntax)
    assert reason_of(paths) == ["LGE_SHORT_AXIS"]
    content = bytearray(paths[4].read_bytes())
    if syntax == JPEG2000Lossless:
        start = content.index(b"\xff\x4f\xff\x51") + 8
        content[start : start + 8] = struct.pack(">II", 65535, 65535)
    else:
        start = content.index(b"\xff\xf7" if syntax == JPEGLSLossless else b"\xff\xc3", content.index(b"\xff\xd8")) + 5
        content[start : start + 4] = struct.pack(">HH", 65535, 65535)
    paths[4].write_bytes(content)
    assert reason_of(paths) == ["INCONSISTENT_PIXELS", "LGE_SHORT_AXIS"]


def test_rle_that_unpacks_to_gigabytes_is_not_decoded(tmp_path):
    paths = save(slices(S, 1, **LGE), tmp_path, RLELossless)
    assert reason_of(paths) == ["LGE_SHORT_AXIS"]
    content = paths[4].read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OB\0\0") + 12
    bomb = struct.pack("<16I", 1, 64, *[0] * 14) + b"\x81\x00" * (1 << 20)
    fragments = struct.pack("<HHI", 0xFFFE, 0xE000, 0) + struct.pack("<HHI", 0xFFFE, 0xE000, len(bomb)) + bomb
    paths[4].write_bytes(content[:start] + fragments + struct.pack("<HHI", 0xFFFE, 0xE0DD, 0))
    assert reason_of(paths) == ["INCONSISTENT_PIXELS", "LGE_SHORT_AXIS"]


def test_a_stack_larger_than_any_scan_is_not_analysed(tmp_path, monkeypatch):
    monkeypatch.setattr("scarnode.pipeline.stack.assemble.MAX_VOXELS", 10 * 16 * 16 - 1)
    assert reason_of(save(slices(S, 1, **LGE), tmp_path)) == ["TOO_MANY_PIXELS"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Rows": 65535, "Columns": 65535}, "TRUNCATED_PIXEL_DATA"),
        ({"Rows": 65535, "Columns": 0}, "BAD_SIZE"),
        ({"BitsAllocated": 65535}, "TRUNCATED_PIXEL_DATA"),
        ({"NumberOfFrames": 2**31 - 1}, "INCONSISTENT_FRAMES"),
        ({"NumberOfFrames": -1}, "INCONSISTENT_FRAMES"),
    ],
)
def test_absurd_sizes_are_told_from_the_header(change, reason, tmp_path):
    datasets = slices(S, 1, **LGE)
    for keyword, value in change.items():
        setattr(datasets[4], keyword, value)
    assert reason_of(save(datasets, tmp_path)) == sorted([reason, "LGE_SHORT_AXIS"])


def test_an_enhanced_instance_of_two_thousand_million_frames_is_told_from_the_header(tmp_path):
    from tests.pipeline.stack.builders import enhanced

    ds = enhanced(S, 1, count=4)
    ds.NumberOfFrames = 2**31 - 1
    assert reason_of(save([ds], tmp_path)) in (["INCONSISTENT_FRAMES"], ["TRUNCATED_PIXEL_DATA"])


def test_a_long_header_that_is_sound_is_read(tmp_path):
    """The walk that counts must come to the same end as the parser, whatever the encoding."""
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99"):
        datasets = slices(S, 1, **LGE)
        for ds in datasets:
            ds.private_block(0x0099, "SOMEONE", create=True).add_new(1, "OB", bytes(300 << 10))
        assert reason_of(save(datasets, tmp_path / syntax, syntax)) == ["LGE_SHORT_AXIS"]
