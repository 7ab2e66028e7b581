"""A value is taken over as it came, or it is empty and that is known; it is never cut or changed in meaning."""

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from scarnode.dicom.values import read_value
from scarnode.util.text import one_line


def header(keyword, raw, character_set=b""):
    dataset = Dataset()
    for name, value in (("SpecificCharacterSet", character_set), (keyword, raw)):
        tag = Tag(tag_for_keyword(name))
        dataset[tag] = RawDataElement(tag, dictionary_VR(tag), len(value), value, 0, False, True)
    return dataset


@pytest.mark.parametrize(
    ("keyword", "raw", "text"),
    [
        ("AccessionNumber", b"2026-HOSP-MR-0001234", "2026-HOSP-MR-0001234"),
        ("StudyID", b"S" * 40, "S" * 40),
        ("PatientID", b"P" * 100, "P" * 100),
        ("PatientID", b" 0012345 ", "0012345"),
        ("PatientID", b"0012345\0", "0012345"),
        ("IssuerOfPatientID", b"I" * 80, "I" * 80),
        ("PatientName", b"F" * 70 + b"^G", "F" * 70 + "^G"),
        ("PatientName", b"A^B^C^D^E^F", "A^B^C^D^E^F"),
        ("PatientBirthDate", b"19500101", "19500101"),
        ("PatientBirthDate", b"1950.01.01", "19500101"),
        ("PatientBirthDate", b"1950-01-01", "19500101"),
        ("StudyTime", b"10:15:30.1234567", "101530.123456"),
        ("StudyTime", b"1015", "1015"),
        ("PatientSex", b"Male", "M"),
        ("PatientSex", b"female", "F"),
        ("PatientSex", b"U", ""),
        ("PatientWeight", b"75,5", "75.5"),
        ("PatientAge", b"045Y", "045Y"),
        ("TimezoneOffsetFromUTC", b"+02:00", "+0200"),
        ("TimezoneOffsetFromUTC", b"-0000", "+0000"),
        ("StudyID", b"S1\\S1", "S1"),
        ("AccessionNumber", b"", ""),
    ],
)
def test_as_it_came(keyword, raw, text):
    value = read_value(header(keyword, raw), keyword)
    assert (value.text, value.lost) == (text, False)


@pytest.mark.parametrize(
    ("keyword", "raw"),
    [
        ("AccessionNumber", b"AC\x07C1"),
        ("AccessionNumber", b"A1\\A2"),
        ("PatientID", b"ID\x1b[2J7"),
        ("PatientID", b"P" * 300),
        ("PatientID", b"AB\\12"),
        ("PatientName", b"ESC\x1b[31mRED^A"),
        ("PatientName", b"A=B=C=D"),
        ("PatientName", b"\xb8\xd2\xd0\xdd"),
        ("PatientBirthDate", b"19501301"),
        ("PatientBirthDate", b"01/02/1950"),
        ("PatientAge", b"45"),
        ("PatientWeight", b"heavy"),
        ("PatientWeight", b"75,500"),
        ("PatientSex", b"X"),
        ("StudyTime", b"25:61"),
        ("TimezoneOffsetFromUTC", b"+9900"),
        ("TimezoneOffsetFromUTC", b"CET"),
    ],
)
def test_empty_and_known(keyword, raw):
    value = read_value(header(keyword, raw), keyword)
    assert (value.text, value.lost) == ("", True)


def test_a_line_holds_nothing_that_a_terminal_obeys():
    assert one_line("psir \x1b]0;x\x07sa\nnext\u202e\x9b31m") == "psir ]0;x sa next 31m"
