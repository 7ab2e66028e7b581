"""How series become stacks: repeats, gaps, twins, duplicates, planes, site overrides."""

import dataclasses
import shutil

import numpy as np
import pytest

from scarnode.pipeline.stack import Component, Flag, Rules, Verdict, find_stacks, input_digest, read_volume
from scarnode.util.errors import ConfigError
from tests.pipeline.stack.builders import (
    SHORT_AXIS,
    Study,
    enhanced,
    image,
    orthonormal,
    positions,
    save,
    slices,
    write,
)

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}


def tilted(degrees, about=(1.0, 0.0, 0.0)):
    """The short axis turned by an angle about an axis (a vector in the plane keeps n.b maximal change)."""
    axis = np.array(about) / np.linalg.norm(about)
    angle = np.deg2rad(degrees)
    k = np.array([[0, -axis[2], axis[1]], [axis[2], 0, -axis[0]], [-axis[1], axis[0], 0]])
    turn = np.eye(3) + np.sin(angle) * k + (1 - np.cos(angle)) * k @ k
    return orthonormal([*(turn @ SHORT_AXIS[:3]), *(turn @ SHORT_AXIS[3:])])


IN_PLANE = SHORT_AXIS[:3]


def only(search):
    (stack,) = search.stacks
    return stack


def reasons(search):
    return {v.series_instance_uid: v.reason for v in search.series}


# --- order and spacing ---------------------------------------------------------------------------


def test_order_comes_from_position_alone(tmp_path):
    at = positions(10)
    datasets = slices(
        **LGE,
        SliceLocation=lambda i: float((7 * i) % 10),
        InstanceNumber=lambda i: (3 * i) % 10 + 1,
    )
    stack = only(find_stacks(save(datasets, tmp_path)))
    np.testing.assert_allclose([frame.position for frame in stack.frames], at)
    np.testing.assert_allclose(stack.slice_extents, 10, atol=1e-3)
    assert stack.normal @ np.array([-0.634, 0.645, 0.426]) > 0.99


@pytest.mark.parametrize(
    ("kept", "flags"),
    [
        ([0, 1, 2, 3, 5, 6, 7], {Flag.MISSING_SLICE}),
        ([0, 1, 2, 6, 7, 8], {Flag.MISSING_SLICE}),
        ([0, 1, 3], {Flag.MISSING_SLICE}),
        ([0, 1, 2.5, 3.5, 4.5], {Flag.UNEQUAL_SPACING}),
        ([0, 1, 2.2, 3.2, 4.2], {Flag.UNEQUAL_SPACING}),
        ([0, 1, 2.05, 3, 4], set()),
        ([0, 1, 2, 4.5, 5.5], {Flag.MISSING_SLICE, Flag.UNEQUAL_SPACING}),
        ([0, 1], {Flag.FEW_SLICES}),
        ([0], {Flag.FEW_SLICES}),
    ],
)
def test_gaps(kept, flags, tmp_path):
    base, step = np.array(positions(1)[0]), np.subtract(positions(2)[1], positions(1)[0])
    datasets = slices(at=[tuple(base + k * step) for k in kept], **LGE)
    assert set(only(find_stacks(save(datasets, tmp_path))).flags) == flags


def test_one_slice_takes_its_stated_spacing(tmp_path):
    stack = only(find_stacks(save(slices(count=1, SpacingBetweenSlices=9.0, **LGE), tmp_path)))
    assert stack.slice_extents == [9.0]
    assert stack.slice_thickness == 8.0


def test_more_than_forty_slices(tmp_path):
    paths = save(slices(count=41, spacing=2.0, **LGE), tmp_path)
    search = find_stacks(paths)
    assert not search.stacks
    assert [v.reason for v in search.series] == ["TOO_MANY_SLICES"]
    assert len(only(find_stacks(paths, Rules(max_slices=50))).frames) == 41


def test_orientation_jitter_becomes_one_orientation(tmp_path):
    rng = np.random.default_rng(1)
    jitter = rng.uniform(-1e-5, 1e-5, (10, 6))
    datasets = slices(ImageOrientationPatient=lambda i: list(np.round(np.array(SHORT_AXIS) + jitter[i], 7)), **LGE)
    stack = only(find_stacks(save(datasets, tmp_path)))
    row, column = np.array(stack.orientation[:3]), np.array(stack.orientation[3:])
    assert len(stack.frames) == 10
    np.testing.assert_allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(stack.orientation, SHORT_AXIS, atol=2e-4)


