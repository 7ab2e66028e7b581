"""No validator finds an error in what is built, whatever the source; every warning is known by its exact text."""

import dataclasses
import itertools
import shutil
import subprocess

import pytest
from pydicom import dcmread
from sources import FAILED, MATRIX, NAMES, TYPE_2, Case, make_case

from scarnode.report import build_results

DCIODVFY = {
    "Warning - Dicom dataset contains attributes not present in standard DICOM IOD"
    " - this is a Standard Extended SOP Class": "because of Device UID",
    "Warning - Attribute is not present in standard DICOM IOD - (0x0018,0x1002) UI Device UID ": (
        "IHE AI Results asks for it in ContributingEquipmentSequence; dciodvfy's tables lack it there"
    ),
    "Warning - Unrecognized defined term <99SCARNODE> for value 1 of attribute <Coding Scheme Designator>": (
        "dciodvfy says so of every private scheme; CodingSchemeIdentificationSequence identifies it"
    ),
}
NOT_STATED = {
    f"Warning - Missing attribute or value that would be needed to build DICOMDIR - {name}": "not in the source"
    for name in ("Patient ID", "Study Date", "Study Time", "Study ID")
}
UNSTATED = {"empty type 2", "absent type 2"}
BROKEN_TIME = "Warning - Missing attribute or value that would be needed to build DICOMDIR - Study Time"


@pytest.fixture(params=MATRIX)
def written(request, study):
    """Name of the case, the case, and the folder with sources and results."""
    case, _ = study(request.param)
    return request.param, case, case.files[0].parent


def run(tool, *arguments, cwd):
    path = shutil.which(tool, path="/usr/bin:/usr/local/bin") or shutil.which(tool)
    if path is None:
        pytest.skip(f"{tool} is not installed")
    done = subprocess.run([path, *arguments], cwd=cwd, capture_output=True, check=False)
    return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if line]


OBJECTS = [(label, name) for label in MATRIX for name in NAMES if (label, name) != (FAILED, "seg.dcm")]


@pytest.mark.parametrize(("label", "name"), OBJECTS)
def test_dciodvfy(study, label, name):
    case, _ = study(label)
    folder = case.files[0].parent
    _, _, lines = run("dciodvfy", name, cwd=folder)
    kind = {"seg.dcm": "Segmentation", "sr.dcm": "Comprehensive3DSR", "sc.dcm": "SCImage"}[name]
    assert kind.encode() in lines
    allowed = {
        *DCIODVFY,
        *(NOT_STATED if label in UNSTATED else ()),
        *([BROKEN_TIME] if label == "broken values" else ()),
    }
    assert {line.decode(errors="replace") for line in lines} - {kind} - allowed == set()


def test_dcentvfy(written):
    """Patient, study and frame of reference agree between the results and the sources."""
    label, case, folder = written
    sources = [path.name for path in case.files]
    results = [name for name in NAMES if (folder / name).exists()]
    _, _, lines = run("dcentvfy", *sources, *results, cwd=folder)
    assert set(lines) - _known_to_dcentvfy(label, case, sources) == set()


