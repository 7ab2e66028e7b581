"""Control characters and markup in a source's header reach no result, and stop none."""

from datetime import datetime

from pydicom import dcmread

from scarnode.analyse import write_objects
from scarnode.lab.phantom import PhantomSettings, make_phantom, write_dicom
from scarnode.measure import measure
from scarnode.report import KINDS, Provenance, build_results, save_page
from scarnode.segment import ModelIdentity, Segmentation
from scarnode.stack import find_stacks, read_volume

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
