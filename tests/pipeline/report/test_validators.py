"""No validator finds an error in what is built, whatever the source; every warning is known by its exact text."""

import dataclasses
import itertools
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from scarnode.pipeline.report import build_results
from tests.pipeline.report.sources import FAILED, MATRIX, NAMES, TYPE_2, Case, make_case, small

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
TOO_LONG = {
    f"Error - Value invalid for this VR - {tag} SH {name}  SH [1] = <{letter * length}>"
    f" - Length invalid for this VR = {length}, expected <= 16": "as the images have it: an archive takes it"
    for tag, name, letter, length in (
        ("(0x0008,0x0050)", "Accession Number", "B", 30),
        ("(0x0020,0x0010)", "Study ID", "A", 40),
    )
} | {"Error - Dicom dataset contains invalid data values for Value Representations": "for the same reason"}
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
        *(TOO_LONG if label == "over-long" else ()),
        *(NOT_STATED if label == "two values where one is allowed" else ()),
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
    one_sided = {
        "absent type 2": TYPE_2,
        "broken values": mended,
        "two values where one is allowed": mended,
    }.get(label, [])
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


PIXELMED = Path("/usr/share/java/pixelmed.jar")
PIXELMED_SAYS = {
    "Found Comprehensive3DSR IOD",
    "Found Root Template TID_1500 (MeasurementReport)",
    "Root Template Validation Complete",
    "IOD validation complete",
}
TEMPLATES_ARE_OLDER = {
    ("276214006", "SCT"): "Finding category",
    ("122664", "DCM"): "a qualitative evaluation: CODE of any concept, which the tool does not take for one",
    ("111065", "DCM"): "the same",
    ("121112", "DCM"): "Source of Measurement of a group, as highdicom writes it",
    ("111001", "DCM"): "algorithm of a whole TID 1501 group (TID 4019)",
    ("111002", "DCM"): "the same",
    ("111003", "DCM"): "the same",
    ("260753009", "SCT"): "outline of a number (SCOORD and its image), without which OHIF can not open the report",
}
"""Content items that PixelMed's copy of the templates lacks, by concept name; the templates are extensible ones."""


@pytest.mark.slow
def test_pixelmed(tmp_path, study):
    """A report with every kind of group, and that of a failure: the tool takes 10 s of processor time for each."""
    case = make_case(tmp_path, small(slices=1, complete=True))
    numbers = dataclasses.replace(
        case.measurements,
        segments=case.measurements.segments[-2:],
        by_threshold=case.measurements.by_threshold[:1],
    )
    whole = build_results(*case.arguments[:3], numbers, case.provenance).sr
    failed = study(FAILED)[1].sr
    if not PIXELMED.exists():
        pytest.skip(f"{PIXELMED} is not installed (Debian's libpixelmed-java)")
    reports = {"whole": whole, "failed": failed}
    for name, report in reports.items():
        report.save_as(tmp_path / name, enforce_file_format=True)
    limits = [f"-Djdk.xml.xpath{what}=0" for what in ("TotalOpLimit", "ExprOpLimit", "ExprGrpLimit")]
    quick = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"]
    validator = [*limits, *quick, "-cp", str(PIXELMED), "com.pixelmed.validate.DicomSRValidator"]
    with ThreadPoolExecutor() as pool:
        done = list(pool.map(lambda name: run("java", *validator, name, cwd=tmp_path), reports))
    for report, (_, out, lines) in zip(reports.values(), done, strict=True):
        said = {line.decode() for line in [*out.splitlines(), *lines] if line}
        assert said >= PIXELMED_SAYS
        assert said - PIXELMED_SAYS - _known_to_pixelmed(report) == set()


def _known_to_pixelmed(report: Dataset) -> set[str]:
    """The exact lines that DicomSRValidator may write, each for a reason."""
    known = set()
    group = 'CONTAINER (125007,DCM,"Measurement Group")'
    template = f"Template 1411 VolumetricROIMeasurements/[Row 1] {group}"
    series = 'UIDREF (121232,DCM,"Source series for segmentation")'
    for position, path, item in _content(report, "1", ""):
        name = item.ConceptNameCodeSequence[0]
        code = (name.CodeValue, name.CodingSchemeDesignator)
        children = {child.ConceptNameCodeSequence[0].CodeValue for child in item.get("ContentSequence", [])}
        if name.CodeValue == "125007" and "121191" not in children:  # it tries TID 1411 on TID 1501 groups too
            known |= {
                f"Error: {template}/{row}: within {position}: {path}: Missing conditional content item"
                for row in (
                    '[Row 5] SCOORD (111030,DCM,"Image Region")',
                    '[Row 7] IMAGE (121191,DCM,"Referenced Segment")',
                    '[Row 10] SCOORD3D (121231,DCM,"Volume Surface")',
                )
            }
        if name.CodeValue in ("371886008", "371885007"):
            # TID 1419 includes TID 310 in row 12; rows 13 and 14 (any NUM, INFERRED FROM) are tried on its NUMs too
            known |= {
                f"Error: Template 1419 ROIMeasurements/[Row 5] NUM */[Row {row}] NUM *: {position}: {path}:"
                " Incorrect relationship - expected INFERRED FROM - found HAS PROPERTIES"
                for row in (13, 14)
            }
        if name.CodeValue == "121232":  # PS3.16 of 2023 writes the meaning with capitals
            known.add(
                f"Warning: {template}/[Row 12] {series}: {position}: {path}: Code (121232,DCM,"
                '"Source Series for Segmentation") has different code meaning ("Source Series for Segmentation")'
                ' than code meaning in template concept name ("Source series for segmentation")'
            )
        if code in TEMPLATES_ARE_OLDER or (name.CodingSchemeDesignator == "99SCARNODE" and item.ValueType != "NUM"):
            known.add(f"Warning: {position}: {path}: Content Item not in template")
    return known


def _content(item: Dataset, position: str, path: str):
    """Every content item with its position in the tree and its path as PixelMed writes them."""
    name = item.ConceptNameCodeSequence[0]
    path += f'/{item.ValueType} ({name.CodeValue},{name.CodingSchemeDesignator},"{name.CodeMeaning}")'
    yield position, path, item
    for number, child in enumerate(item.get("ContentSequence", []), 1):
        yield from _content(child, f"{position}.{number}", path)


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


@pytest.mark.slow
def test_results_of_real_headers(real_data, tmp_path):
    """Enhanced MR of Siemens and Philips with everything that real scanners write."""
    from tests.pipeline.report.real_sources import enhanced_stacks

    built = 0
    for stack, arguments in itertools.islice(enhanced_stacks(real_data / "dicom"), 3):
        results = build_results(stack, *arguments)
        for name in NAMES:
            getattr(results, name.removesuffix(".dcm")).save_as(tmp_path / name, enforce_file_format=True)
            _, _, lines = run("dciodvfy", name, cwd=tmp_path)
            assert [line for line in lines if line.startswith((b"Error", b"Abort"))] == []
        built += 1
    assert built == 3