def test_slices_that_are_not_parallel_go_to_a_person(tmp_path):
    datasets = slices(ImageOrientationPatient=lambda i: list(tilted(0.9 * i if i < 5 else 0, IN_PLANE)), **LGE)
    search = find_stacks(save(datasets, tmp_path))
    assert not search.stacks
    assert [(v.verdict, v.reason) for v in search.series] == [(Verdict.REVIEW, "NOT_PARALLEL")]


def test_long_axis_images_in_the_same_series_are_split_off(tmp_path):
    datasets = slices(**LGE)
    datasets += slices(orientation=tilted(90, IN_PLANE), count=2, first_number=20, **LGE)
    search = find_stacks(save(datasets, tmp_path))
    assert len(only(search).frames) == 10
    assert sorted((v.reason, v.instances) for v in search.series) == [("LGE_SHORT_AXIS", 10), ("NOT_SHORT_AXIS", 2)]


def test_non_square_pixels(tmp_path):
    stack = only(find_stacks(save(slices(PixelSpacing=[1.2, 1.6], **LGE), tmp_path)))
    assert stack.pixel_spacing == (1.2, 1.6)


# --- plane ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("angle", "name", "reason"),
    [
        (30, "LGE stack", "LGE_SHORT_AXIS"),
        (42, "LGE stack", "PLANE_UNCERTAIN"),
        (42, "LGE SAX", "LGE_SHORT_AXIS"),
        (55, "LGE SAX", "NOT_SHORT_AXIS"),
        (10, "LGE 4ch", "NOT_SHORT_AXIS"),
    ],
)
def test_plane(angle, name, reason, tmp_path):
    datasets = slices(**{**LGE, "description": name}, orientation=tilted(angle, IN_PLANE))
    search = find_stacks(save(datasets, tmp_path))
    assert [v.reason for v in search.series] == [reason]
    assert bool(search.stacks) == (reason == "LGE_SHORT_AXIS")


def test_short_axis_cine_vouches_for_the_plane(tmp_path):
    datasets = slices(**{**LGE, "description": "LGE stack"}, orientation=tilted(42, IN_PLANE))
    plane = tilted(40, IN_PLANE)
    at = [place for place in positions(6, 10, plane) for _ in range(5)]
    cine = slices(S, series=2, description="tf2d retro", at=at, orientation=plane, defaults={"EchoTime": 1.2})
    search = find_stacks(save(datasets + cine, tmp_path))
    assert reasons(search) == {S.series(1): "LGE_SHORT_AXIS", S.series(2): "MANY_PHASES"}


def test_mirrored_heart_needs_its_own_axis(tmp_path):
    mirror = np.array([1, -1, -1, 1, -1, -1])  # the axis mirrored left to right
    orientation = orthonormal(np.array(SHORT_AXIS) * mirror)
    datasets = slices(orientation=orientation, **{**LGE, "description": "LGE stack"})
    paths = save(datasets, tmp_path)
    assert not find_stacks(paths).stacks
    stack = only(find_stacks(paths, Rules(short_axis_x=0.634)))
    assert stack.normal @ np.array([0.634, 0.645, 0.426]) > 0.99


# --- repeats, duplicates, conflicts ----------------------------------------------------------------


def test_repeated_slice_keeps_the_latest(tmp_path):
    datasets = slices(S, 1, **LGE)
    again = slices(S, 2, at=[positions(10)[4]], pixels=lambda i: image(99), InversionTime=300.0, **_without_ti())
    search = find_stacks(save(datasets + again, tmp_path))
    stack = only(search)
    assert stack.flags == (Flag.REPEATED_SLICE,)
    assert len(stack.frames) == 10
    assert stack.frames[4].sop_instance_uid == S.instance(2, 1)
    np.testing.assert_array_equal(read_volume(stack)[4], image(99))


def _without_ti():
    return {key: value for key, value in LGE.items() if key != "InversionTime"}


def test_repeat_within_one_series(tmp_path):
    at = positions(10)
    datasets = slices(S, 1, at=[*at, at[3]], AcquisitionTime=lambda i: f"{110000 + 10 * i}", **LGE)
    stack = only(find_stacks(save(datasets, tmp_path)))
    assert stack.flags == (Flag.REPEATED_SLICE,)
    assert stack.frames[3].sop_instance_uid == S.instance(1, 11)


