"""The load bench, short: nothing lost, nobody overtaken, C-ECHO answered, memory flat."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parent.parent.parent / "benchmarks" / "soak.py"


@pytest.fixture
def bench(monkeypatch):
    specification = importlib.util.spec_from_file_location("soak", BENCH)
    module = importlib.util.module_from_spec(specification)
    monkeypatch.setitem(sys.modules, "soak", module)
    monkeypatch.syspath_prepend(BENCH.parent)  # the process that asks by C-ECHO imports it anew
    specification.loader.exec_module(module)
    return module


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_four_scanners_at_twice_the_rate(bench, tmp_path):
    figures = bench.soak(tmp_path, minutes=1.5, rate_studies=3)
    print(figures)
    assert figures.sent >= 4
    assert figures.faults() == []
    low = figures.memory["node"][1]
    assert low < 200, "the node's memory grows (MB/h, lower end of the interval)"


def test_the_slope_of_memory_that_grows_and_of_memory_that_does_not(bench):
    seconds = range(600)
    flat = [(t, 100 + (t % 7)) for t in seconds]
    slope, low, high = bench.slope(flat)
    assert low < 0 < high
    growing = [(t, 100 + (t % 7) + t / 60) for t in seconds]
    slope, low, high = bench.slope(growing)
    assert slope == pytest.approx(60, rel=0.1)
    assert low > 30
