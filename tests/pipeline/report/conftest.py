"""Source studies and their results, built once for all tests of the room."""

import pytest

from scarnode.pipeline.report import build_failure, build_results
from tests.pipeline.report.sources import FAILED, MATRIX, MODEL, REASON, make_case


@pytest.fixture(scope="session")
def study(tmp_path_factory):
    """Give (case, results) of a source study of `MATRIX`; the results also lie beside the case's files."""
    built = {}

    def get(label):
        if label not in built:
            folder = tmp_path_factory.mktemp("study")
            case = make_case(folder, MATRIX[label])
            if label == FAILED:
                results = build_failure(case.stack, REASON, MODEL, case.provenance)
            else:
                results = build_results(*case.arguments)
            for kind, dataset in results.items():
                dataset.save_as(folder / f"{kind}.dcm", enforce_file_format=True)
            built[label] = case, results
        return built[label]

    return get
