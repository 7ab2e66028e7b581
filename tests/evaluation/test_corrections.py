"""Readers against the network, over time."""

import json

import numpy as np
import pytest

from scarnode.cases.model import npz_arrays, write_npz
from scarnode.pipeline.segment.model import Tissue
from tests.training.toys import toy_case


def keep(folder, name, day, changed, network="a"):
    """A correction that calls so many of the network's scar voxels normal."""
    case = toy_case(1, scar=True)
    labels = case.label.copy()
    places = np.argwhere(labels == Tissue.SCAR)[:changed]
    assert len(places) == changed
    labels[tuple(places.T)] = Tissue.MYOCARDIUM
    arrays = {**npz_arrays(case), "label": labels, "network_label": case.label}
    folder.mkdir(exist_ok=True)
    np.savez_compressed(folder / f"{name}.npz", **arrays, network=["net", network, "ab" * 32], corrected_on=day)
    return changed * float(np.prod(case.pixel_spacing)) * case.slice_distance / 1000


def test_by_month_by_network_and_in_sum(tmp_path, scarnode):
    folder = tmp_path / "corrections"
    volumes = [
        keep(folder, name, day, changed, network)
        for name, day, changed, network in (
            ("p1", "2026-02-28", 4, "1"),
            ("p2", "2026-01-31", 8, "1"),
            ("p3", "2026-02-01", 0, "2"),
        )
    ]
    scarnode("evaluate", "--corrections", folder, "-o", tmp_path / "out")
    found = json.loads((tmp_path / "out" / "corrections.json").read_text())
    assert [(row["name"], row["stacks"]) for row in found["by_month"]] == [("2026-01", 1), ("2026-02", 2)]
    assert [row["stacks"] for row in found["by_network"]] == [2, 1]
    assert found["all"]["scar"]["bias"]["value"] == pytest.approx(sum(volumes) / 3)
    assert found["by_month"][0]["scar"]["bias"]["value"] == pytest.approx(volumes[1])
    assert found["all"]["myocardium"]["bias"]["value"] == pytest.approx(0)
    assert found["all"]["lge"]["bias"]["value"] > 0
    assert found["all"]["dice_myocardium"]["mean"] == 1
    report = (tmp_path / "out" / "corrections.md").read_text()
    assert "| 2026-02 | 2 |" in report
    assert "Research use only" in report


def test_other_cases_and_no_cases_are_explained(tmp_path, scarnode):
    assert "no correction lies here" in scarnode("evaluate", "--corrections", tmp_path, "-o", tmp_path, code=2).stderr
    write_npz(toy_case(1), tmp_path)
    wrong = scarnode("evaluate", "--corrections", tmp_path, "-o", tmp_path, code=2).stderr
    assert "network_label" in wrong
    assert "no case is given" in scarnode("evaluate", "-o", tmp_path, code=2).stderr
