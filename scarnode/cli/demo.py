"""`scarnode demo`: the whole chain on one machine, from a scanner's C-STORE to SEG and SR in a PACS."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from pydicom import Dataset, dcmread
from pydicom.uid import UID
from pynetdicom import AE, AllStoragePresentationContexts, evt
from rich.console import Console
from rich.table import Table

from scarnode import RESEARCH_USE
from scarnode.config import (
    DestinationSection,
    LedgerSection,
    NodeSection,
    ResultsSection,
    Settings,
    SpoolSection,
    StudySection,
    WebSection,
)
from scarnode.dicom.reactor import held
from scarnode.ledger import queries
from scarnode.node.node import Node
from scarnode.phantom import Phantom, PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.report import save_page
from scarnode.pipeline.segment import Tissue
from scarnode.util.durable import make_folder, replace_durably
from scarnode.util.errors import ScarnodeError
from scarnode.util.logs import keep_quiet_about_patients

SEED = 7
PATIENT = PhantomSettings(
    matrix=(224, 224), slice_thickness=8.0, slice_distance=10.0, component="magnitude", scar_fraction=0.12
)
"""The demo's patient."""

PATIENCE = 180.0
"""Seconds until the demo gives up."""

NAMES = {"seg": "Segmentation (SEG)", "sr": "Structured Report (SR)", "sc": "picture (Secondary Capture)"}
KINDS = {
    UID("1.2.840.10008.5.1.4.1.1.66.4"): "seg",
    UID("1.2.840.10008.5.1.4.1.1.88.34"): "sr",
    UID("1.2.840.10008.5.1.4.1.1.7"): "sc",
    UID("1.2.840.10008.5.1.4.1.1.7.4"): "sc",
}


@dataclass
class Inbox:
    """The objects that the demo's PACS received, by kind."""

    objects: dict[str, Dataset] = field(default_factory=dict)
    complete: threading.Event = field(default_factory=threading.Event)

    def take(self, event: evt.Event) -> int:
        """Answer a C-STORE."""
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        self.objects[KINDS.get(dataset.SOPClassUID, dataset.SOPClassUID.name)] = dataset
        if NAMES.keys() <= self.objects.keys():
            self.complete.set()
        return 0x0000


def run(output: Path, console: Console) -> int:
    """Run the demo.

    Parameters
    ----------
    output : Path
        Gets the synthetic study, the received objects and the contact sheet.
    console : rich.console.Console

    Returns
    -------
    int
        0 if SEG, SR and picture came back, else 1.
    """
    start = time.monotonic()
    logging.basicConfig(level=logging.WARNING)
    keep_quiet_about_patients()
    for name in ("study", "node"):
        make_folder(output / name, output)
    phantom = make_phantom(SEED, PATIENT)
    study = write_dicom(phantom, output / "study", vendor="siemens")
    console.print(f"1. synthetic LGE study made: {len(study)} images in {output / 'study'}", highlight=False)
    with _pacs() as (inbox, pacs_port), _node(output / "node", pacs_port) as node:
        console.print(f"2. node SCARNODE listens on port {node.port}; PACS on port {pacs_port}", highlight=False)
        _send(study, node.port)
        console.print(f"3. {len(study)} images sent by C-STORE, each answered with Success", highlight=False)
        came = inbox.complete.wait(PATIENCE)
        jobs = queries.list_jobs(node.ledger)
    for kind, dataset in inbox.objects.items():
        encoded = BytesIO()
        dataset.save_as(encoded, enforce_file_format=True)
        replace_durably(output / f"{kind}.dcm", [encoded.getvalue()], output)
    if not came:
        missing = ", ".join(name for kind, name in NAMES.items() if kind not in inbox.objects)
        reasons = "; ".join(f"job {job.job} is {job.state}: {job.reason}" for job in jobs) or "no job was made"
        console.print(f"Not received within {PATIENCE:.0f} s: {missing}. {reasons}", style="red", highlight=False)
        return 1
    for kind, name in NAMES.items():
        series = inbox.objects[kind].SeriesDescription
        console.print(f"4. received by the PACS: {name}, series {series!r}", highlight=False)
    save_page(inbox.objects["sc"], output / "sheet.png", output)
    console.print(_table(phantom, jobs[0]))
    console.print(f"Contact sheet: {output / 'sheet.png'} · {time.monotonic() - start:.0f} s in all", highlight=False)
    return 0


@contextmanager
def _pacs() -> Iterator[tuple[Inbox, int]]:
    """Run a small receiving PACS."""
    inbox = Inbox()
    entity = AE("DEMOPACS")
    for context in AllStoragePresentationContexts:
        entity.add_supported_context(str(context.abstract_syntax))
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, inbox.take)])
    if server is None or server.socket is None:
        raise ScarnodeError("the demo's PACS did not start", "127.0.0.1", "Try again")
    try:
        yield inbox, server.socket.getsockname()[1]
    finally:
        server.shutdown()


@contextmanager
def _node(folder: Path, pacs_port: int) -> Iterator[Node]:
    """Run a node that sends to the demo's PACS."""
    settings = Settings(
        node=NodeSection(host="127.0.0.1", port=0),
        spool=SpoolSection(path=folder.absolute() / "spool"),
        results=ResultsSection(path=folder.absolute() / "results"),
        ledger=LedgerSection(url=f"sqlite:///{folder.absolute() / 'ledger.sqlite'}"),
        study=StudySection(quiet_seconds=1.0, hold_flags=()),
        web=WebSection(port=0),
        destinations={"demo": DestinationSection(host="127.0.0.1", port=pacs_port, ae_title="DEMOPACS")},
    )
    node = Node(settings)
    try:
        yield node
    finally:
        node.stop()


def _send(files: Sequence[Path], port: int) -> None:
    """Send files to the node, as a scanner does."""
    scanner = AE("DEMOSCANNER")
    scanner.add_requested_context(dcmread(files[0], stop_before_pixels=True).SOPClassUID)
    association = held(scanner.associate("127.0.0.1", port, ae_title="SCARNODE"))
    if not association.is_established:
        raise RuntimeError("the node did not take the association")
    try:
        for file in files:
            status = association.send_c_store(file)
            if status.get("Status") != 0x0000:
                raise RuntimeError(f"the node answered {status.get('Status')}")
    finally:
        association.release()


def _table(phantom: Phantom, job: queries.JobSummary) -> Table:
    voxel = phantom.pixel_spacing[0] * phantom.pixel_spacing[1] * phantom.slice_distance / 1000
    scar = float((phantom.label == Tissue.SCAR).sum()) * voxel
    myocardium = scar + float((phantom.label == Tissue.MYOCARDIUM).sum()) * voxel
    table = Table("Synthetic patient", "True", "Measured", title=RESEARCH_USE)
    table.add_row("Scar volume, cm³", f"{scar:.1f}", f"{job.scar_volume_cm3:.1f}")
    table.add_row("Myocardium volume, cm³", f"{myocardium:.1f}", f"{job.myocardium_volume_cm3:.1f}")
    table.add_row("%LGE", f"{100 * scar / myocardium:.1f}", f"{job.lge_percent:.1f}")
    return table
