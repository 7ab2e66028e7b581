"""SEG, SR and Secondary Capture read back with pydicom: the right masks on the right images, the right numbers."""

import dataclasses
import io
import pickle
import re
from collections import Counter
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.sr.coding import Code

from scarnode import RESEARCH_USE
from scarnode.pipeline.measure import measure, segment_map
from scarnode.pipeline.measure.model import Burden
from scarnode.pipeline.report import build_failure, build_results, codes, common
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.stack import Component, Flag, find_stacks, read_volume
from scarnode.util.errors import InputError
from tests.pipeline.report.sources import FAILED, MADE_AT, MODEL, REASON, Spec, make_case

FORMS = (
    "one series",
    "series per slice",
    "enhanced",
    "enhanced mixed",
    "unequal gaps",
    "one slice",
    "three slices",
    "forty slices",
    "non-square",
    "251 x 253",
    "no scar",
    "no heart",
    "everything",
)


@pytest.fixture(params=FORMS)
def built(request, study):
    return study(request.param)


def written(dataset):
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def texts(sr):
    """Every (name, value) of TEXT and CODE items in the tree."""
    found = []

    def walk(item):
        for child in item.get("ContentSequence", []):
            name = child.ConceptNameCodeSequence[0].CodeMeaning
            if child.ValueType == "TEXT":
                found.append((name, child.TextValue))
            if child.ValueType == "CODE":
                found.append((name, child.ConceptCodeSequence[0].CodeMeaning))
            walk(child)

    walk(sr)
    return found


