"""How long a study takes from its last image to its result in the PACS, and what an idle node costs.

    python benchmarks/walk.py [--studies 7] [--idle 60]

Synthetic studies of 12 slices of 256 x 256 are sent by dcmtk's storescu to `scarnode serve`, one after the other; SEG
and SR go to a real Orthanc by C-STORE. The ledger's own times say when what happened; the quiet time after the last
image (`[study] quiet_seconds`) is not counted. The rooms inside the analysis are timed in this process, on the same
images. A worker's cold start is from nothing to a loaded network. Needs dcmtk and Orthanc.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.analyse import provenance_now, write_objects
from scarnode.pipeline.measure import measure
from scarnode.pipeline.report import build_results
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.pipeline.stack import find_stacks, read_volume
from tests.harness import ledger as books
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.tools import find_tool, wait_until

T = TypeVar("T")
QUIET = 1.0
SETTINGS = PhantomSettings(matrix=(256, 256), slices=12, component="magnitude")
STORY = """
    SELECT (SELECT max(received_at) FROM instance WHERE study_id = job.study_id) AS received, job.created_at AS queued,
           (SELECT max(at) FROM event WHERE job_id = job.id AND to_state = 'running') AS started,
           (SELECT max(at) FROM event WHERE job_id = job.id AND from_state = 'running') AS analysed,
           (SELECT max(sent_at) FROM delivery WHERE job_id = job.id) AS accepted
    FROM job WHERE state = 'done' ORDER BY id"""
STEPS = (
    ("quiet study seen, searched, job queued", "queued", "received"),
    ("job claimed by a worker", "started", "queued"),
    ("analysed: SEG, SR and page on disk", "analysed", "started"),
    ("SEG and SR accepted by the PACS", "accepted", "analysed"),
)


def walk(studies: int, folder: Path, idle: float) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Send studies one after the other; seconds of each step, and the idle node's figures."""
    with Orthanc(folder / "orthanc") as orthanc:
        pacs = {"host": orthanc.host, "port": orthanc.port, "ae_title": orthanc.ae_title, "objects": "seg, sr"}
        study = {"quiet_seconds": QUIET, "hold_flags": "NONE"}
        with Node(folder / "node", {"pacs": pacs}, study=study, web={"port": 8104}) as node:
            for number in range(studies + 1):
                paths = write_dicom(make_phantom(number, SETTINGS), folder / f"study{number}")
                command = [find_tool("storescu"), "-aec", node.ae_title, node.host, str(node.port), *map(str, paths)]
                subprocess.run(command, check=True)
                wait_until(lambda done=number + 1: len(_done(node)) == done, 120, "the result in the PACS")
            at_rest = rest(node.pid, idle)
            rows = _done(node)[1:]  # the first met a worker that was still loading the network
    steps = {name: [row[end] - row[start] for row in rows] for name, end, start in STEPS}
    steps[STEPS[0][0]] = [seconds - QUIET for seconds in steps[STEPS[0][0]]]
    return steps, at_rest


def _done(node: Node) -> list[dict[str, float]]:
    return books.query(node.ledger_path, STORY)


def rooms(studies: int, folder: Path) -> dict[str, list[float]]:
    """Time the rooms of an analysis one by one."""
    segmenter = Segmenter(device="cpu")
    seconds: dict[str, list[float]] = {}

    def timed(room: str, work: Callable[[], T]) -> T:
        start = time.perf_counter()
        result = work()
        seconds.setdefault(room, []).append(time.perf_counter() - start)
        return result

    for number in range(studies + 1):
        paths = sorted((folder / f"study{number}").rglob("*.dcm"))
        [stack] = timed("stack: find", lambda paths=paths: find_stacks(paths)).stacks
        volume = timed("stack: read pixels", lambda stack=stack: read_volume(stack))
        found = timed("segment", lambda v=volume, s=stack: segmenter.segment(v, s.pixel_spacing))
        numbers = timed("measure", lambda s=stack, v=volume, f=found: measure(s, v, f))
        about = provenance_now(stack, segmenter.identity.sha256, "")
        made = timed("report", lambda s=stack, v=volume, f=found, n=numbers, a=about: build_results(s, v, f, n, a))
        timed("write", lambda made=made, n=number: write_objects(made, folder / f"out{n}"))
    return {room: values[1:] for room, values in seconds.items()}


COLD_START = """
import sys, time
from pathlib import Path
from scarnode import cli  # as the console script does, which a process that is spawned imports once more
from scarnode.node.messages import WorkerSettings
from scarnode.node.worker import Worker

if __name__ == "__main__":
    worker, start = Worker(WorkerSettings(None, "cpu", 2, Path("."), Path(".")), 60), time.perf_counter()
    worker.start()
    print(time.perf_counter() - start)
    worker.stop()
"""


def cold_starts(times: int, folder: Path) -> list[float]:
    """Start a worker process so many times; seconds until it holds the network."""
    program = folder / "cold_start.py"
    program.write_text(COLD_START)
    path = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parent.parent)}
    command = [sys.executable, str(program)]
    runs = [subprocess.run(command, env=path, check=True, capture_output=True, text=True) for _ in range(times)]
    return [float(run.stdout) for run in runs]


def rest(pid: int, seconds: float) -> dict[str, float]:
    """Watch a node that has nothing to do, with its worker: share of a core, MB."""
    pids = [pid, *_children(pid)]
    before = sum(map(_processor_seconds, pids))
    time.sleep(seconds)
    share = 100 * (sum(map(_processor_seconds, pids)) - before) / seconds
    return {"processor, % of a core": share, "node, MB": _megabytes(pid), "all, MB": sum(map(_megabytes, pids))}


def _children(pid: int) -> list[int]:
    """Give the processes below one; each thread lists those that it started."""
    found = [
        int(one) for task in Path(f"/proc/{pid}/task").iterdir() for one in (task / "children").read_text().split()
    ]
    return [child for one in found for child in (one, *_children(one))]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _megabytes(pid: int) -> float:
    """Give the proportional set size: pages that processes share count once in all."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def _row(name: str, values: Sequence[float], whole: float) -> tuple[str, ...]:
    middle = statistics.median(values)
    return name, f"{middle:.2f}", f"{min(values):.2f} to {max(values):.2f}", f"{100 * middle / whole:.0f}"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=7)
    parser.add_argument("--idle", type=float, default=60)
    chosen = parser.parse_args()
    console = Console(width=110)
    with tempfile.TemporaryDirectory() as name:
        steps, at_rest = walk(chosen.studies, Path(name), chosen.idle)
        inside = rooms(chosen.studies, Path(name))
        starts = cold_starts(chosen.studies, Path(name))
    total = [sum(values) for values in zip(*steps.values(), strict=True)]
    for title, parts in (("From the last image to the PACS", steps), ("Inside the analysis, in this process", inside)):
        sums = total if parts is steps else [sum(values) for values in zip(*parts.values(), strict=True)]
        whole = statistics.median(sums)
        table = Table(
            "", "s, median", "range", "%", title=f"{title}: {chosen.studies} studies of 12 slices of 256 x 256"
        )
        for step, values in parts.items():
            table.add_row(*_row(step, values, whole))
        table.add_row(*_row("whole", sums, whole))
        console.print(table)
    console.print(f"Cold start of a worker: {statistics.median(starts):.2f} s ({min(starts):.2f} to {max(starts):.2f})")
    console.print(
        f"At rest for {chosen.idle:.0f} s, worker loaded: " + ", ".join(f"{k}: {v:.1f}" for k, v in at_rest.items())
    )


if __name__ == "__main__":
    main()
