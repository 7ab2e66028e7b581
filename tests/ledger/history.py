"""A ledger with some of everything: a week of a department, made by the ledger's own methods under a clock of its own.

The same every time, so that what a command prints of it can be compared with what a page of the documentation shows.
Synthetic: no patient of this name exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from datetime import datetime, timezone
from pathlib import Path

from scarnode.dicom.scp import CommitmentReport, ReceivedInstance
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import Analysed, DeliveryReport, PlannedJob, ResultFile
from scarnode.pipeline.correct.model import ReceivedSeg
from scarnode.pipeline.measure import Measurements
from scarnode.pipeline.stack import Component, Flag, SeriesVerdict, SourceFrame, Stack, Verdict
from tests.harness.clock import ManualClock

START = datetime(2026, 3, 16, 7, 30, tzinfo=timezone.utc).timestamp()
MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
SEG = "1.2.840.10008.5.1.4.1.1.66.4"
ROOT = 264_000_000_000_000_000_000_000_000_000_000_000_000
KINDS = ("seg", "sr", "sc")
DESTINATIONS = {"pacs": KINDS, "research": ("seg", "sr")}


def uid(study: int, series: int = 0, instance: int = 0) -> str:
    """Give a UID of the form that scanners without a root of their own use."""
    return f"2.25.{ROOT + study * 1_000_000 + series * 1000 + instance}"


def received(clock: ManualClock, study: int, series: int, number: int, ae: str, patient: int) -> dict:
    """Give the fields of an instance that arrives now."""
    instance = uid(study, series, number)
    digest = f"{int(instance[5:]):064x}"
    return {
        "path": f"{digest[-2:]}/{instance}.{digest}.dcm",
        "digest": digest,
        "size": 131_830,
        "received_at": clock.now,
        "calling_ae": ae,
        "sop_class_uid": MR_IMAGE,
        "sop_instance_uid": instance,
        "study_instance_uid": uid(study),
        "series_instance_uid": uid(study, series),
        "patient_id": f"SYN-{1000 + patient}",
        "patient_name": f"PHANTOM^{patient}",
        "accession_number": f"A{5000 + study}",
        "study_date": datetime.fromtimestamp(clock.now, timezone.utc).strftime("%Y%m%d"),
    }


class Department:
    """Sends studies to a ledger and does what the node does with them."""

    def __init__(self, ledger: Ledger, clock: ManualClock) -> None:
        self.ledger, self.clock = ledger, clock

    def send(
        self, study: int, series: int, count: int, ae: str, first: int = 1, patient: int | None = None, **changes: str
    ) -> None:
        """Send images of a series, four a second."""
        came = []
        for number in range(first, first + count):
            self.clock.later(0.25)
            fields = received(self.clock, study, series, number, ae, patient or study)
            came.append(ReceivedInstance(**{**fields, **changes}))
        self.ledger.studies.add_instances(came)

    def search(
        self,
        verdicts: Sequence[SeriesVerdict],
        planned: Sequence[PlannedJob] = (),
        problems: dict[str, str] | None = None,
        note: str = "",
        urgent: Sequence[str] = (),
    ) -> None:
        """Let the study that was sent go quiet, and search it."""
        self.clock.later(60.5)
        [study] = self.ledger.studies.quiet_studies(60)
        newest, _ = self.ledger.studies.study_files(study)
        self.ledger.studies.begin_search(study)
        self.clock.later(0.4)
        self.ledger.studies.close_study(study, newest, verdicts, planned, problems, note, urgent)

    def analyse(self, plan: PlannedJob, scar: float, flags: Sequence[str] = (), seconds: float = 1.1) -> None:
        """Run the job that is due."""
        claimed = self.ledger.jobs.claim("heart:0", 600)
        assert claimed is not None
        assert claimed.key == plan.key
        self.clock.later(seconds)
        self.ledger.jobs.finish(claimed, analysed(plan, scar, flags, seconds), DESTINATIONS, ("FEW_SLICES",))

    def deliver(self, name: str, commit: bool = False) -> None:
        """Send a destination what is due for it."""
        due = self.ledger.deliveries.due_deliveries(name)
        assert due
        self.clock.later(0.3)
        self.ledger.deliveries.report_deliveries(
            [DeliveryReport(one.id, True, "0x0000 Success", None, commit) for one in due]
        )

    def commit(self, name: str) -> None:
        """Ask a destination to keep what it was sent; it commits itself to all."""
        for due in self.ledger.commitments.due_commitments(name):
            transaction = self.ledger.commitments.open_commitment(due, name, 60)
            self.clock.later(0.1)
            self.ledger.commitments.commitment_requested(due, name, "storage commitment asked for, request 1")
            self.clock.later(2.0)
            uids = [instance for _, instance in due.instances]
            report = CommitmentReport(transaction, frozenset(uids), {})
            assert self.ledger.commitments.take_commitment_report(report, [name], lambda _: 60.0)

    def whole(self, study: int, scar: float, ae: str = "MR_AVANTO", slices: int = 12) -> None:
        """Send a study with an LGE stack and a cine series; all goes well."""
        plan = planned(study, slices)
        self.send(study, 1, 6, ae)
        self.send(study, 2, slices, ae)
        self.search([cine(study, 6), lge(study, slices)], [plan])
        self.analyse(plan, scar)
        self.deliver("research")
        self.deliver("pacs", commit=True)
        self.commit("pacs")


def planned(study: int, slices: int = 12, more: int = 0, seg: ReceivedSeg | None = None) -> PlannedJob:
    """Give the job on a study's series 2, with `more` late slices."""
    frames = tuple(
        SourceFrame(
            Path(f"00/{uid(study, 2, n)}.{int(uid(study, 2, n)[5:]):064x}.dcm"),
            MR_IMAGE,
            uid(study, 2, n),
            uid(study, 2),
            1,
            (-120.5, -98.25, 10.0 * n),
        )
        for n in range(1, slices + more + 1)
    )
    stack = Stack(
        study_instance_uid=uid(study),
        frame_of_reference_uid=uid(study, 900),
        component=Component.MAGNITUDE,
        description="LGE sax PSIR",
        rows=256,
        columns=256,
        pixel_spacing=(1.4, 1.4),
        orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
        slice_thickness=8.0,
        spacing_between_slices=10.0,
        frames=frames,
        flags=(Flag.FEW_SLICES,) if slices < 6 else (),
    )
    key = f"{study * 100 + more * 2 + bool(seg):064x}"
    return PlannedJob(key, f"{study * 100 + more:064x}", "f" * 64, stack, seg)


