"""Studies of many instances: time and memory grow with their number, not with its square."""

import time

import numpy as np
import pytest

from scarnode.pipeline.stack import find_stacks
from tests.pipeline.stack.builders import Study, positions, save, slices

S = Study()
LGE = {"description": "LGE SAX", "manufacturer": "GE MEDICAL SYSTEMS", "InversionTime": 280.0}


def tiny(_index):
    return np.ones((4, 4), np.uint16)


def turned(count):
    """Every image in a plane of its own."""
    datasets = slices(S, 1, at=[positions(10)[i % 10] for i in range(count)], pixels=tiny, **LGE)
    rng = np.random.default_rng(1)
    for ds in datasets:
        row = rng.normal(size=3)
        column = np.cross(row, rng.normal(size=3))
        pair = (*row / np.linalg.norm(row), *column / np.linalg.norm(column))
        ds.ImageOrientationPatient = [round(float(value), 6) for value in pair]
    return datasets


KINDS = {
    "stacks": lambda count: [ds for k in range(count // 3) for ds in slices(S, k, count=3, pixels=tiny, **LGE)],
    "planes": turned,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_a_study_of_hundreds_of_stacks_is_left_to_a_person_in_bounded_time(kind, tmp_path):
    paths = save(KINDS[kind](450), tmp_path)
    start = time.process_time()
    search = find_stacks(paths)
    assert time.process_time() - start < 15  # comparing every two stacks takes minutes
    assert search.stacks == ()
    assert "TOO_MANY_STACKS" in {verdict.reason for verdict in search.series}
