"""Control characters and markup in a source's header reach no result, and stop none."""

from datetime import datetime, timezone

import pytest
from pydicom import dcmread

from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.analyse import write_objects
from scarnode.pipeline.measure import measure
from scarnode.pipeline.report import KINDS, Provenance, build_results, save_page
from scarnode.pipeline.segment import ModelIdentity, Segmentation
from scarnode.pipeline.stack import Flag, find_stacks, read_volume

HOSTILE = {
    "PatientName": "\x1b[2J\x9b31m^\x00<&>'\"\u202e]]>",
    "PatientID": "\x1b[2J)\\(<script>",
    "AccessionNumber": "../../x\x1b",
    "StudyDescription": "</text>\x1b]0;owned\x07",
    "InstitutionName": "a\r\nb\u2028c",
}


def test_results_hold_no_control_character_and_stay_where_they_belong(tmp_path):
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude", scar_fraction=0.2))
    paths = write_dicom(phantom, tmp_path / "in")
    for path in paths:
        ds = dcmread(path)
        ds.SpecificCharacterSet = "ISO_IR 192"
        for keyword, value in HOSTILE.items():
            setattr(ds, keyword, value)
        ds.save_as(path)
    [stack] = find_stacks(paths).stacks
    found, volume = Segmentation(phantom.label, None, ModelIdentity("n", "1", "f" * 64, "")), read_volume(stack)
    provenance = Provenance("k" * 64, "d" * 64, "1", datetime(2026, 1, 1))
    objects = build_results(stack, volume, found, measure(stack, volume, found), provenance, KINDS)
    files = write_objects(objects, tmp_path / "out")
    save_page(objects.sc, tmp_path / "out" / "page.png")
    for file in files.values():
        for element in dcmread(file, stop_before_pixels=True).iterall():
            if element.VR in ("PN", "LO", "SH", "ST", "LT", "UT", "UC", "UI"):
                assert str(element.value).replace("\n", "").isprintable(), (file.name, element.keyword)
    assert {path.name for path in tmp_path.iterdir()} == {"in", "out"}


def written(tmp_path, made_at=datetime(2026, 1, 1), **header):
    """Write a source with a header, and give its stack and its results, read again from their files."""
    phantom = make_phantom(2, PhantomSettings(matrix=(96, 96), slices=3, component="magnitude", scar_fraction=0.2))
    paths = write_dicom(phantom, tmp_path / "in")
    for path in paths:
        ds = dcmread(path)
        for keyword, value in header.items():
            setattr(ds, keyword, value)
        ds.save_as(path)
    [stack] = find_stacks(paths).stacks
    found, volume = Segmentation(phantom.label, None, ModelIdentity("n", "1", "f" * 64, "")), read_volume(stack)
    provenance = Provenance("k" * 64, "d" * 64, "1", made_at)
    objects = build_results(stack, volume, found, measure(stack, volume, found), provenance, KINDS)
    return stack, [dcmread(file) for file in write_objects(objects, tmp_path / "out").values()]


def test_numbers_are_written_whole_in_every_object(tmp_path):
    header = {
        "AccessionNumber": "2026-HOSP-MR-0001234",
        "StudyID": "STUDY-2026-HOSPITAL-0001234",
        "PatientID": "P" * 80,
        "IssuerOfPatientID": "I" * 80,
        "PatientName": "F" * 70 + "^G",
    }
    stack, results = written(tmp_path, **header)
    assert stack.left_empty == ()
    for ds in results:
        assert {keyword: str(ds[keyword].value) for keyword in header} == header


def test_what_can_not_be_taken_over_is_empty_flagged_and_named(tmp_path):
    stack, results = written(tmp_path, AccessionNumber="AC\x07C1", PatientAge="45", SpecificCharacterSet="KLINGON")
    assert Flag.IDENTITY_INCOMPLETE in stack.flags
    assert stack.left_empty == ("AccessionNumber", "PatientAge")
    for ds in results:
        assert ds.AccessionNumber == ""
        assert "PatientAge" not in ds


@pytest.mark.parametrize(
    ("offset", "date", "time"),
    [("+1400", "20261201", "061000"), ("-0500", "20261130", "111000"), ("+05:30", "20261130", "214000")],
)
def test_times_are_told_on_the_clock_of_the_source(tmp_path, offset, date, time):
    made_at = datetime(2026, 11, 30, 16, 10, tzinfo=timezone.utc)
    _, results = written(tmp_path, made_at, TimezoneOffsetFromUTC=offset)
    for ds in results:
        assert ds.TimezoneOffsetFromUTC == offset.replace(":", "")
        assert (ds.ContentDate, ds.ContentTime[:6]) == (date, time)
        assert (ds.InstanceCreationDate, ds.SeriesDate) == (date, date)
        moments = [
            item.ContributionDateTime for item in ds.ContributingEquipmentSequence if "ContributionDateTime" in item
        ]
        assert {moment[:14] for moment in map(str, moments)} == {date + time}
        assert all(str(moment).endswith(offset.replace(":", "")) for moment in moments)


def test_without_an_offset_none_is_stated(tmp_path):
    _, results = written(tmp_path, datetime(2026, 11, 30, 16, 10, tzinfo=timezone.utc))
    assert all("TimezoneOffsetFromUTC" not in ds for ds in results)
