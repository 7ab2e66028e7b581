"""Slices of one ventricle on several pixel grids: one stack, one grid, nothing moved."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scarnode.pipeline.stack import Flag, find_stacks, read_volume
from scarnode.pipeline.stack.grid import on_own_image
from tests.pipeline.stack.builders import SHORT_AXIS, Study, enhanced, positions, put_pixels, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}
ROW, COLUMN = (np.array(SHORT_AXIS[k : k + 3]) / np.linalg.norm(SHORT_AXIS[k : k + 3]) for k in (0, 3))
NORMAL = np.cross(ROW, COLUMN)
MIDDLE = np.array([-20.0, -60.0, 80.0]) + 50 * ROW + 50 * COLUMN
"""Of the heart, in the plane of the basal slice."""


def signal(points):
    """A smooth picture in patient coordinates, shape (..., 3) -> (...): the same whatever grid it is sampled on."""
    off = np.asarray(points) - MIDDLE
    x, y, z = off @ ROW, off @ COLUMN, off @ NORMAL
    return 1500 + 900 * np.sin(x / 13) * np.cos(y / 17) + 4 * z + 3 * x - 2 * y


def grid_of(middle, rows=72, columns=80, spacing=(1.4, 1.4), turn=0.0, mirrored=False):
    """Orientation, first position and the places of all pixels (rows, columns, 3) of a slice around a middle."""
    angle = np.deg2rad(turn)
    row = np.cos(angle) * ROW + np.sin(angle) * COLUMN
    column = np.cos(angle) * COLUMN - np.sin(angle) * ROW
    row = -row if mirrored else row
    start = middle - row * spacing[1] * (columns - 1) / 2 - column * spacing[0] * (rows - 1) / 2
    r, c = np.indices((rows, columns))
    return [*row, *column], start, start + r[..., None] * spacing[0] * column + c[..., None] * spacing[1] * row


def stack_of(how, odd, count=8, spacing=10.0, series=lambda index: 1):
    """Datasets of a stack whose slices in `odd` lie on another grid."""
    direction = np.array(positions(2)[1]) - positions(2)[0]
    direction /= np.linalg.norm(direction)
    datasets = []
    for index in range(count):
        keywords = dict(how) if index in odd else {}
        away = np.array(keywords.pop("away", (0.0, 0.0)))
        middle = MIDDLE + index * spacing * direction + away[0] * ROW + away[1] * COLUMN
        orientation, start, places = grid_of(middle, **keywords)
        (ds,) = slices(S, series(index), at=[start], orientation=SHORT_AXIS, first_number=index + 1, **LGE)
        ds.ImagePositionPatient = [f"{value:.6f}" for value in start]
        ds.ImageOrientationPatient = [f"{value:.8f}" for value in orientation]
        ds.PixelSpacing = list(keywords.get("spacing", (1.4, 1.4)))
        put_pixels(ds, np.rint(signal(places)).astype(np.uint16))
        datasets.append(ds)
    return datasets


def places(stack, index):
    row, column = np.array(stack.orientation[:3]), np.array(stack.orientation[3:])
    r, c = np.indices((stack.rows, stack.columns))
    step = r[..., None] * column * stack.pixel_spacing[0] + c[..., None] * row * stack.pixel_spacing[1]
    return np.array(stack.frames[index].position) + step


def check(stack, count=8):
    """One stack of all slices, whose every pixel shows what is at its place (an edge of it may lie beyond a source)."""
    assert len(stack.frames) == count
    np.testing.assert_allclose(stack.slice_extents, 10, atol=1e-3)
    volume = read_volume(stack)
    for index in range(count):
        rows, columns = stack.rows, stack.columns
        inner = np.s_[rows // 4 : -rows // 4, columns // 4 : -columns // 4]
        error = np.abs(volume[index] - signal(places(stack, index)))[inner]
        assert error.max() < 25, f"slice {index}: off by {error.max():.0f} of 1800"


GRIDS = {
    "fewer rows": {"rows": 64},
    "more rows": {"rows": 90},
    "other columns": {"columns": 71},
    "spacing 2 %": {"spacing": (1.428, 1.428)},
    "spacing 2 % of rows": {"spacing": (1.428, 1.4)},
    "spacing and matrix": {"rows": 100, "columns": 96, "spacing": (1.1, 1.1)},
    "larger field of view": {"spacing": (1.9, 1.9)},
    "twice as fine": {"rows": 144, "columns": 160, "spacing": (0.7, 0.7)},
    "turned by 1 degree": {"turn": 1.0},
    "turned by 4 degrees": {"turn": 4.0},
    "turned by 12 degrees": {"turn": 12.0},
    "rows for columns": {"turn": 90.0, "rows": 80, "columns": 80},
    "mirrored": {"mirrored": True},
    "off the grid": {"away": (3.3, -2.6), "rows": 64},
}


@pytest.mark.parametrize("odd", [{0}, {7}, {3}, {0, 5}], ids=["base", "apex", "middle", "two"])
@pytest.mark.parametrize("how", GRIDS)
def test_slices_on_another_grid(how, odd, tmp_path):
    search = find_stacks(save(stack_of(GRIDS[how], odd), tmp_path))
    (stack,) = search.stacks
    assert stack.flags == (Flag.RESAMPLED_SLICE,)
    assert [verdict.reason for verdict in search.series] == ["LGE_SHORT_AXIS"]
    check(stack)


@pytest.mark.parametrize("how", GRIDS)
def test_half_of_the_slices_each(how, tmp_path):
    for folder, series in (("one", lambda index: 1), ("two", lambda index: 1 + index // 4)):
        (stack,) = find_stacks(save(stack_of(GRIDS[how], {4, 5, 6, 7}, series=series), tmp_path / folder)).stacks
        assert stack.flags == (Flag.RESAMPLED_SLICE,)
        check(stack)


def test_every_slice_on_another_grid(tmp_path):
    datasets = [stack_of({"rows": 60 + 4 * k, "spacing": (1.2 + 0.05 * k,) * 2}, {k})[k] for k in range(8)]
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    check(stack)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.integers(64, 110),  # with the pixel sizes: what `check` looks at lies inside the source, however it is turned
    st.integers(64, 110),
    st.floats(1.4, 2.0),
    st.floats(1.4, 2.0),
    st.floats(-45, 45),
    st.booleans(),
    st.sets(st.integers(0, 7), min_size=1, max_size=3),
)
def test_any_grid(tmp_path_factory, rows, columns, between_rows, between_columns, turn, mirrored, odd):
    how = {"rows": rows, "columns": columns, "spacing": (round(between_rows, 3), round(between_columns, 3))}
    how |= {"turn": turn, "mirrored": mirrored}
    (stack,) = find_stacks(save(stack_of(how, odd), tmp_path_factory.mktemp("grid"))).stacks
    check(stack)


def test_a_lattice_that_is_shared_gives_the_pixels_as_they_are(tmp_path):
    datasets = stack_of({}, set())
    whole = np.frombuffer(datasets[2].PixelData, "<u2").reshape(72, 80)
    put_pixels(datasets[2], whole[:-8])
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    found = read_volume(stack)[2]
    np.testing.assert_array_equal(found[:-8], whole[:-8])
    assert (found[-8:] == whole[:-8].min()).all()
    assert [frame.grid is not None for frame in stack.frames] == [index == 2 for index in range(8)]


def test_a_resampled_slice_has_another_matrix_than_its_source(tmp_path):
    """A viewer that lays masks on images pixel by pixel must not take one for the other."""
    for number, how in enumerate(GRIDS.values()):
        (stack,) = find_stacks(save(stack_of(how, {0, 3}), tmp_path / str(number))).stacks
        odd = stack.frames[3].grid
        assert (odd.rows, odd.columns) != (stack.rows, stack.columns)


def test_outlines_are_brought_back_to_the_source(tmp_path):
    (stack,) = find_stacks(save(stack_of(GRIDS["turned by 12 degrees"], {3}), tmp_path)).stacks
    frame = stack.frames[3]
    outline = np.array([(30.5, 25.5), (40.5, 25.5), (40.5, 45.5)])  # centres of pixels
    found = on_own_image(outline, stack, frame)
    expected = [places(stack, 3)[25, 30], places(stack, 3)[25, 40], places(stack, 3)[45, 40]]
    row, column = np.array(frame.grid.orientation[:3]), np.array(frame.grid.orientation[3:])
    steps = (found - 0.5) * 1.4
    where = np.array(frame.grid.position) + steps[:, :1] * row + steps[:, 1:] * column
    np.testing.assert_allclose(where, expected, atol=0.01)
    np.testing.assert_allclose(on_own_image(outline, stack, stack.frames[0]), outline, atol=1e-3)


def test_frames_of_one_enhanced_image_beside_another(tmp_path):
    """One multi-frame image for each grid, in one series."""
    first, second = enhanced(count=6), enhanced(count=6, number=2)
    shift = np.array(positions(7)[6]) - positions(7)[0]
    for group in second.PerFrameFunctionalGroupsSequence:
        place = group.PlanePositionSequence[0]
        place.ImagePositionPatient = [f"{value:.5f}" for value in np.array(place.ImagePositionPatient, float) + shift]
    second.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing = [1.7, 1.7]
    (stack,) = find_stacks(save([first, second], tmp_path)).stacks
    assert len(stack.frames) == 12
    assert stack.flags == (Flag.RESAMPLED_SLICE,)
    assert stack.pixel_spacing == (1.4, 1.4)


def test_a_slice_that_does_not_cover_the_middle_is_a_missing_one(tmp_path):
    (stack,) = find_stacks(save(stack_of({"away": (60.0, 0.0), "rows": 64}, {3}), tmp_path)).stacks
    assert stack.flags == (Flag.MISSING_SLICE, Flag.RESAMPLED_SLICE)


@pytest.mark.parametrize("odd", [{0}, {4}, {6, 7}, {4, 5, 6, 7}])
def test_tilted_slices_of_the_series_are_missing_ones(odd, tmp_path):
    datasets = stack_of({}, set())
    for index in odd:
        angle = np.deg2rad(8.0)
        turned = np.cos(angle) * COLUMN + np.sin(angle) * NORMAL
        datasets[index].ImageOrientationPatient = [*np.round(ROW, 8), *np.round(turned, 8)]
    search = find_stacks(save(datasets, tmp_path))
    (stack,) = search.stacks
    assert len(stack.frames) == 8 - len(odd)
    assert Flag.MISSING_SLICE in stack.flags
    assert sorted(v.reason for v in search.series) == ["LGE_SHORT_AXIS", "NOT_PARALLEL"]


def test_pixel_sizes_that_no_scanner_has_take_no_time(tmp_path):
    datasets = stack_of({}, set())
    datasets[2].PixelSpacing = [0.01, 0.01]
    datasets[5].PixelSpacing = [100, 100]
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    assert Flag.MISSING_SLICE in stack.flags
    assert np.isfinite(read_volume(stack)).all()


# --- several series, several frames of reference ---------------------------------------------------


@pytest.mark.parametrize("missing", [0, 1])
def test_base_and_apex_in_two_series_are_one_ventricle(missing, tmp_path):
    datasets = stack_of({}, set(), count=10, series=lambda index: 1 + index // 5)
    del datasets[5 : 5 + missing]
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    assert len(stack.frames) == 10 - missing
    assert stack.flags == ((Flag.MISSING_SLICE,) if missing else ())


@pytest.mark.parametrize(
    ("space", "one_series"),
    [
        (lambda index: index // 4, True),
        (lambda index: index, True),
        (lambda index: index, False),
        (lambda index: index % 2, True),
    ],
    ids=["halves", "each", "each, a series each", "in turn"],
)
def test_several_frames_of_reference_are_flagged(space, one_series, tmp_path):
    datasets = stack_of({}, set(), series=(lambda index: 1) if one_series else (lambda index: 1 + index))
    for index, ds in enumerate(datasets):
        ds.FrameOfReferenceUID = Study(f"space {space(index)}").uid
    (stack,) = find_stacks(save(datasets, tmp_path)).stacks
    assert len(stack.frames) == 8
    assert stack.flags == (Flag.FRAMES_OF_REFERENCE,)


def test_a_cine_is_one_whatever_its_frames_of_reference(tmp_path):
    at = [place for place in positions(5) for _ in range(6)]
    datasets = slices(S, at=at, **{**LGE, "description": "sax"})
    for index, ds in enumerate(datasets):
        ds.FrameOfReferenceUID = Study(f"space {index}").uid
    search = find_stacks(save(datasets, tmp_path))
    assert [verdict.reason for verdict in search.series] == ["MANY_PHASES"]


def test_stacks_of_two_frames_of_reference_at_the_same_places_stay_apart(tmp_path):
    """A patient who was laid down again: positions in one say nothing of the other."""
    datasets = stack_of({}, set()) + stack_of({}, set())
    for index, ds in enumerate(datasets):
        ds.SOPInstanceUID = S.instance(1, index)
        ds.FrameOfReferenceUID = Study(f"space {index // 8}").uid
    stacks = find_stacks(save(datasets, tmp_path)).stacks
    assert [len(stack.frames) for stack in stacks] == [8, 8]
    assert len({stack.frame_of_reference_uid for stack in stacks}) == 2
    assert all(stack.flags == () for stack in stacks)