def test_series_whose_every_slice_was_repeated(tmp_path):
    early = slices(S, 1, at=[positions(10)[4]], **LGE)
    full = slices(S, 2, **LGE)
    search = find_stacks(save(early + full, tmp_path))
    assert reasons(search) == {S.series(1): "SUPERSEDED_REPEAT", S.series(2): "LGE_SHORT_AXIS"}
    assert only(search).flags == (Flag.REPEATED_SLICE,)


def test_two_complete_acquisitions_are_two_stacks(tmp_path):
    search = find_stacks(save(slices(S, 1, **LGE) + slices(S, 2, **LGE), tmp_path))
    assert [len(stack.frames) for stack in search.stacks] == [10, 10]
    assert all(stack.flags == () for stack in search.stacks)


def test_a_stack_scanned_in_two_series_is_one(tmp_path):
    at = positions(10)
    interleaved = slices(S, 1, at=at[0::2], **LGE) + slices(S, 2, at=at[1::2], **LGE)
    stack = only(find_stacks(save(interleaved, tmp_path / "a")))
    assert (len(stack.frames), stack.flags) == (10, ())
    halves = slices(S, 1, at=at[:5], **LGE) + slices(S, 2, at=at[5:], **LGE)
    assert len(only(find_stacks(save(halves, tmp_path / "b"))).frames) == 10


def test_a_stack_shifted_by_half_a_slice_stays_apart(tmp_path):
    step = np.subtract(positions(2)[1], positions(1)[0])
    shifted = [tuple(np.add(place, step / 2)) for place in positions(10)]
    search = find_stacks(save(slices(S, 1, **LGE) + slices(S, 2, at=shifted, **LGE), tmp_path))
    assert [len(stack.frames) for stack in search.stacks] == [10, 10]


def test_last_slices_in_a_series_of_their_own(tmp_path):
    at = positions(10)
    datasets = slices(S, 1, at=at[:8], **LGE) + slices(S, 2, at=at[8:9], **LGE) + slices(S, 3, at=at[9:], **LGE)
    stack = only(find_stacks(save(datasets, tmp_path)))
    assert (len(stack.frames), stack.flags) == (10, ())


def test_single_slice_beside_a_stack_is_left_to_a_person(tmp_path):
    extra = slices(S, 2, description="LGE TI test image sa", count=1, manufacturer="SIEMENS", InversionTime=250.0)
    for ds in extra:
        ds.SeriesDescription = "LGE check sa"
    search = find_stacks(save(slices(S, 1, **LGE) + extra, tmp_path))
    assert reasons(search) == {S.series(1): "LGE_SHORT_AXIS", S.series(2): "FEW_SLICES"}
    assert [v.verdict for v in search.series if v.reason == "FEW_SLICES"] == [Verdict.REVIEW]


def test_same_instances_sent_again(tmp_path):
    paths = save(slices(S, 1, **LGE), tmp_path / "a")
    again = save(slices(S, 1, **LGE), tmp_path / "b")
    stack = only(find_stacks(paths + again))
    assert stack.flags == ()
    assert only(find_stacks(paths)) == stack


def test_same_image_in_another_transfer_syntax_is_the_same_image(tmp_path):
    paths = save(slices(S, 1, **LGE), tmp_path / "a")
    again = save(slices(S, 1, **LGE), tmp_path / "b", "1.2.840.10008.1.2.5")
    search = find_stacks(paths + again)
    assert only(search).flags == ()
    assert not search.unreadable


def test_two_images_under_one_uid_are_both_left_out(tmp_path):
    paths = save(slices(S, 1, **LGE), tmp_path / "a")
    other = save([slices(S, 1, pixels=lambda i: image(i + 50), **LGE)[4]], tmp_path / "b")
    search = find_stacks(paths + other)
    stack = only(search)
    assert set(stack.flags) == {Flag.CONFLICTING_CONTENT, Flag.MISSING_SLICE}
    assert len(stack.frames) == 9
    assert S.instance(1, 5) not in {frame.sop_instance_uid for frame in stack.frames}
    assert {path for path, why in search.unreadable if why.startswith("CONFLICTING_CONTENT")} == {paths[4], other[0]}
    assert sorted((v.reason, v.instances) for v in search.series) == [("CONFLICTING_CONTENT", 1), ("LGE_SHORT_AXIS", 9)]


def test_same_pixels_at_another_place_are_another_image(tmp_path):
    paths = save(slices(S, 1, **LGE), tmp_path / "a")
    moved = slices(S, 1, **LGE)[4]
    moved.ImagePositionPatient = list(positions(12)[11])
    search = find_stacks(paths + save(moved, tmp_path / "b"))
    assert Flag.CONFLICTING_CONTENT in only(search).flags


