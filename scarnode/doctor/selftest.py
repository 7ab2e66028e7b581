"""The self-test: the running node analyses a synthetic study, and its result is checked. Nothing is delivered."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import dcmread
from pydicom.uid import generate_uid
from sqlalchemy import func, select

from scarnode import RESEARCH_USE
from scarnode.config.local_node import own_node
from scarnode.dicom.scu.push import push
from scarnode.doctor.model import Finding, fail, ok
from scarnode.ledger.ledger import Ledger, open_beside_node
from scarnode.ledger.states import FINAL, JobState
from scarnode.ledger.tables import Delivery, Event, Job, Result, Study
from scarnode.ledger.tables import Series as SeriesRow
from scarnode.phantom import Phantom, PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.segment.model import Tissue
from scarnode.util.errors import ScarnodeError

if TYPE_CHECKING:
    from scarnode.config import Settings

SEED = 7
PATIENT = PhantomSettings(
    matrix=(160, 160), slices=8, slice_thickness=8.0, slice_distance=10.0, component="magnitude", scar_fraction=0.12
)
PATIENT_ID = "SCARNODE-SELF-TEST"
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID", "SOPInstanceUID")

MYOCARDIUM_BOUND = 0.25
"""Largest relative error of the myocardium's volume."""

LGE_BOUND = 10.0
"""Largest error of %LGE, in points. This test finds what is broken; docs/accuracy.md holds the accuracy."""

MARGIN = 120.0
"""Seconds to wait beyond the times that config.ini allows for completion and analysis."""


@dataclass(frozen=True)
class Truth:
    """The true values of the phantom; volumes in cm³."""

    slices: int
    scar: float
    myocardium: float

    @property
    def lge_percent(self) -> float:
        """Return 100 x scar / (scar + healthy myocardium)."""
        return 100 * self.scar / self.myocardium


def truth_of(phantom: Phantom) -> Truth:
    """Count a phantom's voxels: pixel area x centre-to-centre slice distance."""
    voxel = phantom.pixel_spacing[0] * phantom.pixel_spacing[1] * phantom.slice_distance / 1000
    scar = float((phantom.label == Tissue.SCAR).sum()) * voxel
    return Truth(len(phantom.label), scar, scar + float((phantom.label == Tissue.MYOCARDIUM).sum()) * voxel)


def write_study(folder: Path) -> tuple[str, list[Path], Truth]:
    """Write a synthetic study under new UIDs; return its Study Instance UID, files and truth."""
    phantom = make_phantom(SEED, PATIENT)
    paths = write_dicom(phantom, folder)
    fresh: dict[str, str] = {}
    for path in paths:
        image = dcmread(path)
        for keyword in UIDS:
            old = str(image.get(keyword))
            fresh[old] = fresh.get(old) or generate_uid(prefix=None)
            setattr(image, keyword, fresh[old])
        image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
        image.PatientName, image.PatientID, image.AccessionNumber = "SELF-TEST^SYNTHETIC", PATIENT_ID, "SELF-TEST"
        image.StudyDescription = "scarnode self-test, synthetic"
        image.save_as(path, enforce_file_format=True)
        study = str(image.StudyInstanceUID)
    return study, paths, truth_of(phantom)


def through_node(settings: Settings, progress: Callable[[str], None]) -> Iterator[Finding]:
    """Send the study to the running node, wait for its job, check the result, and have the node delete the study."""
    with tempfile.TemporaryDirectory(prefix="scarnode-self-test-") as folder:
        uid, paths, truth = write_study(Path(folder))
        ledger = open_beside_node(settings.ledger.url, "doctor")
        try:
            ledger.self_tests.begin_self_test(uid)
            yield from _send_and_check(settings, ledger, uid, paths, truth, progress)
        finally:
            ledger.self_tests.end_self_test(uid)
            ledger.close()


def _send_and_check(
    settings: Settings, ledger: Ledger, uid: str, paths: list[Path], truth: Truth, progress: Callable[[str], None]
) -> Iterator[Finding]:
    pushed = push(paths, own_node(settings), settings.node.ae_title)
    if pushed.refused:
        why = pushed.refused[0].detail
        yield fail(
            "self-test: receive", f"{len(pushed.refused)} of {len(paths)} images refused: {why}", "See the node's log"
        )
        return
    sent = time.time()
    yield ok("self-test: receive", f"{len(paths)} synthetic images stored in {pushed.seconds:.1f} s")
    quiet = settings.study.quiet_seconds
    progress(f"waiting for the result: {quiet:g} s of quiet ([study] quiet_seconds), then the analysis")
    deadline = time.monotonic() + quiet + settings.segment.time_limit_seconds + MARGIN
    while (job := _job(ledger, uid)) is None or job.state not in FINAL:
        if time.monotonic() > deadline:
            state = "no job was made" if job is None else f"job {job.id} is {job.state.value}: {job.reason}"
            todo = "See: scarnode alarms, scarnode jobs list, and the node's log; does it use this ledger?"
            yield fail("self-test: analysis", f"no result in time; {state}", todo)
            return
        if job is None and (verdict := _verdict(ledger, uid)):
            yield fail(
                "self-test: stack", f"the synthetic stack was not taken: {verdict}", "See [recognition] in config.ini"
            )
            return
        time.sleep(0.2)
    yield ok("self-test: stack", f"found {job.created_at - sent:.1f} s after the last image ({quiet:g} s of quiet)")
    begun, ended = _times(ledger, job)
    if job.state is JobState.FAILED:
        yield fail("self-test: analysis", job.reason, f"See: scarnode jobs show {job.id}, and the node's log")
        return
    waited = f"waited {begun - job.created_at:.1f} s in the queue, " if begun - job.created_at > 0.5 else ""
    yield ok("self-test: analysis", f"{waited}segment, measure and report took {job.seconds or 0:.1f} s")
    yield _check_numbers(truth, job.slices, job.scar_volume_cm3, job.myocardium_volume_cm3, job.lge_percent)
    kinds, deliveries = _results(ledger, job, settings.results.path)
    if deliveries:
        yield fail("self-test: deliver", f"{deliveries} deliveries were planned for a self-test", "Report it")
    elif missing := [kind for kind in ("seg", "sr", "sc") if kind not in kinds]:
        yield fail("self-test: report", f"not written: {', '.join(missing)}", "See the node's log")
    else:
        took = f" {ended - begun:.1f} s after it began" if ended > begun else ""
        yield ok("self-test: report", f"{', '.join(sorted(kinds))} written{took}; nothing was sent anywhere")