def groups(sr):
    """Measurement groups: tracking identifier -> list of (code value, number, unit, NUM item)."""
    (container,) = [i for i in sr.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    result = {}
    for group in container.ContentSequence:
        name = next(i.TextValue for i in group.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "112039")
        result[name] = [
            (
                item.ConceptNameCodeSequence[0].CodeValue,
                float(item.MeasuredValueSequence[0].NumericValue),
                item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence[0].CodeValue,
                item,
            )
            for item in group.ContentSequence
            if item.ValueType == "NUM"
        ]
    return result


def group_items(sr, name):
    """Content items of the measurement group with this tracking identifier."""
    (container,) = [i for i in sr.ContentSequence if i.ConceptNameCodeSequence[0].CodeValue == "126010"]
    for group in container.ContentSequence:
        if any(i.get("TextValue") == name for i in group.ContentSequence):
            return list(group.ContentSequence)
    raise KeyError(name)


def coded(items, code):
    """Values of the CODE or TEXT items with this concept name: (code value, scheme) or text."""
    found = [item for item in items if item.ConceptNameCodeSequence[0].CodeValue == code]
    return [
        (i.ConceptCodeSequence[0].CodeValue, i.ConceptCodeSequence[0].CodingSchemeDesignator)
        if i.ValueType == "CODE"
        else i.TextValue
        for i in found
    ]


def number(group, code):
    (value,) = [value for name, value, _, _ in group if name == code]
    return value


def test_every_mask_lies_on_its_own_image(built):
    """Each SEG frame against the label slice of the frame that it references; geometry as in that source frame."""
    case, results = built
    seg = dcmread(io.BytesIO(written(results.seg)))
    count = len(case.stack.frames)
    index = {(frame.sop_instance_uid, frame.frame_number): k for k, frame in enumerate(case.stack.frames)}
    seen = Counter()
    pixels = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    for mask, item in zip(pixels, seg.PerFrameFunctionalGroupsSequence, strict=True):
        (reference,) = item.DerivationImageSequence[0].SourceImageSequence
        k = index[reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber", 1)]
        assert reference.ReferencedSOPClassUID == case.stack.frames[k].sop_class_uid
        segment = item.SegmentIdentificationSequence[0].ReferencedSegmentNumber
        assert np.array_equal(mask != 0, case.segmentation.labels[k] == segment)
        position = [float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient]
        assert position == list(case.stack.frames[k].position)
        seen[segment, k] += 1
    assert seen == {(s, k): 1 for s in (1, 2, 3) for k in range(count)}
    shared = seg.SharedFunctionalGroupsSequence[0]
    assert [float(v) for v in shared.PlaneOrientationSequence[0].ImageOrientationPatient] == list(
        case.stack.orientation
    )
    assert [float(v) for v in shared.PixelMeasuresSequence[0].PixelSpacing] == list(case.stack.pixel_spacing)


def test_segments(built):
    _, results = built
    seg = results.seg
    labels = {s.SegmentNumber: s for s in seg.SegmentSequence}
    assert {n: s.SegmentLabel for n, s in labels.items()} == {
        Tissue.BLOOD: "LV blood pool",
        Tissue.MYOCARDIUM: "Normal LV myocardium",
        Tissue.SCAR: "LV scar",
    }
    assert labels[3].SegmentedPropertyTypeCodeSequence[0].CodeValue == "12402003"
    for segment in labels.values():
        algorithm = segment.SegmentationAlgorithmIdentificationSequence[0]
        assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == (MODEL.name, MODEL.version)
        assert MODEL.sha256 in algorithm.AlgorithmParameters
        assert len(segment.RecommendedDisplayCIELabValue) == 3
        assert segment.TrackingID
    assert len({s.TrackingUID for s in labels.values()}) == 3
    assert (seg.SegmentsOverlap, seg.ContentCreatorName) == ("NO", "scarnode^")


def test_references_name_the_sources_and_nothing_else(built):
    case, results = built
    wanted = {}
    for frame in case.stack.frames:
        wanted.setdefault(frame.series_instance_uid, set()).add(frame.sop_instance_uid)
    listed = {
        item.SeriesInstanceUID: {i.ReferencedSOPInstanceUID for i in item.ReferencedInstanceSequence}
        for item in results.seg.ReferencedSeriesSequence
    }
    assert listed == wanted

    evidence = {}
    for study in results.sr.CurrentRequestedProcedureEvidenceSequence:
        assert study.StudyInstanceUID == case.stack.study_instance_uid
        for series in study.ReferencedSeriesSequence:
            evidence[series.SeriesInstanceUID] = {i.ReferencedSOPInstanceUID for i in series.ReferencedSOPSequence}
    assert evidence == wanted | {results.seg.SeriesInstanceUID: {results.seg.SOPInstanceUID}}


def test_numbers(built):
    case, results = built
    expected, found = case.measurements, groups(results.sr)
    scar, whole = found["LV scar"], found["LV myocardium, scar included"]
    assert number(scar, "118565006") == pytest.approx(expected.scar_volume, abs=1e-4)
    assert number(scar, "118538004") == pytest.approx(expected.scar_mass, abs=1e-4)
    assert number(found["Normal LV myocardium"], "118565006") == pytest.approx(expected.normal_volume, abs=1e-4)
    assert number(found["LV blood pool"], "118565006") == pytest.approx(expected.blood_volume, abs=1e-4)
    assert number(whole, "118565006") == pytest.approx(expected.myocardium_volume, abs=1e-4)
    assert number(whole, "18087-7") == pytest.approx(expected.myocardium_mass, abs=1e-4)
    assert number(found["Run"], "121140") == len(case.stack.frames)
    count = len(case.stack.frames)
    for item in expected.slices:
        group = found[f"Slice {item.index + 1} of {count}, base to apex"]
        assert number(group, "SCAR_VOLUME") == pytest.approx(item.scar_volume, abs=1e-4)
        assert number(group, "NORMAL_VOLUME") == pytest.approx(item.normal_volume, abs=1e-4)
    if expected.lge_percent is None:
        assert "LGE_PERCENT" not in {name for name, *_ in scar}
    else:
        assert number(scar, "LGE_PERCENT") == pytest.approx(expected.lge_percent, abs=1e-4)
    units = {name: unit for group in found.values() for name, _, unit, _ in group}
    assert (units["118565006"], units["18087-7"]) == ("cm3", "g")


def test_every_group_has_a_number_with_an_outline_on_a_source_image(built):
    """Without one, stock OHIF can not open the report. The outline lies within its image."""
    case, results = built
    index = {(frame.sop_instance_uid, frame.frame_number): k for k, frame in enumerate(case.stack.frames)}
    for name, numbers in groups(results.sr).items():
        assert numbers, name
        for *_, item in numbers:
            (outline,) = [i for i in item.ContentSequence if i.ValueType == "SCOORD"]
            points = np.array(outline.GraphicData).reshape(-1, 2)
            assert outline.GraphicType == "POLYLINE"
            assert np.array_equal(points[0], points[-1])
            assert points.min() >= 0
            assert (points <= (case.stack.columns, case.stack.rows)).all()
            reference = outline.ContentSequence[0].ReferencedSOPSequence[0]
            k = index[reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber", 1)]
            if name == "LV scar" and case.measurements.scar_volume > 0:
                _assert_encloses(points, case.segmentation.labels[k] == Tissue.SCAR)
            if name.startswith("Slice "):
                assert k == int(name.split()[1]) - 1


def _assert_encloses(points, mask):
    """The area inside the outline is that of the mask, but for the corners that it cuts."""
    x, y = points.T
    area = abs(np.dot(x[:-1], y[1:]) - np.dot(x[1:], y[:-1])) / 2
    rows, columns = np.nonzero(mask)
    assert (x.min(), x.max()) == (columns.min(), columns.max() + 1)
    assert (y.min(), y.max()) == (rows.min(), rows.max() + 1)
    assert 0.8 * mask.sum() < area <= mask.sum()


def test_status_and_late_enhancement(built):
    case, results = built
    found = texts(results.sr)
    status = dict(found)["Summary of Analyses"]
    enhancement = dict(found)["Late Contrast Enhancement"]
    if case.measurements.lge_percent is None:
        assert (status, enhancement, results.sr.CompletionFlag) == ("Failed", "Undetermined", "PARTIAL")
        assert ("Quality flags", "NO_MYOCARDIUM") in found
    else:
        present = "Present" if case.measurements.scar_volume > 0 else "Absent"
        incomplete = {Flag.MISSING_SLICE, Flag.FEW_SLICES} & set(case.stack.flags)
        outcome = ("Partially Succeeded", "PARTIAL") if incomplete else ("Succeeded", "COMPLETE")
        assert (status, results.sr.CompletionFlag) == outcome
        assert enhancement == present
    assert ("Intended use", RESEARCH_USE) in found
    assert ("SHA-256 of the model weights", MODEL.sha256) in found
    assert ("Digest of the source images", case.provenance.input_digest) in found
    assert results.sr.PreliminaryFlag == "PRELIMINARY"
    assert results.sr.VerificationFlag == "UNVERIFIED"


def test_the_interval_stands_as_uncertainty_of_lge_and_in_words(study):
    case, results = study("everything")
    (lge,) = [item for name, _, _, item in groups(results.sr)["LV scar"] if name == "LGE_PERCENT"]
    reach = {
        item.ConceptNameCodeSequence[0].CodeValue: item.MeasuredValueSequence[0]
        for item in lge.ContentSequence
        if item.ValueType == "NUM"
    }
    assert set(reach) == {"371886008", "371885007"}
    value = case.measurements.lge_percent
    assert value + float(reach["371886008"].NumericValue) == pytest.approx(21.5, abs=1e-3)
    assert value - float(reach["371885007"].NumericValue) == pytest.approx(5.5, abs=1e-3)
    assert {item.MeasurementUnitsCodeSequence[0].CodeValue for item in reach.values()} == {"%"}
    items = group_items(results.sr, "LV scar")
    assert coded(items, "LGE_INTERVAL") == ["5.5 to 21.5 %, the interval of the model card's calibration"]
    assert coded(group_items(study("one series")[1].sr, "LV scar"), "LGE_INTERVAL") == []


@pytest.mark.parametrize(
    ("burden", "value"),
    [
        (Burden.ABOVE, ("ABOVE_15", "99SCARNODE")),
        (Burden.BELOW, ("BELOW_15", "99SCARNODE")),
        (Burden.INDETERMINATE, ("82334004", "SCT")),
    ],
)
def test_burden(tmp_path, burden, value):
    case = make_case(tmp_path, Spec(slices=3, rows=48, columns=48))
    numbers = dataclasses.replace(case.measurements, burden=burden)
    results = build_results(*case.arguments[:3], numbers, case.provenance)
    assert coded(group_items(results.sr, "LV scar"), "LGE_BURDEN") == [value]


def test_the_17_segments(study):
    """Each with its place from CID 3717, its numbers, its bin, and an outline to jump to."""
    case, results = study("everything")
    found = {name: numbers for name, numbers in groups(results.sr).items() if name.startswith("AHA segment ")}
    assert [int(name.split()[2].rstrip(",")) for name in found] == list(range(1, 18))
    sites = {}
    for (name, numbers), expected in zip(found.items(), case.measurements.segments, strict=True):
        items = group_items(results.sr, name)
        (site,) = coded(items, "363698007")
        sites[expected.number] = site[0]
        assert number(numbers, "118565006") == pytest.approx(expected.volume)
        if expected.lge_percent is None:
            assert "LGE_PERCENT" not in {code for code, *_ in numbers}
            assert coded(items, "TRANSMURALITY") == []
        else:
            assert number(numbers, "LGE_PERCENT") == pytest.approx(expected.lge_percent, abs=1e-4)
            highest = expected.transmurality.value.split("-")[-1].removesuffix(" %")
            assert coded(items, "TRANSMURALITY") == [(f"TRANSMURAL_{highest}", "99SCARNODE")]
    # PS3.16 CID 3717, by the numbers of Cerqueira et al. 2002: base, middle, apex
    assert list(sites.values()) == [
        *("264850008", "396482007", "396646008", "264846001", "396652009", "396654005"),
        *("264848000", "396647004", "396649001", "264847005", "396655006", "396656007"),
        *("264844003", "264845002", "264849008", "264853005", "128564006"),
    ]


def test_each_of_the_17_segments_is_outlined_where_it_is_largest(study):
    case, results = study("everything")
    wall = segment_map(case.stack, case.segmentation.labels, case.segmentation.right_ventricle)
    shown = set(np.unique(wall)) - {0}
    assert {1, 7, 13} <= shown
    index = {(frame.sop_instance_uid, frame.frame_number): k for k, frame in enumerate(case.stack.frames)}
    for name, numbers in groups(results.sr).items():
        if not name.startswith("AHA segment "):
            continue
        segment = int(name.split()[2].rstrip(","))
        for *_, item in numbers:
            (outline,) = [i for i in item.ContentSequence if i.ValueType == "SCOORD"]
            reference = outline.ContentSequence[0].ReferencedSOPSequence[0]
            k = index[reference.ReferencedSOPInstanceUID, reference.get("ReferencedFrameNumber", 1)]
            if segment not in shown:
                continue
            assert (wall[k] == segment).sum() == (wall == segment).sum(axis=(1, 2)).max()
            points = np.array(outline.GraphicData).reshape(-1, 2)
            _assert_encloses(points, wall[k] == segment)


def test_thresholds_stand_beside_the_network_with_their_method(study):
    case, results = study("everything")
    found = groups(results.sr)
    for expected, method in zip(
        case.measurements.by_threshold, ("THRESHOLD_5SD", "THRESHOLD_6SD", "THRESHOLD_FWHM"), strict=True
    ):
        group = found[f"Scar by {expected.method} threshold, for comparison"]
        assert number(group, "118565006") == pytest.approx(expected.scar_volume)
        assert number(group, "LGE_PERCENT") == pytest.approx(expected.lge_percent)
        for *_, item in group:
            assert coded(item.ContentSequence, "370129005") == [(method, "99SCARNODE")]
    network = [item for name, _, _, item in found["LV scar"] if name == "LGE_PERCENT"]
    assert coded(network[0].ContentSequence, "370129005") == [("VOLUME_RATIO", "99SCARNODE")]


def test_a_failed_analysis_says_so_and_why(study):
    """No numbers that could be taken for a result, and an outline that keeps OHIF from stopping."""
    case, results = study(FAILED)
    assert results.seg is None
    found = texts(results.sr)
    assert ("Summary of Analyses", "Failed") in found
    assert ("Why the analysis failed", REASON) in found
    assert ("Intended use", RESEARCH_USE) in found
    assert (results.sr.CompletionFlag, results.sr.CompletionFlagDescription) == ("PARTIAL", "The analysis failed")
    assert list(groups(results.sr)) == ["Run"]
    ((code, value, _, item),) = groups(results.sr)["Run"]
    assert (code, value) == ("121140", len(case.stack.frames))
    (outline,) = [i for i in item.ContentSequence if i.ValueType == "SCOORD"]
    reference = outline.ContentSequence[0].ReferencedSOPSequence[0]
    assert reference.ReferencedSOPInstanceUID in {frame.sop_instance_uid for frame in case.stack.frames}
    assert results.sc.BurnedInAnnotation == "YES"
    assert (results.sr.StudyInstanceUID, results.sc.StudyInstanceUID) == (case.stack.study_instance_uid,) * 2


def test_a_failure_needs_no_pixel_data_and_takes_no_uid_of_the_result(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    success = build_results(*case.arguments)
    for path in case.files:
        dataset = dcmread(path)
        del dataset.PixelData
        dataset.save_as(path)
    failed = build_failure(case.stack, "no pixels", MODEL, case.provenance)
    again = build_failure(case.stack, "no pixels", MODEL, case.provenance)
    assert [written(d) for _, d in failed.items()] == [written(d) for _, d in again.items()]
    uids = [uid for r in (success, failed) for _, d in r.items() for uid in (d.SOPInstanceUID, d.SeriesInstanceUID)]
    assert len(uids) == len(set(uids)) == 10


def test_every_code_is_documented_and_every_documented_code_exists():
    """docs/results.md against codes.py, both ways."""
    page = (Path(__file__).parents[3] / "docs" / "results.md").read_text(encoding="utf-8")
    chapter = page.split("### Codes", 1)[1].split("\n## ", 1)[0]
    public, private = chapter.split("Private codes", 1)
    known = {code for value in vars(codes).values() for code in _codes_in(value)}
    rows = [line.split("|")[1] for line in private.splitlines() if line.startswith("| ")][1:]
    documented = {value.strip() for row in rows for value in row.split(",")}
    assert documented == {code.value for code in known if code.scheme_designator == codes.PRIVATE_SCHEME}
    segments = page.split("## SEG", 1)[1].split("## SR", 1)[0]
    for code in known:
        if code.scheme_designator not in (codes.PRIVATE_SCHEME, "UCUM"):
            assert code.value in public + segments, f"{code.meaning} is not in the table"
    told = set(re.findall(r"\b(?:\d{4,5}-\d|\d{5,9})\b", public))
    assert told <= {code.value for code in known}


def _codes_in(value):
    if isinstance(value, Code):
        return {value}
    if isinstance(value, (tuple, list)):
        return {code for item in value for code in _codes_in(item)}
    if isinstance(value, dict):
        return _codes_in(list(value.values()))
    if isinstance(value, codes.SegmentCodes):
        return _codes_in([value.category, value.type, value.structure])
    return set()


def test_same_study_same_patient(built):
    case, results = built
    source = dcmread(case.stack.frames[0].path, stop_before_pixels=True)
    for dataset in (results.seg, results.sr, results.sc):
        assert dataset.SpecificCharacterSet == "ISO_IR 192"
        assert dataset.StudyInstanceUID == source.StudyInstanceUID
        for keyword in (
            "PatientName",
            "PatientID",
            "PatientBirthDate",
            "PatientSex",
            "StudyDate",
            "StudyTime",
            "StudyID",
        ):
            assert dataset[keyword].value == source[keyword].value
        assert dataset.AccessionNumber == source.AccessionNumber
        assert dataset.SeriesDescription.startswith("scarnode LGE ")
        devices = {item.get("DeviceUID") for item in dataset.ContributingEquipmentSequence} - {None}
        assert len(devices) == 1
    assert results.seg.FrameOfReferenceUID == source.FrameOfReferenceUID
    uids = {uid for d in (results.seg, results.sr, results.sc) for uid in (d.SOPInstanceUID, d.SeriesInstanceUID)}
    assert len(uids) == 6


@pytest.mark.parametrize("label", ["series per slice", "enhanced mixed", "no heart"])
def test_same_input_same_bytes(study, label):
    case, first = study(label)
    second = build_results(*case.arguments)
    for name in ("seg", "sr", "sc"):
        assert written(getattr(first, name)) == written(getattr(second, name)), name


@pytest.mark.parametrize("label", ["series per slice", "enhanced mixed", "Japanese", "no heart", FAILED])
def test_quickly_written_is_the_same_bytes(study, label, monkeypatch):
    """Against pydicom alone: the sequences of the SR are written ahead of the rest."""
    case, results = study(label)
    monkeypatch.setattr(common, "encode_sequences", lambda dataset: None)
    again = (
        build_failure(case.stack, REASON, MODEL, case.provenance) if label == FAILED else build_results(*case.arguments)
    )
    assert written(again.sr) == written(results.sr)


def test_survives_the_way_back_from_a_worker_process(study):
    _, results = study("one series")
    copy = pickle.loads(pickle.dumps(results))
    for name in ("seg", "sr", "sc"):
        assert written(getattr(copy, name)) == written(getattr(results, name))


def test_picture(built):
    _, results = built
    sc = dcmread(io.BytesIO(written(results.sc)))
    assert (sc.PhotometricInterpretation, sc.BurnedInAnnotation, sc.Columns) == ("RGB", "YES", 1400)
    assert sc.pixel_array.shape == (sc.Rows, 1400, 3)
    assert sc.pixel_array.std() > 5


def test_another_job_or_model_gives_other_uids(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    first = build_results(*case.arguments)
    other_job = dataclasses.replace(case.provenance, job_key="0" * 48)
    second = build_results(*case.arguments[:-1], other_job)
    model = dataclasses.replace(MODEL, sha256="cd" * 32)
    third = build_results(
        *case.arguments[:2], dataclasses.replace(case.segmentation, model=model), case.measurements, other_job
    )

    def device(dataset):
        return next(i.DeviceUID for i in dataset.ContributingEquipmentSequence if "DeviceUID" in i)

    for name in ("seg", "sr", "sc"):
        a, b, c = (getattr(results, name) for results in (first, second, third))
        assert a.SOPInstanceUID != b.SOPInstanceUID
        assert a.SeriesInstanceUID != b.SeriesInstanceUID
        assert device(a) == device(b) != device(c)
    # the finding is the same one, whoever measures it
    assert first.seg.SegmentSequence[2].TrackingUID == second.seg.SegmentSequence[2].TrackingUID


def test_dates_come_from_the_provenance(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    later = dataclasses.replace(case.provenance, made_at=MADE_AT + timedelta(days=1))
    results = build_results(*case.arguments[:-1], later)
    for dataset in (results.seg, results.sr, results.sc):
        assert dataset.ContentDate == dataset.InstanceCreationDate == dataset.SeriesDate == "20260315"
        assert dataset.ContentTime == "150926.535897"


def test_revision_names_its_predecessor(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    provenance = dataclasses.replace(case.provenance, predecessor=("1.2.3.4", "1.2.3"))
    results = build_results(*case.arguments[:-1], provenance)
    (study,) = results.sr.PredecessorDocumentsSequence
    assert study.StudyInstanceUID == case.stack.study_instance_uid
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"
    assert study.ReferencedSeriesSequence[0].ReferencedSOPSequence[0].ReferencedSOPInstanceUID == "1.2.3.4"
    assert "PredecessorDocumentsSequence" not in build_results(*case.arguments).sr


def test_part_of_the_ventricle_is_no_success(tmp_path):
    case = make_case(tmp_path, Spec(slices=4, flags=(Flag.MISSING_SLICE, Flag.PSIR_ONLY), component=Component.PSIR))
    results = build_results(*case.arguments)
    assert dict(texts(results.sr))["Summary of Analyses"] == "Partially Succeeded"
    assert results.sr.CompletionFlag == "PARTIAL"
    assert ("Quality flags", "MISSING_SLICE, PSIR_ONLY") in texts(results.sr)
    assert results.seg.SeriesDescription == "scarnode LGE SEG (PSIR)"


def test_source_files_are_not_touched(tmp_path):
    case = make_case(tmp_path, Spec(slices=3, header={"StudyID": None}))
    before = [(path.read_bytes(), path.stat().st_mtime_ns) for path in case.files]
    build_results(*case.arguments)
    assert [(path.read_bytes(), path.stat().st_mtime_ns) for path in case.files] == before


def test_a_source_that_is_gone_is_named(tmp_path):
    case = make_case(tmp_path, Spec(slices=3))
    case.files[0].unlink()
    with pytest.raises(InputError, match=r"src000\.dcm: UNREADABLE: No such file or directory"):
        build_results(*case.arguments)


def test_stacks_as_they_are_found(tmp_path):
    """The same walk with the stack room in place of the hand-made stack."""
    case = make_case(tmp_path, Spec(form="enhanced mixed"))
    (stack,) = find_stacks(case.files).stacks
    assert [frame.frame_number for frame in stack.frames] == [frame.frame_number for frame in case.stack.frames]
    volume = read_volume(stack)
    assert np.array_equal(volume, case.volume.astype("<u2"))
    numbers = measure(stack, volume, case.segmentation)
    results = build_results(stack, volume, case.segmentation, numbers, case.provenance)
    assert number(groups(results.sr)["LV scar"], "118565006") == pytest.approx(case.measurements.scar_volume, abs=1e-4)
