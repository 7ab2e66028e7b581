"""An SR's numbers are read back as they were measured."""

import pytest
from pydicom import dcmread

from scarnode.pipeline.report.readback import read_numbers
from tests.pipeline.report.sources import FAILED, MATRIX


@pytest.mark.parametrize("label", MATRIX)
def test_numbers_come_back(study, label):
    case, results = study(label)
    read = read_numbers(results.sr)
    if label == FAILED:
        assert read == type(read)(None, None, None, None, (), (), ())
        return
    measured = case.arguments[3]
    assert read.burden == measured.burden
    assert read.scar_mass == pytest.approx(measured.scar_mass, abs=1e-4)
    assert read.myocardium_mass == pytest.approx(measured.myocardium_mass, abs=1e-4)
    if measured.lge_interval is None or measured.lge_percent is None:
        assert read.lge_interval is None
    else:
        assert read.lge_interval == pytest.approx(measured.lge_interval, abs=2e-4)
    assert len(read.slices) == len(measured.slices)
    for mine, true in zip(read.slices, measured.slices, strict=True):
        assert mine.index == true.index
        assert (mine.scar_volume, mine.normal_volume) == pytest.approx((true.scar_volume, true.normal_volume), abs=1e-4)
        assert mine.lge_percent == pytest.approx(true.lge_percent, abs=1e-4)
    assert [(one.number, one.transmurality) for one in read.segments] == [
        (one.number, one.transmurality) for one in measured.segments
    ]
    for mine, true in zip(read.segments, measured.segments, strict=True):
        assert mine.volume == pytest.approx(true.volume, abs=1e-4)
        assert mine.lge_percent == pytest.approx(true.lge_percent, abs=1e-4)
    assert [one.method for one in read.by_threshold] == [one.method for one in measured.by_threshold]


def test_the_file_says_the_same(study, tmp_path):
    label = next(label for label in MATRIX if label != FAILED)
    _, results = study(label)
    results.sr.save_as(tmp_path / "sr.dcm", enforce_file_format=True)
    assert read_numbers(dcmread(tmp_path / "sr.dcm")) == read_numbers(results.sr)