def test_one_uid_in_two_series_is_a_conflict(tmp_path):
    """Same pixels, but which series owns them? Nobody can tell."""
    moved = slices(S, 1, **LGE)[4]
    moved.SeriesInstanceUID = S.series(2)
    search = find_stacks(save(slices(S, 1, **LGE), tmp_path / "a") + save(moved, tmp_path / "b"))
    assert reasons(search)[S.series(2)] == "CONFLICTING_CONTENT"
    assert Flag.CONFLICTING_CONTENT in only(search).flags


@pytest.mark.parametrize(("times", "reason"), [(2, "LGE_SHORT_AXIS"), (3, "MANY_INVERSION_TIMES")])
def test_slice_repeated_with_another_inversion_time(times, reason, tmp_path):
    """Two inversion times at one of ten locations are a repeat; three are a scout."""
    at = positions(10)
    datasets = slices(
        S,
        1,
        at=[*at, *[at[3]] * (times - 1)],
        InversionTime=lambda i: 280.0 + 20 * max(i - 9, 0),
        AcquisitionTime=lambda i: f"{110000 + i}",
        **_without_ti(),
    )
    search = find_stacks(save(datasets, tmp_path))
    assert reasons(search) == {S.series(1): reason}


def test_conflict_in_a_series_of_one_slice_is_told(tmp_path):
    """The conflicting slice takes its whole series with it: the stack made of the others must say so."""
    parts = [slices(S, number, at=[place], **LGE)[0] for number, place in enumerate(positions(10), start=1)]
    other = slices(S, 10, at=[positions(10)[9]], pixels=lambda i: image(77), **LGE)
    search = find_stacks(save(parts, tmp_path / "a") + save(other, tmp_path / "b"))
    stack = only(search)
    assert len(stack.frames) == 9
    assert set(stack.flags) == {Flag.CONFLICTING_CONTENT, Flag.MISSING_SLICE}


# --- magnitude, PSIR, MOCO -------------------------------------------------------------------------


def siemens(series, suffix, **more):
    return slices(S, series, description=f"de_tfl_psir_sa{suffix}", InversionTime=300.0, **more)


def test_magnitude_is_taken_and_its_twin_says_so(tmp_path):
    search = find_stacks(save(siemens(1, "_MAG") + siemens(2, "_PSIR"), tmp_path))
    assert only(search).component is Component.MAGNITUDE
    assert only(search).flags == ()
    assert reasons(search) == {S.series(1): "LGE_SHORT_AXIS", S.series(2): "PSIR_TWIN"}
    assert {v.verdict for v in search.series if v.reason == "PSIR_TWIN"} == {Verdict.REJECTED}


def test_suffix_beats_image_type(tmp_path):
    """Siemens calls the phase-sensitive image M as well."""
    search = find_stacks(save(siemens(1, "_PSIR", ImageType=["ORIGINAL", "PRIMARY", "M", "PSIR_"]), tmp_path))
    assert only(search).component is Component.PSIR


def test_psir_alone_can_be_refused(tmp_path):
    paths = save(siemens(2, "_PSIR"), tmp_path)
    assert only(find_stacks(paths)).flags == (Flag.PSIR_ONLY,)
    search = find_stacks(paths, Rules(accept_psir_only=False))
    assert not search.stacks
    assert [(v.verdict, v.reason) for v in search.series] == [(Verdict.REVIEW, "PSIR_REFUSED")]


def test_slice_that_only_the_twin_has_is_missing(tmp_path):
    at = positions(10)
    search = find_stacks(save(siemens(1, "_MAG", at=at[:9]) + siemens(2, "_PSIR", at=at), tmp_path))
    assert only(search).component is Component.MAGNITUDE
    assert only(search).flags == (Flag.MISSING_SLICE,)


def test_magnitude_of_a_few_slices_does_not_beat_a_whole_psir_stack(tmp_path):
    at = positions(10)
    search = find_stacks(save(siemens(1, "_MAG", at=at[:3]) + siemens(2, "_PSIR", at=at), tmp_path))
    assert len(only(search).frames) == 10
    assert reasons(search) == {S.series(1): "INCOMPLETE_TWIN", S.series(2): "LGE_SHORT_AXIS"}