def lge(study: int, slices: int = 12) -> SeriesVerdict:
    """Give the verdict on a short-axis LGE series."""
    detail = "ImageType, SequenceName and the inversion time say LGE; the slices are parallel"
    kind = Verdict.ACCEPTED
    return SeriesVerdict(uid(study), uid(study, 2), kind, "LGE_SHORT_AXIS", detail, 9, slices, "LGE sax PSIR", "MR")


def cine(study: int, images: int) -> SeriesVerdict:
    """Give the verdict on a cine series."""
    detail = "25 cardiac phases at each position"
    return SeriesVerdict(uid(study), uid(study, 1), Verdict.REJECTED, "CINE", detail, -4, images, "cine sax", "MR")


def other(study: int, verdict: Verdict, reason: str, detail: str, images: int, description: str) -> SeriesVerdict:
    """Give any verdict on a study's series 2."""
    return SeriesVerdict(uid(study), uid(study, 2), verdict, reason, detail, 2, images, description, "MR")


def analysed(plan: PlannedJob, scar: float, flags: Sequence[str] = (), seconds: float = 1.1) -> Analysed:
    """Give a result with so many cm³ of scar."""
    number = int(plan.key, 16)
    files = tuple(
        ResultFile(
            kind, f"1.2.840.10008.5.1.4.{at}", uid(number, 800 + at, 1), uid(number, 800 + at), f"{plan.key}/{kind}.dcm"
        )
        for at, kind in enumerate(KINDS, 1)
    )
    muscle = 150.0
    percent = 100 * scar / muscle
    numbers = Measurements(scar, muscle - scar, 90.0, muscle, percent, muscle, percent, None, None, ())
    return Analysed(files, numbers, tuple(flags), seconds)


