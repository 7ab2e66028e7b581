"""Ledger rows without a network or a scanner."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from pydicom import dcmread

from scarnode.dicom.scp import ReceivedInstance
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import Analysed, PlannedJob, ResultFile
from scarnode.pipeline.correct.model import ReceivedSeg
from scarnode.pipeline.measure import Measurements
from scarnode.pipeline.stack import Component, Flag, SeriesVerdict, SourceFrame, Stack, Verdict
from scarnode.util.clock import SYSTEM_CLOCK, Clock
from tests.harness.peers import make_object

STUDY = "1.2.3"
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
URL_FILE = "ledger.url"
TO_PACS = {"pacs": ("seg", "sr", "sc")}


def open_ledger(folder: Path, clock: Clock = SYSTEM_CLOCK) -> Ledger:
    """Open the ledger of a test's folder: on the database that the fixture `database` chose, else on SQLite."""
    chosen = folder / URL_FILE
    url = chosen.read_text() if chosen.exists() else f"sqlite:///{folder / 'ledger.sqlite'}"
    return Ledger(url, "test", clock=clock)


def received(number: int, study: str = STUDY, at: float = 1000.0) -> ReceivedInstance:
    return ReceivedInstance(
        path=f"00/{study}.{number}.dcm",
        digest=f"{number:064x}",
        size=100,
        received_at=at,
        calling_ae="SCANNER",
        sop_class_uid=MR_IMAGE,
        sop_instance_uid=f"{study}.{number}",
        study_instance_uid=study,
        series_instance_uid=f"{study}.0",
        patient_id="SYN-1",
        patient_name="PHANTOM^ONE",
        accession_number="A1",
        study_date="20260102",
    )


def correction(key: str, numbers: range = range(1, 4)) -> PlannedJob:
    """A person's SEG of the same stack."""
    seg = ReceivedSeg(Path(f"00/{key}.dcm"), "1.2.840.10008.5.1.4.1.1.66.4", f"8.{key}", f"8.{key}.0")
    return replace(plan(key, numbers), correction=seg)


def plan(key: str, numbers: range = range(1, 4), flags: tuple[Flag, ...] = ()) -> PlannedJob:
    frames = tuple(
        SourceFrame(Path(f"00/{STUDY}.{n}.dcm"), MR_IMAGE, f"{STUDY}.{n}", f"{STUDY}.0", 1, (0.0, 0.0, 10.0 * n))
        for n in numbers
    )
    stack = Stack(
        study_instance_uid=STUDY,
        frame_of_reference_uid="1.2.3.4",
        component=Component.MAGNITUDE,
        description="LGE",
        rows=16,
        columns=16,
        pixel_spacing=(1.5, 1.5),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        slice_thickness=8.0,
        spacing_between_slices=None,
        frames=frames,
        flags=flags,
    )
    return PlannedJob(key=key, input_digest=f"digest of {key}", model_sha256="f" * 64, stack=stack)


def verdict(uid: str = f"{STUDY}.0", accepted: bool = True) -> SeriesVerdict:
    kind = Verdict.ACCEPTED if accepted else Verdict.REJECTED
    reason = "LGE_SHORT_AXIS" if accepted else "CINE"
    return SeriesVerdict(STUDY, uid, kind, reason, "because", 8, 3, "LGE", "MR")


def analysed(key: str, flags: tuple[str, ...] = ()) -> Analysed:
    files = tuple(
        ResultFile(kind, "1.2.840", f"9.{key}.{number}", f"9.{key}.{number}.0", f"{key}/{kind}.dcm")
        for number, kind in enumerate(("seg", "sr", "sc"), 1)
    )
    numbers = Measurements(12.0, 100.0, 90.0, 112.0, 12.6, 117.6, 10.7, None, None, ())
    return Analysed(files, numbers, flags, 1.5)


def finished_job(
    ledger: Ledger, results: Path, destinations: Mapping[str, Sequence[str]], number: int = 1
) -> list[str]:
    """Bring a job with three real (small) objects to where it is delivered, and give their SOP Instance UIDs."""
    key, study = f"job{number}", f"{STUDY}.{number}"
    ledger.studies.add_instances([received(n, study) for n in range(1, 4)])
    [found] = ledger.studies.quiet_studies(0)
    newest, _ = ledger.studies.study_files(found)
    ledger.studies.close_study(found, newest, [verdict()], [plan(key)])
    files = []
    (results / key).mkdir(parents=True)
    for kind in ("seg", "sr", "sc"):
        path = make_object(results / key / f"{kind}.dcm")
        header = dcmread(path)
        uids = (header.SOPClassUID, header.SOPInstanceUID, header.SeriesInstanceUID)
        files.append(ResultFile(kind, *map(str, uids), f"{key}/{kind}.dcm"))
    ledger.jobs.finish(ledger.jobs.claim("host:0", 60), replace(analysed(key), files=tuple(files)), destinations)
    return [file.sop_instance_uid for file in files]


def failure_report(key: str) -> tuple[ResultFile, ...]:
    return tuple(
        ResultFile(kind, "1.2.840", f"8.{key}.{number}", f"8.{key}.{number}.0", f"{key}/failed/{kind}.dcm")
        for number, kind in enumerate(("failed_sr", "failed_sc"), 1)
    )