def in_process(settings: Settings) -> Iterator[Finding]:
    """Analyse the study in this process, without receiving, ledger and delivery."""
    from scarnode.pipeline.analyse import analyse, provenance_now, write_objects
    from scarnode.pipeline.segment.predict import Segmenter
    from scarnode.pipeline.stack import find_stacks

    with tempfile.TemporaryDirectory(prefix="scarnode-self-test-") as folder:
        _, paths, truth = write_study(Path(folder))
        started = time.monotonic()
        found = find_stacks(paths, settings.recognition)
        if len(found.stacks) != 1:
            why = "; ".join(series.reason for series in found.series)
            yield fail(
                "self-test: stack", f"the synthetic stack was not taken: {why}", "See [recognition] in config.ini"
            )
            return
        yield ok("self-test: stack", f"found in {time.monotonic() - started:.1f} s")
        started = time.monotonic()
        try:
            segmenter = Segmenter(settings.segment.weights, settings.segment.device)
            loaded = time.monotonic()
            provenance = provenance_now(found.stacks[0], segmenter.identity.sha256, settings.digest())
            analysis = analyse(found.stacks[0], segmenter, provenance)
            write_objects(analysis.objects, Path(folder) / "results")
        except ScarnodeError as error:
            yield fail("self-test: analysis", error.what, error.todo)
            return
        took = (
            f"network loaded in {loaded - started:.1f} s; segment, measure and report {time.monotonic() - loaded:.1f} s"
        )
        yield ok("self-test: analysis", took)
        numbers = analysis.measurements
        yield _check_numbers(
            truth, len(analysis.stack.frames), numbers.scar_volume, numbers.myocardium_volume, numbers.lge_percent
        )


def _check_numbers(
    truth: Truth, slices: int, scar: float | None, myocardium: float | None, lge: float | None
) -> Finding:
    """Compare the numbers with those of the phantom."""
    what = "self-test: numbers"
    if scar is None or myocardium is None or lge is None:
        return fail(what, "the result has no numbers", "Check [segment] weights, and see the node's log")
    text = (
        f"synthetic: myocardium {myocardium:.0f} cm³ (true {truth.myocardium:.0f}), scar {scar:.1f} cm³ (true "
        f"{truth.scar:.1f}), %LGE {lge:.1f} (true {truth.lge_percent:.1f}), {slices} slices. {RESEARCH_USE}"
    )
    good = (
        slices == truth.slices
        and abs(myocardium / truth.myocardium - 1) <= MYOCARDIUM_BOUND
        and abs(lge - truth.lge_percent) <= LGE_BOUND
    )
    if not good:
        bounds = f"myocardium within {MYOCARDIUM_BOUND:.0%}, %LGE within {LGE_BOUND:g} points, {truth.slices} slices"
        return fail(what, f"{text}; expected: {bounds}", "Check [segment] weights and device: these numbers are wrong")
    return ok(what, text)


def _job(ledger: Ledger, uid: str) -> Job | None:
    with ledger.reading() as session:
        query = select(Job).join(Study, Study.id == Job.study_id).where(Study.study_instance_uid == uid)
        job = session.scalar(query.order_by(Job.id))
        if job is not None:
            session.expunge(job)
        return job


def _verdict(ledger: Ledger, uid: str) -> str:
    """Return why the series is no stack, once the study was searched without making a job.

    One query reads both. Between two queries a stack could be found, and its reason would look like a rejection.
    """
    with ledger.reading() as session:
        query = select(SeriesRow.reason).join(Study, Study.id == SeriesRow.study_id)
        query = query.where(Study.study_instance_uid == uid, Study.newest_instance <= Study.searched_instance)
        query = query.where(~select(Job.id).where(Job.study_id == Study.id).exists())
        return "; ".join(session.scalars(query))


def _times(ledger: Ledger, job: Job) -> tuple[float, float]:
    """Return when a job began to run, and when it ended."""
    with ledger.reading() as session:
        events = select(Event.at).where(Event.job_id == job.id, Event.to_state == JobState.RUNNING.value)
        return session.scalar(events.order_by(Event.id)) or job.created_at, job.finished_at or 0.0


def _results(ledger: Ledger, job: Job, folder: Path) -> tuple[set[str], int]:
    """Return the kinds of object in the results folder, and the number of deliveries."""
    with ledger.reading() as session:
        made = session.execute(select(Result.kind, Result.path).where(Result.job_id == job.id)).all()
        planned = session.scalar(select(func.count()).select_from(Delivery).where(Delivery.job_id == job.id)) or 0
    return {row.kind for row in made if (folder / row.path).exists()}, planned
