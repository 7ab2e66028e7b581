"""Two patients never share a stack; one patient's images that came by two ways are one stack."""

import pytest

from scarnode.pipeline.stack import Flag, Verdict, find_stacks, input_digest
from tests.pipeline.stack.builders import Study, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}
ANN = {"PatientID": "1", "PatientName": "PHANTOM^ANN", "PatientBirthDate": "19600101", "IssuerOfPatientID": "SITE"}


def verdicts(search):
    return {(verdict.verdict, verdict.reason) for verdict in search.series}


@pytest.mark.parametrize(
    "other",
    [
        {"PatientID": "2"},
        {"IssuerOfPatientID": "ELSEWHERE"},
        {"PatientBirthDate": "19600102"},
        {"PatientID": "", "PatientName": "PHANTOM^BOB"},
        {"PatientBirthDate": "", "PatientName": "PHANTOM^BOB"},
    ],
)
@pytest.mark.parametrize("series", [1, 2])
def test_two_patients_under_one_study_uid_are_kept_apart_and_from_analysis(tmp_path, other, series):
    ours = slices(S, 1, **LGE, **ANN)
    theirs = slices(S, series, **LGE, **{**ANN, **other})
    mixed = [*ours[:5], *theirs[5:]] if series == 1 else [*ours, *theirs]
    search = find_stacks(save(mixed, tmp_path))
    assert search.stacks == ()
    assert verdicts(search) == {(Verdict.REVIEW, "PATIENT_MISMATCH")}
    changed = next(iter(other))
    for verdict in search.series:
        assert "2 patients differ in" in verdict.detail
        assert changed in verdict.detail or "PatientName" in verdict.detail
        assert "PHANTOM" not in verdict.detail


@pytest.mark.parametrize(
    "other",
    [
        {"PatientName": "Phantom^Ann"},
        {"PatientName": "PHANTOM^ANN^^Dr."},
        {"PatientName": "PHANTOM^ANNA MARIA"},  # same identifier and date of birth: an archive corrected it
        {"IssuerOfPatientID": ""},
        {"PatientBirthDate": ""},
        {"PatientID": "", "IssuerOfPatientID": ""},
    ],
)
def test_two_ways_of_writing_one_patient_are_one(tmp_path, other):
    mixed = [*slices(S, 1, **LGE, **ANN)[:5], *slices(S, 1, **LGE, **{**ANN, **other})[5:]]
    search = find_stacks(save(mixed, tmp_path))
    assert [len(stack.frames) for stack in search.stacks] == [10]


def test_other_objects_of_the_study_do_not_stop_it(tmp_path):
    report = slices(S, 2, count=1, **{**LGE, **ANN, "PatientID": "X"})
    for ds in report:
        ds.SOPClassUID, ds.Modality = "1.2.840.10008.5.1.4.1.1.7", "OT"
    assert find_stacks(save(slices(S, 1, **LGE, **ANN) + report, tmp_path)).stacks


def coerced(**changes):
    datasets = slices(S, 1, **LGE, **{**ANN, **changes})
    for ds in datasets:
        block = ds.private_block(0x0099, "AN ARCHIVE", create=True)
        block.add_new(1, "LO", "added")
    return datasets


def test_a_coerced_header_makes_no_other_image_and_the_first_that_came_counts(tmp_path):
    first = save(slices(S, 1, **LGE, **ANN), tmp_path / "scanner")
    again = save(coerced(PatientName="Phantom^Ann"), tmp_path / "archive")
    alone, both, turned = find_stacks(first), find_stacks(first + again), find_stacks(again + first)
    assert both == alone
    assert not both.unreadable
    assert [frame.path for frame in turned.stacks[0].frames] == [
        frame.path for frame in find_stacks(again).stacks[0].frames
    ]
    assert input_digest(both.stacks[0]) == input_digest(alone.stacks[0])
    assert find_stacks(first + again, arrivals=order(first + again)) == alone


