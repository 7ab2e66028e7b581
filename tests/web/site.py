"""The web app on a ledger of the test's own, served, with a log-in."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import requests
from fastapi import FastAPI
from pydicom import dcmread

from scarnode.config import DestinationSection, LedgerSection, ResultsSection, Settings, SpoolSection, WebSection
from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import Analysed, PlannedJob
from scarnode.ledger.results import provenance_of, write_results
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.analyse import job_key
from scarnode.pipeline.measure import measure
from scarnode.pipeline.report import build_results
from scarnode.pipeline.segment import Segmentation
from scarnode.pipeline.segment.model import ModelIdentity
from scarnode.pipeline.stack import Stack, find_stacks, input_digest, read_volume
from scarnode.web import Role, WebServer, make_account
from scarnode.web.app import make_app
from tests.harness.tools import free_port

ADMIN, VIEWER = ("ada", "correct horse battery"), ("vic", "staple of the battery")
ACCOUNTS = (make_account(*ADMIN[:1], Role.ADMIN, ADMIN[1]), make_account(*VIEWER[:1], Role.VIEWER, VIEWER[1]))


MODEL = ModelIdentity("truth", "1", "ab12" * 16, "synthetic phantom")


@dataclass(frozen=True)
class Site:
    """A served app."""

    app: FastAPI
    server: WebServer
    settings: Settings
    ledger: Ledger
    address: str

    def anybody(self) -> requests.Session:
        """Give a browser that is not logged in; as a real one it says where a form came from."""
        browser = requests.Session()
        browser.headers["Origin"] = self.address
        return browser

    def browser(self, who: tuple[str, str] = ADMIN) -> requests.Session:
        """Give a browser that is logged in, without the password's tenth of a second."""
        browser, role = self.anybody(), Role.ADMIN if who is ADMIN else Role.VIEWER
        browser.cookies.set("scarnode", self.app.state.app_state.sessions.open(who[0], role, "127.0.0.1"))
        return browser

    def log_in(self, who: tuple[str, str] = ADMIN) -> requests.Session:
        """Give a browser that was logged in by its form."""
        browser = self.anybody()
        done = browser.post(self.address + "/login", data=dict(zip(("name", "password"), who, strict=True)), timeout=20)
        assert done.status_code == 200, done.text
        return browser


def site_settings(folder: Path, **web: object) -> Settings:
    return Settings(
        spool=SpoolSection(path=folder / "spool"),
        results=ResultsSection(path=folder / "results"),
        ledger=LedgerSection(url=f"sqlite:///{folder / 'ledger.sqlite'}"),
        web=WebSection(port=free_port(), **{"users": ACCOUNTS, **web}),
        destinations={"pacs": DestinationSection(host="127.0.0.1", port=104, ae_title="PACS")},
    )


@contextmanager
def served(folder: Path, settings: Settings | None = None, **web: object) -> Iterator[Site]:
    """Serve the app on an empty ledger below `folder`."""
    settings = settings or site_settings(folder, **web)
    for path in (settings.spool.path, settings.results.path):
        path.mkdir(parents=True, exist_ok=True)
    ledger = Ledger(settings.ledger.url, actor="test")
    app = make_app(settings, ledger.in_name_of("web"))
    server = WebServer(app, settings)
    try:
        yield Site(app, server, settings, ledger, f"http://127.0.0.1:{server.port}")
    finally:
        server.stop()
        ledger.close()


def walked(ledger: Ledger, settings: Settings, folder: Path, seed: int = 3, flags: tuple[str, ...] = ()) -> int:
    """Bring a synthetic study to a result that is being sent, with its true outlines; gives the job.

    Everything on disk and in the ledger is as the node leaves it; only the network's part is the phantom's truth.
    """
    phantom = make_phantom(
        seed, PhantomSettings(matrix=(64, 64), slices=4, component="magnitude", scar_fraction=0.15, corruption=False)
    )
    spool, results = settings.spool.path, settings.results.path
    paths = write_dicom(phantom, spool / f"{seed:02x}")
    ledger.studies.add_instances([_received(path, spool) for path in paths])
    [study] = ledger.studies.quiet_studies(0)
    newest, names = ledger.studies.study_files(study)
    found = find_stacks([spool / name for name in names], settings.recognition)
    plan = _plan(found.stacks[0], spool, MODEL.sha256, settings.digest())
    ledger.studies.close_study(study, newest, found.series, [plan])
    claimed = ledger.jobs.claim("host:0", 600)
    stack = found.stacks[0]
    volume = read_volume(stack)
    segmentation = Segmentation(phantom.label.astype(np.uint8), (32.0, 32.0), MODEL, flags, right_ventricle=3.0)
    measurements = measure(stack, volume, segmentation)
    objects = build_results(stack, volume, segmentation, measurements, provenance_of(claimed))
    files = write_results(objects, results, claimed.key)
    ledger.jobs.finish(
        claimed, Analysed(files, measurements, flags, 1.5), settings.objects(), settings.study.hold_flags
    )
    return claimed.id


def _plan(stack: Stack, spool: Path, model: str, settings: str) -> PlannedJob:
    digest = input_digest(stack)
    frames = tuple(replace(frame, path=frame.path.relative_to(spool)) for frame in stack.frames)
    return PlannedJob(job_key(digest, model, settings), digest, model, replace(stack, frames=frames))


def _received(path: Path, spool: Path) -> ReceivedInstance:
    header = dcmread(path, stop_before_pixels=True)
    return ReceivedInstance(
        path=str(path.relative_to(spool)),
        digest=hashlib.sha256(path.read_bytes()).hexdigest(),
        size=path.stat().st_size,
        received_at=time.time(),
        calling_ae="SCANNER",
        sop_class_uid=header.SOPClassUID,
        sop_instance_uid=header.SOPInstanceUID,
        study_instance_uid=header.StudyInstanceUID,
        series_instance_uid=header.SeriesInstanceUID,
        patient_id=header.PatientID,
        patient_name=str(header.PatientName),
        accession_number=header.AccessionNumber,
        study_date=header.StudyDate,
    )
