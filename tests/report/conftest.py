"""Source studies and their results, built once for all tests of the room."""

import pytest
from sources import MATRIX, NAMES, make_case

from scarnode.report import build_results


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Give (case, results) of a source study of `MATRIX`; the results also lie beside the case's files."""
    built = {}

    def get(label):
        if label not in built:
            folder = tmp_path_factory.mktemp("study")
            case = make_case(folder, MATRIX[label])
            results = build_results(*case.arguments)
            for name in NAMES:
                getattr(results, name.removesuffix(".dcm")).save_as(folder / name, enforce_file_format=True)
            built[label] = case, results
        return built[label]

    return get