def order(paths):
    return {path: place for place, path in enumerate(paths)}


CORRECTED = [
    {"PatientName": "PHANTOM^ANNA"},
    {"PatientID": "2"},
    {"IssuerOfPatientID": "ELSEWHERE"},
    {"PatientBirthDate": "19600102"},
    {"PatientSex": "F"},
    {"AccessionNumber": "ORDER77"},
    {"StudyID": "S77"},
    {"StudyDate": "20240102"},
]


@pytest.mark.parametrize("change", CORRECTED, ids=lambda change: next(iter(change)))
def test_what_was_corrected_at_the_source_counts_as_it_came_last(tmp_path, change):
    first = save(slices(S, 1, **LGE, **ANN), tmp_path / "scanner")
    again = save(coerced(**change), tmp_path / "archive")
    once_more = save(coerced(**change, SeriesNumber=99), tmp_path / "other way")  # the same identity, other bytes
    everything = first + again + once_more

    [stack] = find_stacks(everything, arrivals=order(everything)).stacks
    assert {frame.path for frame in stack.frames} == set(again)
    assert stack.flags == (Flag.IDENTITY_CHANGED,)

    arrivals = {**order(everything), **dict.fromkeys(first, 100)}  # the first came again
    [stack] = find_stacks(everything, arrivals=arrivals).stacks
    assert {frame.path for frame in stack.frames} == set(first)


def test_a_stack_of_which_half_was_corrected_is_named_by_the_half_that_came_last(tmp_path):
    first = save(slices(S, 1, **LGE, **ANN, AccessionNumber="A1"), tmp_path / "scanner")
    again = save(coerced(AccessionNumber="A2")[5:], tmp_path / "archive")
    for arrivals, named in ((order(first + again), again), (order(again + first), first)):
        [stack] = find_stacks(first + again, arrivals=arrivals).stacks
        assert stack.frames[stack.identity_frame].path in named
        assert stack.flags == (Flag.IDENTITY_CHANGED,)


def test_a_copy_for_research_never_takes_the_place_of_the_patients_images(tmp_path):
    first = save(slices(S, 1, **LGE, **ANN), tmp_path / "scanner")
    copy = save(coerced(PatientID="TRIAL-1", PatientIdentityRemoved="YES"), tmp_path / "research")
    search = find_stacks(first + copy, arrivals=order(first + copy))
    assert search.stacks == ()
    assert all("names another patient" in why for _, why in search.unreadable)


def test_one_image_in_two_patients_names_is_quarantined_where_nobody_knows_which_came_last(tmp_path):
    first = save(slices(S, 1, **LGE, **ANN), tmp_path / "scanner")
    again = save(coerced(PatientID="2")[4], tmp_path / "archive")
    search = find_stacks(first + again)
    assert search.stacks == ()
    assert verdicts(search) == {(Verdict.REVIEW, "PATIENT_MISMATCH")}
    quarantined = dict(search.unreadable)
    assert set(quarantined) == {first[4], again[0]}
    said = "CONFLICTING_CONTENT: another file of the same SOP Instance UID names another patient (PatientID)"
    assert set(quarantined.values()) == {said}


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"PixelSpacing": [1.5, 1.6]}, "lies elsewhere"),
        ({"SliceThickness": 9.0}, "lies elsewhere"),
        ({"RescaleSlope": 2.0, "RescaleIntercept": 0.0}, "different content"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "different content"),
        ({"PixelPaddingValue": 7}, "different content"),
    ],
)
def test_what_changes_the_measurement_makes_another_image(tmp_path, change, why):
    first = save(slices(S, 1, **LGE), tmp_path / "a")
    other = slices(S, 1, **LGE)[4]
    for keyword, value in change.items():
        setattr(other, keyword, value)
    search = find_stacks(first + save(other, tmp_path / "b"))
    assert Flag.CONFLICTING_CONTENT in search.stacks[0].flags
    assert len(search.unreadable) == 2
    assert all(why in said for _, said in search.unreadable)