def make_history(url: str, actor: str = "test") -> None:
    """Fill an empty ledger with seventeen studies: every end that a study can come to, and what is under way."""
    clock = ManualClock(START)
    with closing(Ledger(url, actor, clock=clock)) as ledger:
        make_past(Department(ledger, clock))
        make_today(Department(ledger, clock))


def make_past(of: Department) -> None:
    """Receive thirteen studies that came to an end."""
    clock, ledger = of.clock, of.ledger
    of.whole(1, 18.4)
    clock.later(3600)
    of.whole(2, 4.2, ae="GE_SIGNA")
    clock.later(3600)
    _late_images(of, 3)
    clock.later(86400)
    _corrected(of, 4)
    clock.later(1800)
    of.send(5, 1, 6, "MR_AVANTO")
    of.search([cine(5, 6)])
    clock.later(1800)
    of.send(6, 2, 8, "GE_SIGNA")
    detail = "an inversion time that fits LGE, but nothing in the header says so"
    of.search([other(6, Verdict.REVIEW, "NOT_SURE", detail, 8, "sax 8mm")])
    clock.later(1800)
    _two_patients(of, 7)
    clock.later(1800)
    _few_slices(of, 8)
    clock.later(86400)
    _unreadable(of, 9)
    clock.later(1800)
    _not_analysed(of, 10)
    clock.later(1800)
    _refused(of, 11)
    clock.later(1800)
    of.send(12, 2, 12, "MR_AVANTO")
    note = "the search for stacks failed: MemoryError: "
    failed = SeriesVerdict("", "(all)", Verdict.REVIEW, "SEARCH_FAILED", "MemoryError: ", 0, 12)
    of.search([failed], note=note)
    clock.later(86400)
    ledger.alarms.raise_alarm("disk_spool", "the spool's disk has 4.8 % free; refused below 5 %")
    clock.later(5400)
    ledger.alarms.clear_alarm("disk_spool")
    of.whole(13, 31.0, ae="PHILIPS_ING")


def make_today(of: Department) -> None:
    """Receive four studies that are under way."""
    clock, ledger = of.clock, of.ledger
    clock.later(1800)
    _pacs_away(of, 14)
    clock.later(60)
    of.send(15, 2, 12, "MR_AVANTO")
    of.search([lge(15)], [planned(15)])
    of.send(16, 2, 12, "STROKE_MR")
    of.search([lge(16)], [planned(16)], urgent=["STROKE_MR"])
    assert ledger.jobs.claim("heart:0", 600)  # the urgent one runs, the other waits
    clock.later(4)
    of.send(17, 2, 9, "GE_SIGNA")  # and one is still arriving
    ledger.alarms.raise_alarm("worker_1", "the worker can not load the network: CUDA out of memory")


def _late_images(of: Department, study: int) -> None:
    """A study whose last two slices came after its result was sent."""
    first, second = planned(study, 10), planned(study, 10, more=2)
    of.send(study, 2, 10, "MR_AVANTO")
    of.search([lge(study, 10)], [first])
    of.analyse(first, 11.0)
    of.deliver("research")
    of.deliver("pacs")
    of.clock.later(600)
    of.send(study, 2, 2, "MR_AVANTO", first=11)
    of.search([lge(study)], [second])
    of.analyse(second, 12.7)
    of.deliver("research")
    of.deliver("pacs")


def _corrected(of: Department, study: int) -> None:
    """A study whose SEG a person corrected."""
    of.whole(study, 22.0)
    of.clock.later(7200)
    seg = {"sop_class_uid": SEG}
    of.send(study, 3, 1, "OHIF", **seg)
    back = planned(study, seg=ReceivedSeg(Path("00/seg.dcm"), SEG, uid(study, 3, 1), uid(study, 3)))
    verdict = SeriesVerdict(uid(study), uid(study, 3), Verdict.ACCEPTED, "CORRECTION", "", 0, 1, "corrected", "SEG")
    of.search([cine(study, 6), lge(study), verdict], [planned(study), back])
    of.analyse(back, 20.5, seconds=0.4)
    of.deliver("research")
    of.deliver("pacs", commit=True)
    of.commit("pacs")


