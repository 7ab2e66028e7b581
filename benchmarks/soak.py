"""Four scanners send at once, at twice what the node can analyse: is anything lost, does memory grow, who waits?

    python benchmarks/soak.py [--minutes 10] [--load 2]

The node's own rate is measured first, in the same run. Studies are synthetic: 12 slices of 256 x 256, one study an
association, sent by dcmtk's storescu; results go to an archive in this process. One of the scanners is urgent
(`[study] urgent_calling_ae_titles`). A process of its own asks the node by C-ECHO twice a second, over a new
association each. Exit code 1: something that must hold did not. Needs dcmtk.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid
from pynetdicom import AE, AllStoragePresentationContexts, evt
from pynetdicom.sop_class import Verification
from scipy import stats

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from tests.harness import ledger as books
from tests.harness.node import Node
from tests.harness.tools import find_tool, free_port, wait_until

SCANNERS = ("MR1", "MR2", "MR3", "MR4")
URGENT = "MR4"
SLICES, SIDE = 12, 256
ECHO_EVERY = 0.5
IDLE_SECONDS = 30.0
WARM_UP = 0.25
"""Share of the time under load that the memory's slope leaves out: caches fill, threads start."""


@dataclass
class Counters:
    """What one run showed."""

    rate: float = 0.0
    """Studies a minute that the node analyses and delivers with nothing else to do."""
    minutes: float = 0.0
    sent: int = 0
    refused: int = 0
    lost_images: int = 0
    lost_studies: int = 0
    delivered_twice: int = 0
    drain_minutes: float = 0.0
    longest_queue: int = 0
    echoes: list[float] = field(default_factory=list)
    idle_echoes: list[float] = field(default_factory=list)
    """Before anything was sent: what the machine itself takes."""
    repeats: list[str] = field(default_factory=list)
    """Why objects were not delivered at once."""
    memory: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    """Process: MB an hour, with the ends of the 95 % interval."""
    levels: dict[str, list[float]] = field(default_factory=dict)
    """Process: MB after each minute, until the queue was empty again."""
    out_of_order: int = 0
    not_by_arrival: int = 0
    waits: dict[str, float] = field(default_factory=dict)
    """Priority: median minutes from the job's making to its start."""

    def faults(self) -> list[str]:
        """Give what must hold and did not. Memory is the reader's to judge: a slope needs its interval."""
        found = {
            "images lost": self.lost_images,
            "studies without their one result": self.lost_studies,
            "objects delivered twice": self.delivered_twice,
            "jobs started out of order": self.out_of_order,
            "jobs not in order of arrival": self.not_by_arrival,
            "C-ECHO later than 1 s": sum(seconds >= 1 for seconds in self.echoes),
        }
        return [f"{what}: {count}" for what, count in found.items() if count]

    def __str__(self) -> str:
        """Tell it to a person, line by line."""
        lines = [
            f"load average when it ended: {os.getloadavg()[0]:.1f}, on {os.cpu_count()} cores",
            f"node's own rate: {self.rate:.1f} studies a minute",
            f"load: {self.minutes:g} minutes, {self.sent} studies of {SLICES} images"
            f" = {self.sent / self.minutes:.1f} a minute; sendings refused or cut: {self.refused}",
            f"lost images: {self.lost_images}; studies without exactly one result: {self.lost_studies}"
            f"; objects delivered twice: {self.delivered_twice}",
            f"longest queue: {self.longest_queue} jobs; drained {self.drain_minutes:.1f} minutes after the last image",
            f"started out of order (priority, then job): {self.out_of_order}; jobs not in order of arrival:"
            f" {self.not_by_arrival}",
            "median wait: " + ", ".join(f"{name} {wait:.1f} min" for name, wait in self.waits.items()),
            f"C-ECHO under load: {_times(self.echoes)}",
            f"C-ECHO of the idle node: {_times(self.idle_echoes)}",
            *(f"a delivery was repeated: {why}" for why in self.repeats),
        ]
        for name, (slope, low, high) in self.memory.items():
            lines.append(
                f"memory of the {name}: {slope:+.1f} MB/h (95 % interval {low:+.1f} to {high:+.1f});"
                f" MB minute by minute: {' '.join(f'{level:.0f}' for level in self.levels[name])}"
            )
        return "\n".join(lines)


