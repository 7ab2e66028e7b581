"""What holds for every stack, whatever its orientation, order and spacing."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scarnode.pipeline.stack import Flag, find_stacks, read_volume
from tests.pipeline.stack.builders import BASE, Study, enhanced, image, orthonormal, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}
QUICK = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@st.composite
def planes(draw):
    """ImageOrientationPatient of a plane within 30 degrees of the short axis, turned in itself, perhaps mirrored."""
    base = BASE / np.linalg.norm(BASE)
    side = np.cross(base, [draw(st.floats(-1, 1)), draw(st.floats(-1, 1)), 2.0])
    side /= np.linalg.norm(side)
    tilt = np.deg2rad(draw(st.floats(0, 30)))
    normal = np.cos(tilt) * base + np.sin(tilt) * np.cross(side, base)
    turn = draw(st.floats(0, 2 * np.pi))
    row = np.cos(turn) * side + np.sin(turn) * np.cross(normal, side)
    row -= (row @ normal) * normal
    row /= np.linalg.norm(row)
    column = np.cross(normal, row) * draw(st.sampled_from([1, -1]))
    return orthonormal([*row, *column]), normal


@QUICK
@given(st.randoms(use_true_random=False), st.booleans())
def test_any_order_of_files_gives_the_same(tmp_path_factory, random, split):
    folder = tmp_path_factory.mktemp("shuffle")
    datasets = slices(S, 1, count=5, **LGE) + slices(S, 2, count=5, **{**LGE, "description": "PSIR: LGE SAX"})
    datasets += [enhanced(S, 4, count=4), *slices(S, 5, description="cine", count=2)]
    if split:
        for index, ds in enumerate(datasets[:5]):
            ds.SeriesInstanceUID = S.series(30 + index)
    paths = save(datasets, folder)
    expected = find_stacks(paths)
    random.shuffle(paths)
    assert find_stacks(paths) == expected
    assert expected.stacks


@QUICK
@given(planes(), st.integers(3, 12), st.floats(1.0, 14.0), st.randoms(use_true_random=False))
def test_base_to_apex_whatever_the_orientation(tmp_path_factory, plane, count, spacing, random):
    orientation, normal = plane
    start = np.array([12.0, -40.0, 55.0])
    at = [tuple(np.round(start - k * spacing * normal, 5)) for k in range(count)]
    datasets = slices(S, 1, at=at, orientation=orientation, thickness=spacing, **LGE)
    random.shuffle(datasets)
    (stack,) = find_stacks(save(datasets, tmp_path_factory.mktemp("plane"))).stacks
    np.testing.assert_allclose([frame.position for frame in stack.frames], at, atol=1e-6)
    assert stack.normal @ BASE > 0
    np.testing.assert_allclose(stack.slice_extents.sum(), spacing * count, rtol=1e-4)
    np.testing.assert_array_equal(read_volume(stack), [image(k) for k in range(count)])
    assert stack.flags == ()


@QUICK
@given(st.lists(st.floats(2.0, 20.0), min_size=2, max_size=14))
def test_extents_sum_to_the_covered_depth(tmp_path_factory, gaps):
    normal = BASE / np.linalg.norm(BASE)
    depth = np.concatenate([[0.0], np.cumsum(gaps)])
    at = [tuple(np.round(np.array([10.0, 20.0, 30.0]) - d * normal, 6)) for d in depth]
    (stack,) = find_stacks(save(slices(S, 1, at=at, **LGE), tmp_path_factory.mktemp("gaps"))).stacks
    # the end slices reach half a gap beyond their centres
    np.testing.assert_allclose(stack.slice_extents.sum(), depth[-1] + gaps[0] / 2 + gaps[-1] / 2, rtol=1e-3)
    step = sorted(gaps)[(len(gaps) - 1) // 2]
    ratios = np.array(gaps) / step
    if ratios.max() >= 1.81:
        assert Flag.MISSING_SLICE in stack.flags
    if ratios.max() <= 1.79:
        assert Flag.MISSING_SLICE not in stack.flags
        if np.abs(ratios - 1).max() > 0.11:
            assert Flag.UNEQUAL_SPACING in stack.flags
        if np.abs(ratios - 1).max() < 0.09:
            assert Flag.UNEQUAL_SPACING not in stack.flags
