"""How many studies of an archive `scarnode segment` gets through in an hour, against a script that starts it per study.

    python benchmarks/backfill.py [--studies 24] [--workers 1 2] [--rounds 2]

Synthetic studies of 12 slices of 256 x 256 lie in one folder; every row analyses all of them to SEG, SR and page, in
turn. The first row is what a shell loop over the studies does: a process for each, which loads the network each time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom

SETTINGS = PhantomSettings(matrix=(256, 256), slices=12, component="magnitude")


def analyse(paths: Sequence[Path], output: Path, workers: int) -> None:
    """Run `scarnode segment`, which must analyse every study."""
    command = [sys.executable, "-m", "scarnode.cli", "segment", *map(str, paths), "-o", str(output)]
    here = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    subprocess.run([*command, "--workers", str(workers)], check=True, stdout=subprocess.DEVNULL, env=here)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=24)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=2)
    chosen = parser.parse_args()
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="scarnode-backfill-") as name:
        folder = Path(name)
        studies = [folder / "archive" / f"{number:04}" for number in range(chosen.studies)]
        for number, study in enumerate(studies):
            write_dicom(make_phantom(number, SETTINGS), study)
        few = studies[: max(1, len(studies) // 6)]
        for turn in range(chosen.rounds):
            start = time.perf_counter()
            for study in few:
                analyse([study], folder / f"loop{turn}" / study.name, 1)
            seconds.setdefault("a process for each study", []).append((time.perf_counter() - start) / len(few))
            for workers in chosen.workers:
                start = time.perf_counter()
                analyse([folder / "archive"], folder / f"out{turn}-{workers}", workers)
                row = f"scarnode segment --workers {workers}"
                seconds.setdefault(row, []).append((time.perf_counter() - start) / len(studies))
    title = f"{chosen.studies} synthetic studies of 12 slices of 256 x 256, {os.cpu_count()} cores"
    table = Table("", "seconds a study, median", "range", "studies an hour", "for each core", title=title)
    for row, values in seconds.items():
        hourly = 3600 / statistics.median(values)
        span = f"{min(values):.2f} to {max(values):.2f}"
        each = f"{hourly / (os.cpu_count() or 1):.0f}"
        table.add_row(row, f"{statistics.median(values):.2f}", span, f"{hourly:.0f}", each)
    Console(width=110).print(table)


if __name__ == "__main__":
    main()