def test_ge_components_in_one_series(tmp_path):
    at = [place for place in positions(9) for _ in range(4)]
    datasets = slices(S, 1, at=at, GE_COMPONENT=lambda i: i % 4, ImageType=["ORIGINAL", "PRIMARY", "OTHER"], **LGE)
    search = find_stacks(save(datasets, tmp_path, "1.2.840.10008.1.2"))
    stack = only(search)
    assert (stack.component, len(stack.frames)) == (Component.MAGNITUDE, 9)
    assert sorted((v.reason, v.instances) for v in search.series) == [
        ("LGE_SHORT_AXIS", 9),
        ("PHASE_IMAGE", 18),
        ("PSIR_TWIN", 9),
    ]


def test_philips_four_components_in_one_series(tmp_path):
    types = (["M_IR", "M", "IR"], ["CR_IR", "CR", "IR"], ["R_IR", "R", "IR"], ["PHASE MAP", "P", "IR"])
    at = [place for place in positions(8) for _ in range(4)]
    order = np.random.default_rng(3).permutation(32) + 1
    datasets = slices(
        S,
        1,
        description="PSIR_TFE 8slices",
        manufacturer="Philips",
        at=at,
        ImageType=lambda i: ["ORIGINAL", "PRIMARY", *types[i % 4]],
        InstanceNumber=lambda i: int(order[i]),
    )
    search = find_stacks(save(datasets, tmp_path))
    assert (only(search).component, len(only(search).frames)) == (Component.MAGNITUDE, 8)
    assert sorted((v.reason, v.instances) for v in search.series) == [
        ("LGE_SHORT_AXIS", 8),
        ("PHASE_IMAGE", 8),
        ("PSIR_TWIN", 16),
    ]


def test_enhanced_components_are_split_by_frame(tmp_path):
    order = np.random.default_rng(5).permutation(16)
    ds = enhanced(
        description="PSIR",
        count=8,
        components=("MAGNITUDE", "REAL"),
        frame_types=(("ORIGINAL", "PRIMARY", "M_IR", "M"), ("ORIGINAL", "PRIMARY", "CR_IR", "CR")),
        order=order,
    )
    search = find_stacks(save(ds, tmp_path))
    stack = only(search)
    assert (stack.component, len(stack.frames)) == (Component.MAGNITUDE, 8)
    assert sorted(frame.frame_number for frame in stack.frames) == sorted(
        int(np.flatnonzero(order == i)[0]) + 1 for i in range(8)
    )
    assert {v.reason for v in search.series} == {"LGE_SHORT_AXIS", "PSIR_TWIN"}


def test_motion_corrected_average_only_where_there_is_nothing_else(tmp_path):
    moco = siemens(3, "_MAG_MOCO", ImageType=["DERIVED", "PRIMARY", "M", "MOCO"])
    other = slices(S, 1, description="LGE bh sax", InversionTime=300.0)
    search = find_stacks(save(moco + other, tmp_path / "a"))
    assert reasons(search) == {S.series(1): "LGE_SHORT_AXIS", S.series(3): "MOCO_TWIN"}
    few = slices(S, 1, description="LGE bh sax", InversionTime=300.0, count=3)
    search = find_stacks(save(moco + few, tmp_path / "b"))
    assert sorted((len(stack.frames), stack.flags) for stack in search.stacks) == [(3, ()), (10, (Flag.MOCO_ONLY,))]


def test_second_reconstruction_of_one_acquisition(tmp_path):
    plain = siemens(1, "_MAG", ImageType=["ORIGINAL", "PRIMARY", "M", "ND"], AcquisitionTime="110000")
    corrected = siemens(2, "_MAG", AcquisitionTime="110000")
    search = find_stacks(save(plain + corrected, tmp_path))
    assert reasons(search) == {S.series(1): "DUPLICATE_RECONSTRUCTION", S.series(2): "LGE_SHORT_AXIS"}