def _two_patients(of: Department, study: int) -> None:
    """A study with images of two patients."""
    of.send(study, 2, 8, "GE_SIGNA")
    of.send(study, 2, 4, "GE_SIGNA", first=9, patient=507)
    detail = "images of 2 patients in one study: their PatientID differs"
    of.search([other(study, Verdict.REVIEW, "PATIENT_MISMATCH", detail, 12, "LGE sax PSIR")])


def _few_slices(of: Department, study: int) -> None:
    """A study that waits for a person."""
    plan = planned(study, 4)
    of.send(study, 2, 4, "MR_AVANTO")
    of.search([lge(study, 4)], [plan])
    of.analyse(plan, 3.1, flags=["FEW_SLICES"])


def _unreadable(of: Department, study: int) -> None:
    """A study with a damaged image, and a file that names no study."""
    plan = planned(study, 11)
    of.send(study, 2, 12, "PHILIPS_ING")
    files = of.ledger.studies.study_files(9)[1]
    of.search([lge(study, 11)], [plan], {files[-1]: "the pixel data are cut short"})
    of.analyse(plan, 9.9)
    of.deliver("research")
    of.deliver("pacs")
    of.send(99, 1, 1, "PHILIPS_ING", study_instance_uid="", problem="the dataset has no Study Instance UID")


def _not_analysed(of: Department, study: int) -> None:
    """A study whose analysis failed twice, and for good."""
    of.send(study, 2, 12, "GE_SIGNA")
    of.search([lge(study)], [planned(study)])
    for permanent in (False, True):
        claimed = of.ledger.jobs.claim("heart:0", 600)
        assert claimed is not None
        of.clock.later(2)
        why = "pixel data can not be decoded" if permanent else "the worker ended (signal 9)"
        of.ledger.jobs.fail(claimed, why, 3, permanent)
        of.clock.later(2)
    [failed] = of.ledger.failures.unreported_failures()
    report = tuple(
        ResultFile(
            f"failed_{kind}",
            "1.2.840.10008.5.1.4",
            uid(study, 850 + at, 1),
            uid(study, 850 + at),
            f"{failed.key}/failed/{kind}.dcm",
        )
        for at, kind in enumerate(KINDS[1:], 1)
    )
    of.ledger.failures.report_failure(failed.id, report, DESTINATIONS)
    of.deliver("research")
    of.deliver("pacs")


def _refused(of: Department, study: int) -> None:
    """A study whose SEG a destination refuses."""
    plan = planned(study)
    of.send(study, 2, 12, "MR_AVANTO")
    of.search([lge(study)], [plan])
    of.analyse(plan, 27.3, seconds=2.6)
    of.deliver("research")
    reports = [
        DeliveryReport(one.id, False, "0x0122 SOP class not supported. Given up after attempt 1.", None)
        if one.path.endswith("seg.dcm")
        else DeliveryReport(one.id, True, "0x0000 Success", None)
        for one in of.ledger.deliveries.due_deliveries("pacs")
    ]
    of.clock.later(0.3)
    of.ledger.deliveries.report_deliveries(reports)


def _pacs_away(of: Department, study: int) -> None:
    """A study whose results wait for a destination that is away."""
    plan = planned(study)
    of.send(study, 2, 12, "GE_SIGNA")
    of.search([lge(study)], [plan])
    of.analyse(plan, 15.6)
    of.deliver("research")
    for attempt in range(1, 4):
        of.ledger.deliveries.put_off_deliveries(
            "pacs", "No connection to PACS@10.1.2.3:104.", lambda tries: 30.0 * 2 ** (tries - 1)
        )
        of.clock.later(30.0 * 2 ** (attempt - 1) + 1)