def _times(seconds: list[float]) -> str:
    values = np.array(seconds)
    late = f"p99 {np.percentile(values, 99):.3f} s, longest {values.max():.3f} s"
    return f"{len(values)} times, median {np.median(values):.3f} s, {late}, {(values >= 1).sum()} of 1 s or more"


# --- the scanners


class Studies:
    """New studies without end: one phantom, each time with other UIDs and another patient."""

    def __init__(self, folder: Path) -> None:
        phantom = make_phantom(77, PhantomSettings(matrix=(SIDE, SIDE), slices=SLICES, component="magnitude"))
        self._images = [dcmread(path) for path in write_dicom(phantom, folder / "phantom")]
        self._folder, self._lock, self._count = folder, threading.Lock(), 0

    def write(self) -> tuple[Path, str, list[str]]:
        """Give a new study's folder, its UID, and those of its images."""
        with self._lock:  # the datasets are changed in place
            self._count += 1
            folder = self._folder / f"study-{self._count}"
            folder.mkdir()
            study, series, frame, uids = generate_uid(), generate_uid(), generate_uid(), []
            for number, image in enumerate(self._images):
                image.StudyInstanceUID, image.SeriesInstanceUID, image.FrameOfReferenceUID = study, series, frame
                image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
                image.PatientID, image.PatientName = f"SOAK-{self._count}", "Soak^Synthetic"
                uids.append(image.SOPInstanceUID)
                image.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        return folder, study, uids


@dataclass
class Sent:
    """What was answered with Success."""

    studies: dict[str, list[str]] = field(default_factory=dict)
    refused: int = 0

    def send(self, node: Node, studies: Studies, scanner: str) -> None:
        """Send one study, and again until all of it was taken."""
        folder, study, uids = studies.write()
        program = find_tool("storescu")
        command = [program, "-aec", node.ae_title, "-aet", scanner, "+sd", node.host, str(node.port), str(folder)]
        while subprocess.run(command, capture_output=True, check=False).returncode:
            self.refused += 1
            time.sleep(1)
        self.studies[study] = uids
        for path in folder.iterdir():
            path.unlink()


def scan(node: Node, studies: Studies, sent: Sent, scanner: str, start: float, pause: float, end: float) -> None:
    """Send a study every `pause` seconds, at its time whether the last was quick or slow."""
    due = start + pause * (SCANNERS.index(scanner) + 1) / len(SCANNERS)
    while due < end:
        time.sleep(max(0.0, due - time.monotonic()))
        sent.send(node, studies, scanner)
        due += pause


# --- the archive, the watchers


@contextmanager
def archive() -> Iterator[tuple[dict[str, object], Counter[str]]]:
    """Run an archive that counts what it gets, by SOP Instance UID."""
    got: Counter[str] = Counter()

    def store(event: evt.Event) -> int:
        got[str(event.request.AffectedSOPInstanceUID)] += 1
        return 0

    entity, port = AE("ARCHIVE"), free_port()
    entity.supported_contexts = AllStoragePresentationContexts
    server = entity.start_server(("127.0.0.1", port), block=False, evt_handlers=[(evt.EVT_C_STORE, store)])
    try:
        yield {"host": "127.0.0.1", "port": port, "ae_title": "ARCHIVE"}, got
    finally:
        server.shutdown()


def ask(port: int, ae_title: str, answers: multiprocessing.Queue[float], stop: multiprocessing.Event) -> None:
    """Ask by C-ECHO again and again; gives seconds from the call to the answer, 1e9 where there was none."""
    entity = AE("WATCH")
    entity.add_requested_context(Verification)
    while not stop.wait(ECHO_EVERY):
        start = time.perf_counter()
        association = entity.associate("127.0.0.1", port, ae_title=ae_title)
        answer = association.send_c_echo() if association.is_established else Dataset()
        good = answer.get("Status") == 0
        answers.put(time.perf_counter() - start if good else 1e9)
        association.release() if association.is_established else association.abort()


def taken(answers: multiprocessing.Queue[float]) -> list[float]:
    """Give what has been answered since."""
    found = []
    while not answers.empty():
        found.append(answers.get())
    return found


