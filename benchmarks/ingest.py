"""How many images a second scarnode takes, beside dcmtk's storescp and Orthanc, in turn and with the same sender.

    python benchmarks/ingest.py [--images 240] [--rounds 3]

Sender: dcmtk's storescu, as it ships (Nagle's algorithm on) and with TCP_NODELAY=1 in the environment of sender and
servers (storescp and Orthanc are built on dcmtk, too, and answer with it), over one and over four associations.
scarnode is `scarnode serve` (durable: fsync of file and folder before Success is answered), Orthanc runs with its
default settings (durable), `storescp --fork` as it ships (not durable). Needs dcmtk and Orthanc.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tests.harness.dcmtk import storescp
from tests.harness.node import Node
from tests.harness.orthanc import Orthanc
from tests.harness.tools import find_tool

SIDE = 256


@dataclass(frozen=True)
class Server:
    """Something that takes images."""

    name: str
    port: int
    ae_title: str


@contextmanager
def servers(folder: Path) -> Iterator[list[Server]]:
    """Run all three, in the environment of this process."""
    folder.mkdir()
    with ExitStack() as stack:
        port = stack.enter_context(storescp(folder / "storescp", "--fork"))
        orthanc = stack.enter_context(Orthanc(folder / "orthanc"))
        node = stack.enter_context(Node(folder / "node", study={"quiet_seconds": 3600}))
        time.sleep(10)  # the node's worker loads the network meanwhile
        yield [
            Server("storescp --fork", port, "STORESCP"),
            Server("Orthanc", orthanc.port, orthanc.ae_title),
            Server("scarnode", node.port, node.ae_title),
        ]


def make_images(folder: Path, count: int, parts: int) -> list[list[Path]]:
    """Write a new study of 16-bit MR images of 256 x 256 (131 kB each), in so many folders' worth of files."""
    random = np.random.default_rng()
    study, series = generate_uid(), generate_uid()
    written = []
    for number in range(count):
        image = Dataset()
        image.SOPClassUID, image.SOPInstanceUID = MRImageStorage, generate_uid()
        image.StudyInstanceUID, image.SeriesInstanceUID = study, series
        image.PatientName, image.PatientID, image.Modality = "Bench^Synthetic", "BENCH", "MR"
        image.InstanceNumber, image.Rows, image.Columns = number + 1, SIDE, SIDE
        image.SamplesPerPixel, image.PhotometricInterpretation = 1, "MONOCHROME2"
        image.BitsAllocated = image.BitsStored = 16
        image.HighBit, image.PixelRepresentation = 15, 0
        image.PixelData = random.integers(0, 4096, (SIDE, SIDE), dtype=np.uint16).tobytes()
        image.file_meta = FileMetaDataset()
        image.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        path = folder / f"{number:04d}.dcm"
        image.save_as(path, enforce_file_format=True)
        written.append(path)
    return [written[part::parts] for part in range(parts)]


def send(server: Server, shares: list[list[Path]]) -> float:
    """Send every share over an association of its own, at once; give images a second."""
    command = [find_tool("storescu"), "-aec", server.ae_title, "127.0.0.1", str(server.port)]
    start = time.perf_counter()
    senders = [subprocess.Popen([*command, *map(str, share)]) for share in shares]
    if any(sender.wait() for sender in senders):
        raise RuntimeError(f"{server.name} did not take everything")
    return sum(map(len, shares)) / (time.perf_counter() - start)


def rates(images: int, associations: int, rounds: int, running: list[Server], folder: Path) -> list[float]:
    """Send to each server in turn, `rounds` times; medians."""
    found: list[list[float]] = [[] for _ in running]
    for turn in range(rounds):
        inbox = folder / f"images-{associations}-{turn}"
        inbox.mkdir()
        shares = make_images(inbox, images, associations)
        for server, seen in zip(running, found, strict=True):
            seen.append(send(server, shares))
    return [statistics.median(seen) for seen in found]


def measure(images: int, rounds: int, folder: Path) -> Table:
    """Both kinds of sender, one association and four."""
    table = Table(title=f"{images} MR images of {2 * SIDE * SIDE / 1000:.0f} kB, images a second (median of {rounds})")
    names = ("storescp --fork", "Orthanc", "scarnode")
    for heading in ("sender", "associations", *names, "to Orthanc", "to storescp"):
        table.add_column(heading, justify="right")
    for sender in ("as it ships", "TCP_NODELAY=1"):
        os.environ.pop("TCP_NODELAY", None)
        if sender != "as it ships":
            os.environ["TCP_NODELAY"] = "1"
        with servers(folder / sender) as running:
            for associations in (1, 4):
                found = rates(images, associations, rounds, running, folder / sender)
                ratios = f"{found[2] / found[1]:.1f} x", f"{found[2] / found[0]:.1f} x"
                table.add_row(sender, str(associations), *(f"{rate:.0f}" for rate in found), *ratios)
    return table


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=240)
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        Console(width=120).print(measure(chosen.images, chosen.rounds, Path(folder)))


if __name__ == "__main__":
    main()