# --- score and overrides ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"description": "DE_SAX"}, "LGE_SHORT_AXIS"),
        ({"description": "corte DE eje corto", "defaults": {"EchoTime": 1.5}}, "UNCERTAIN"),
        ({"description": "INDEX sax", "defaults": {"EchoTime": 1.5}}, "NOT_LGE"),
        ({"description": "SC 2DDel Enh 250"}, "LGE_SHORT_AXIS"),
        ({"description": "PA rehaussement tardif"}, "LGE_SHORT_AXIS"),
        ({"description": "Realce tardío"}, "LGE_SHORT_AXIS"),
        ({"description": None, "ProtocolName": "LGE_2D_Ssh_RT SAx", "manufacturer": "Philips"}, "LGE_SHORT_AXIS"),
        ({"description": None, "ProtocolName": "LGE", "defaults": {"EchoTime": 1.5}}, "NOT_LGE"),
        ({"InversionTime": 620.0}, "INVERSION_TIME"),
        ({"InversionTime": 0.0}, "LGE_SHORT_AXIS"),
        ({"TriggerTime": 700.0}, "LGE_SHORT_AXIS"),
        ({"EchoTime": 25.0}, "LONG_ECHO"),
        ({"description": "phase SAX LGE", "ImageType": ["ORIGINAL", "PRIMARY", "P"]}, "PHASE_IMAGE"),
        ({"SamplesPerPixel": 3, "pixels": lambda i: np.zeros((3, 16, 16), np.uint16), "Rows": 16}, "NOT_GRAYSCALE"),
    ],
)
def test_evidence(elements, reason, tmp_path):
    if "manufacturer" not in elements and elements.get("ProtocolName") == "LGE":
        elements = {**elements, "manufacturer": "GE MEDICAL SYSTEMS"}  # names the exam: no evidence
    datasets = slices(**{"description": "LGE sax", **elements})
    search = find_stacks(save(datasets, tmp_path))
    assert [v.reason for v in search.series] == [reason], search.series


def test_site_overrides(tmp_path):
    paths = save(slices(description="Herz Spezial 7", ScanningSequence="SE", defaults={"EchoTime": 30.0}), tmp_path)
    assert [v.reason for v in find_stacks(paths).series] == ["SPIN_ECHO"]
    search = find_stacks(paths, Rules(site_accept=("^herz spezial",)))
    assert only(search)
    assert [v.reason for v in search.series] == ["SITE_ACCEPT"]
    both = Rules(site_accept=("spezial",), site_reject=("Spezial",))
    assert [v.reason for v in find_stacks(paths, both).series] == ["SITE_REJECT"]


def test_site_accept_can_not_make_an_image_of_what_is_none(tmp_path):
    paths = save(slices(ImagePositionPatient=None, **LGE), tmp_path)
    search = find_stacks(paths, Rules(site_accept=("LGE",)))
    assert not search.stacks
    assert [v.reason for v in search.series] == ["NO_GEOMETRY"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"site_accept": ("(",)},
        {"lge_names": (".*",)},
        {"review_score": 7},
        {"plane_accept": 60.0},
        {"max_slices": 0},
        {"short_axis_x": 0.0, "short_axis_y": 0.0, "short_axis_z": 0.0},
    ],
)
def test_rules_that_can_not_work_are_refused(wrong):
    with pytest.raises(ConfigError, match=r"\[recognition\]"):
        Rules(**wrong)


def test_every_rule_is_of_a_plain_type():
    for field in dataclasses.fields(Rules):
        assert field.type in ("int", "float", "bool", "str", "tuple[str, ...]")


# --- the input's identity --------------------------------------------------------------------------


def test_digest_of_the_input_ignores_path_and_sender(tmp_path):
    datasets = slices(S, 1, **LGE)
    first = only(find_stacks(save(datasets, tmp_path / "a")))
    moved = [write(ds, tmp_path / f"z{9 - i}.dcm", sender="PACS") for i, ds in enumerate(slices(S, 1, **LGE))]
    assert input_digest(only(find_stacks(moved))) == input_digest(first)
    changed = slices(S, 1, pixels=lambda i: image(i + (i == 3) * 60), **LGE)
    assert input_digest(only(find_stacks(save(changed, tmp_path / "c")))) != input_digest(first)


def test_files_of_several_studies(tmp_path):
    other = Study("another")
    datasets = slices(S, 1, **LGE) + slices(other, 1, **LGE)
    search = find_stacks(save(datasets, tmp_path))
    assert {stack.study_instance_uid for stack in search.stacks} == {S.uid, other.uid}
    assert all(len(stack.frames) == 10 for stack in search.stacks)


def test_same_path_twice_is_one_file(tmp_path):
    paths = save(slices(S, 1, count=3, **LGE), tmp_path)
    assert find_stacks(paths + paths) == find_stacks(paths)


def test_copy_of_a_folder_changes_nothing_but_paths(tmp_path):
    save(slices(S, 1, **LGE), tmp_path / "a")
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    first, second = (only(find_stacks(list((tmp_path / name).iterdir()))) for name in "ab")
    assert input_digest(first) == input_digest(second)