def resident(pid: int) -> float:
    """Give a process's resident memory in MB."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processes(node: int) -> dict[str, int]:
    """Give the node's process and its worker's, which is the largest child."""
    found = {}
    for task in Path(f"/proc/{node}/task").iterdir():
        with suppress(OSError):  # threads and processes end while they are listed
            found.update({resident(int(pid)): int(pid) for pid in (task / "children").read_text().split()})
    return {"node": node, "worker": found[max(found)]} if found else {"node": node}


class Monitor:
    """Samples the memory of node and worker, and the queue, every second."""

    def __init__(self, node: Node) -> None:
        self.memory: dict[str, list[tuple[float, float]]] = {"node": [], "worker": []}
        self.queue: list[int] = []
        self._node, self._stop = node, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Take no more samples."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(1):
            for name, pid in processes(self._node.pid).items():
                self.memory[name].append((time.monotonic(), resident(pid)))
            self.queue.append(books.query(self._node.ledger_path, QUEUED)[0]["n"])


QUEUED = "SELECT count(*) AS n FROM job WHERE state = 'queued'"


def slope(samples: list[tuple[float, float]]) -> tuple[float, float, float]:
    """Fit a line through ten-second means; give MB an hour and the 95 % interval, for samples that are not independent.

    The interval counts as many samples as would be left if they were (lag-one autocorrelation of the residuals).
    """
    values = np.array(samples)
    bins = ((values[:, 0] - values[0, 0]) // 10).astype(int)
    times = np.array([values[bins == number, 0].mean() for number in np.unique(bins)]) / 3600
    means = np.array([values[bins == number, 1].mean() for number in np.unique(bins)])
    if len(means) < 4:
        return float("nan"), float("-inf"), float("inf")
    fit = stats.linregress(times, means)
    rest = means - fit.intercept - fit.slope * times
    lag = float(np.corrcoef(rest[:-1], rest[1:])[0, 1]) if rest.std() > 0 else 0.0
    lag = min(max(lag, 0.0), 0.95)
    count = max(len(means) * (1 - lag) / (1 + lag), 3.0)
    half = stats.t.ppf(0.975, count - 2 if count > 2 else 1) * fit.stderr * np.sqrt(len(means) / count)
    return fit.slope, fit.slope - half, fit.slope + half


# --- what must hold


def check(node: Node, sent: Sent, got: Counter[str], figures: Counters) -> None:
    """Compare what was answered with Success with what lies in the spool, the ledger and the archive."""
    spooled = {path.name.split(".dcm")[0].rsplit(".", 1)[0] for path in node.spool.glob("??/*.dcm")}
    known = {row["sop_instance_uid"] for row in books.query(node.ledger_path, "SELECT sop_instance_uid FROM instance")}
    for study, uids in sent.studies.items():
        figures.lost_images += sum(uid not in spooled or uid not in known for uid in uids)
        jobs = books.jobs(node.ledger_path, study)
        objects = books.query(node.ledger_path, RESULTS, [study])
        whole = len(objects) == 3 and all(got[row["sop_instance_uid"]] for row in objects)
        figures.lost_studies += not (whole and [job["state"] for job in jobs] == ["done"])
    figures.delivered_twice = sum(count > 1 for count in got.values())
    figures.repeats = [row["why"] for row in books.query(node.ledger_path, REPEATS)]


RESULTS = """
    SELECT result.sop_instance_uid FROM result JOIN job ON job.id = result.job_id JOIN study ON study.id = job.study_id
    WHERE study.study_instance_uid = ?"""

REPEATS = "SELECT why FROM event WHERE to_state = 'pending' LIMIT 20"

STARTS = """
    SELECT job.id, job.priority, job.created_at AS made, study.last_received_at AS came, min(event.at) AS started
    FROM job JOIN study ON study.id = job.study_id JOIN event ON event.job_id = job.id AND event.to_state = 'running'
    GROUP BY job.id ORDER BY started"""


def check_order(node: Node, figures: Counters) -> None:
    """See that each job that was started was the first of those that waited, and jobs are numbered as studies came."""
    jobs = books.query(node.ledger_path, STARTS)
    for place, job in enumerate(jobs):
        waiting = [other for other in jobs[place + 1 :] if other["made"] < job["started"]]
        first = (job["priority"], job["id"])
        figures.out_of_order += any((other["priority"], other["id"]) < first for other in waiting)
    for number, name in ((1, "urgent"), (2, "routine")):
        some = sorted((job for job in jobs if job["priority"] == number), key=lambda job: job["id"])
        figures.not_by_arrival += sum(one["came"] > other["came"] for one, other in pairwise(some))
        if some:
            figures.waits[name] = float(np.median([job["started"] - job["made"] for job in some])) / 60


# --- the run


def idle(node: Node, count: int) -> bool:
    """Tell whether this many jobs have ended, and no other is there."""
    states = [job["state"] for job in books.jobs(node.ledger_path)]
    return len(states) >= count and all(state in books.FINAL_STATES for state in states)


def own_rate(node: Node, studies: Studies, sent: Sent, count: int) -> float:
    """Give the studies a minute that go through the node when `count` lie there at once, after one to warm up."""
    sent.send(node, studies, SCANNERS[0])
    wait_until(lambda: idle(node, 1), 300, "the first study", poll=0.2)
    for _ in range(count):
        sent.send(node, studies, SCANNERS[0])
    wait_until(lambda: idle(node, 1 + count), 120 * count, "the studies that measure the rate", poll=0.2)
    query = "SELECT min(at) AS start FROM event WHERE job_id > 1 AND to_state = 'running'"
    [times] = books.query(node.ledger_path, query)
    [ends] = books.query(node.ledger_path, "SELECT max(finished_at) AS end FROM job")
    return 60 * count / (ends["end"] - times["start"])


def soak(folder: Path, minutes: float, load: float = 2.0, rate_studies: int = 6) -> Counters:
    """Run it all.

    Parameters
    ----------
    folder : Path
    minutes : float
        How long the scanners send.
    load : float
        Times the node's own rate.
    rate_studies : int
        How many studies the node's own rate is measured with.
    """
    figures, sent = Counters(minutes=minutes), Sent()
    threads = max(1, (os.cpu_count() or 2) // 2)
    with archive() as (peer, got):
        settings = {
            "study": {"quiet_seconds": 1, "urgent_calling_ae_titles": URGENT, "hold_flags": ""},
            "segment": {"workers": 1, "threads": threads, "device": "cpu"},
        }
        with Node(folder / "node", {"archive": peer}, **settings) as node:
            studies = Studies(folder)
            context = multiprocessing.get_context("spawn")
            answers, stop = context.Queue(), context.Event()
            asking = context.Process(target=ask, args=(node.port, node.ae_title, answers, stop), daemon=True)
            asking.start()
            time.sleep(IDLE_SECONDS)
            figures.idle_echoes = taken(answers)
            figures.rate = own_rate(node, studies, sent, rate_studies)
            taken(answers)
            watch, start = Monitor(node), time.monotonic()
            end = start + 60 * minutes
            pause = 60 * len(SCANNERS) / (load * figures.rate)
            before = len(sent.studies)
            scanners = [
                threading.Thread(target=scan, args=(node, studies, sent, name, start, pause, end)) for name in SCANNERS
            ]
            for scanner in scanners:
                scanner.start()
            for scanner in scanners:
                scanner.join()
            figures.sent, figures.refused = len(sent.studies) - before, sent.refused
            over, count = time.monotonic(), len(sent.studies)
            wait_until(lambda: idle(node, count), 60 * (6 * minutes * load + 10), "an empty queue", poll=0.5)
            figures.drain_minutes = (time.monotonic() - over) / 60
            stop.set()
            while asking.is_alive():
                figures.echoes += taken(answers)
                asking.join(0.1)
            figures.echoes += taken(answers)
            watch.stop()
            figures.longest_queue = max(watch.queue)
            for name, samples in watch.memory.items():
                warm = [sample for sample in samples if start + WARM_UP * (end - start) <= sample[0]]
                figures.memory[name] = slope(warm)
                figures.levels[name] = [level for _, level in samples[::60]]
            check(node, sent, got, figures)
            check_order(node, figures)
    return figures


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--load", type=float, default=2.0, help="times the node's own rate")
    parser.add_argument("--folder", type=Path, help="where to work; default: a temporary folder")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as folder:
        figures = soak(Path(folder), chosen.minutes, chosen.load)
    print(figures)
    if faults := figures.faults():
        sys.exit("NOT GOOD: " + "; ".join(faults))


if __name__ == "__main__":
    main()