def _known_to_dcentvfy(label: str, case: Case, sources: list[str]) -> set[bytes]:
    """The exact lines that dcentvfy may write, each for a reason."""
    pairs = [f"<{a}> versus <{b}>".encode() for a, b in itertools.permutations([*sources, *NAMES], 2)]
    # An SR refers to requests, so dcentvfy counts its AccessionNumber to the series and the image's to the study
    known = {
        b"Warning - Different information entities for attribute - Element=<AccessionNumber> IE <%s> versus <%s>"
        b" for file %s" % (a, b, pair)
        for pair in pairs
        for a, b in ((b"Study", b"Series"), (b"Series", b"Study"))
    }
    raw = dcmread(case.files[0], stop_before_pixels=True)
    result = dcmread(case.files[0].parent / "sr.dcm", stop_before_pixels=True)
    # dcentvfy compares bytes without decoding the character set, and knows values that had to be mended
    mended = {
        "Japanese": ["PatientName"],
        "Chinese": ["PatientName"],
        "Arabic": ["PatientName"],
        "Latin-1": ["PatientName"],
        "over-long": ["StudyID", "AccessionNumber"],
        "broken values": ["PatientSex", "PatientAge", "PatientSize", "StudyTime", "PatientBirthDate"],
        "two values where one is allowed": ["StudyID", "ReferringPhysicianName"],
    }.get(label, [])
    for keyword in mended:
        entity = b"Patient" if keyword in ("PatientName", "PatientSex", "PatientBirthDate") else b"Study"
        values = [
            bytes(dataset.get_item(keyword).value or b"").strip() if keyword in dataset else b""
            for dataset in (raw, result)
        ]
        for pair, (a, b) in itertools.product(pairs, itertools.permutations(values, 2)):
            known.add(
                b"Error - String attribute has different value - Element=<%s> IE=<%s> for file %s"
                b" Value 1 <%s> versus <%s>" % (keyword.encode(), entity, pair, a, b)
            )
        known |= {
            b"Error - Attribute has different value multiplicity - %d versus %d - Element=<%s> IE=<%s> for file %s"
            % (a, b, keyword.encode(), entity, pair)
            for pair in pairs
            for a, b in ((1, 2), (2, 1))
            if label == "two values where one is allowed"
        }
    # type 2 attributes that the source lacks are inserted empty; broken values are emptied, or left out if not type 2
    one_sided = {"absent type 2": TYPE_2, "broken values": mended}.get(label, [])
    messages = (
        b"Warning - Attribute present in one instance but not the other - Element=<%s> IE=<%s> for file %s",
        b"Warning - Attribute is empty (zero length) in one instance - OK only If Type 2 attribute in that IOD"
        b" - Element=<%s> IE=<%s> for file %s",
    )
    for keyword, pair, entity, message in itertools.product(one_sided, pairs, (b"Patient", b"Study"), messages):
        known.add(message % (keyword.encode(), entity, pair))
    return known


@pytest.mark.parametrize(("label", "name"), OBJECTS)
def test_dcm2json(study, label, name):
    case, _ = study(label)
    code, out, lines = run("dcm2json", name, cwd=case.files[0].parent)
    assert (code, lines) == (0, [])
    assert out.startswith(b"{")


def test_dsrdump(written):
    _, _, folder = written
    code, out, lines = run("dsrdump", "sr.dcm", cwd=folder)
    # it can not check the value representations of UTF-8 text
    assert set(lines) <= {b"W: The VR checker does not support this Specific Character Set: ISO_IR 192"}
    assert code == 0
    assert b"Imaging Measurement Report" in out


@pytest.mark.parametrize("label", ["Japanese", "Chinese", "Arabic", "Latin-1"])
def test_names_survive_the_change_of_character_set(tmp_path, label):
    case = make_case(tmp_path, dataclasses.replace(MATRIX[label], slices=2))
    for _, dataset in build_results(*case.arguments).items():
        assert str(dataset.PatientName) == MATRIX[label].header["PatientName"]
        assert dataset.SpecificCharacterSet == "ISO_IR 192"


def test_no_warning_tells_a_name(tmp_path, recwarn, caplog):
    """Libraries quote the values that they complain of; those are patient data and would end up in a log."""
    case = make_case(
        tmp_path, dataclasses.replace(MATRIX["one series"], header={"PatientName": "Smith", "PatientAge": "x"})
    )
    recwarn.clear()
    build_results(*case.arguments)
    told = caplog.text + "".join(str(warning.message) for warning in recwarn)
    assert "Smith" not in told
    assert "P1" not in told


def test_results_of_real_headers(real_data, tmp_path):
    """Enhanced MR of Siemens and Philips with everything that real scanners write."""
    from real_sources import enhanced_stacks

    built = 0
    for stack, arguments in itertools.islice(enhanced_stacks(real_data / "dicom"), 3):
        results = build_results(stack, *arguments)
        for name in NAMES:
            getattr(results, name.removesuffix(".dcm")).save_as(tmp_path / name, enforce_file_format=True)
            _, _, lines = run("dciodvfy", name, cwd=tmp_path)
            assert [line for line in lines if line.startswith((b"Error", b"Abort"))] == []
        built += 1
    assert built == 3
