"""Of a repeated slice the later image is used: later in time, not on a wall clock."""

import numpy as np
import pytest

from scarnode.pipeline.stack import find_stacks, read_volume
from scarnode.pipeline.stack.times import date_time, offset, seconds
from tests.pipeline.stack.builders import Study, enhanced, image, positions, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}


def shown(tmp_path, first, again, series=2):
    """Which image of slice 3 is used, of a stack and a repeat with these elements: "first" or "again"."""
    datasets = slices(S, 1, **LGE, **first)
    datasets += slices(
        S, series, at=[positions(10)[3]], pixels=lambda k: image(99), first_number=40, **{**LGE, **again}
    )
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    volume = read_volume(stack)
    return "again" if np.array_equal(volume[3], image(99)) else "first"


OCTOBER = {"AcquisitionDate": "20241027"}
CASES = {
    "offset in DT": ({"AcquisitionDateTime": "20241027025000+0200"}, {"AcquisitionDateTime": "20241027020500+0100"}),
    "TimezoneOffsetFromUTC": (
        {**OCTOBER, "AcquisitionTime": "025000", "TimezoneOffsetFromUTC": "+0200"},
        {**OCTOBER, "AcquisitionTime": "020500", "TimezoneOffsetFromUTC": "+0100"},
    ),
    "one of each": (
        {"AcquisitionDateTime": "20241027025000.5+0200"},
        {**OCTOBER, "AcquisitionTime": "020500", "TimezoneOffsetFromUTC": "+0100"},
    ),
    "the DT's own offset counts": (
        {"AcquisitionDateTime": "20241027025000+0200", "TimezoneOffsetFromUTC": "+0100"},
        {"AcquisitionDateTime": "20241027020500+0100", "TimezoneOffsetFromUTC": "+0100"},
    ),
    "west of Greenwich": (
        {"AcquisitionDateTime": "20241103015000-0400"},
        {"AcquisitionDateTime": "20241103010500-0500"},
    ),
    "another day": ({"AcquisitionDateTime": "20241027003000+1400"}, {"AcquisitionDateTime": "20241026235000+0100"}),
    "no offset": ({"AcquisitionDateTime": "20241027020500"}, {"AcquisitionDateTime": "20241027025000"}),
    "one states none": ({"AcquisitionDateTime": "20241027020500"}, {"AcquisitionDateTime": "20241027025000+0200"}),
}


@pytest.mark.parametrize("series", [1, 2], ids=["one series", "two series"])
@pytest.mark.parametrize("case", CASES)
def test_the_later_image_is_used(case, series, tmp_path):
    early, late = CASES[case]
    assert shown(tmp_path / "a", early, late, series) == "again"
    assert shown(tmp_path / "b", late, early, series) == "first"


def test_frames_of_enhanced_images(tmp_path):
    first, again = enhanced(count=5), enhanced(count=5, number=2, pixels=lambda k: image(90 + k))
    for ds, stated in ((first, "20241027025000+0200"), (again, "20241027020500+0100")):
        for group in ds.PerFrameFunctionalGroupsSequence:
            group.FrameContentSequence[0].FrameAcquisitionDateTime = stated
    (stack,) = find_stacks(save([first, again], tmp_path)).stacks
    np.testing.assert_array_equal(read_volume(stack), [image(90 + k) for k in range(5)])


def test_two_images_of_one_acquisition_are_twins_whatever_clock_they_state(tmp_path):
    datasets = slices(S, 1, **LGE, AcquisitionDateTime="20241027101500+0100")
    datasets += slices(S, 2, **LGE, AcquisitionDateTime="20241027091500+0000")
    search = find_stacks(save(datasets, tmp_path))
    assert sorted(v.reason for v in search.series) == ["DUPLICATE_RECONSTRUCTION", "LGE_SHORT_AXIS"]


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("+0200", 120), ("-0330", -210), ("+1400", 840), ("-1200", -720), ("+1500", None), ("0200", None), ("", None)],
)
def test_offset(text, minutes):
    assert offset(text) == minutes


def test_date_time():
    assert date_time("20241027025000.25+0200") == (("20241027", 25000.25), 120)
    assert date_time("20241027+0200") == (("20241027", 0.0), 120)
    assert date_time("x") == (("", 0.0), None)
    assert seconds(("20241027", 5000.5)) == pytest.approx(1729990200.5)
    assert seconds(("20241399", 5000.0)) is None
    assert seconds(("", 5000.0)) is None
    assert seconds(("20241027", float("inf"))) is None
    assert seconds(("20241027", 1e300)) is None


@pytest.mark.parametrize(
    "stated", ["00010101000000+1400", "99991231235959-1200", "2024" + "9" * 400 + "+0100", "+0100"]
)
def test_times_that_never_were_stop_nothing(stated, tmp_path):
    datasets = slices(S, 1, **LGE, AcquisitionDateTime="20241027025000+0200")
    for ds in datasets[:4]:
        ds.add_new("AcquisitionDateTime", "DT", None)
        ds["AcquisitionDateTime"]._value = stated
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    assert len(stack.frames) == 10
