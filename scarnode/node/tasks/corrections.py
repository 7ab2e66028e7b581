"""What came back: corrected segmentations to be measured, and our own results, which must never make new ones."""

from __future__ import annotations

import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scarnode.dicom.part10 import read
from scarnode.ledger.model import PlannedJob, ReturnedObject
from scarnode.pipeline.correct.model import SEG_CLASSES
from scarnode.pipeline.stack import SeriesVerdict, Stack, Verdict
from scarnode.util.errors import system_fault

log = logging.getLogger(__name__)

VERDICTS = {
    "CORRECTION": Verdict.ACCEPTED,
    "CORRECTION_WAITS": Verdict.REVIEW,
    "CORRECTION_REFUSED": Verdict.REVIEW,
    "AUTOMATIC_SEG": Verdict.REJECTED,
    "FOREIGN_SEG": Verdict.REJECTED,
    "OWN_RESULT": Verdict.REJECTED,
}


def classify_returned_segs(
    returned: Sequence[ReturnedObject],
    stacks: Sequence[Stack],
    planned: Sequence[PlannedJob],
    spool: Path,
    results: Path,
) -> tuple[list[SeriesVerdict], list[PlannedJob]]:
    """Classify every object that came back, and plan a job for each correction.

    Parameters
    ----------
    returned : sequence of ReturnedObject
        In order of arrival.
    stacks : sequence of Stack
        The study's, with absolute paths.
    planned : sequence of PlannedJob
        Their jobs, in the same order.
    spool, results : Path

    Returns
    -------
    list of SeriesVerdict
        One for each series and reason.
    list of PlannedJob
        In order of arrival: the later revises the earlier.

    Raises
    ------
    SystemFaultError
        The machine could not read one of them.
    """
    jobs = dict(zip((id(stack) for stack in stacks), planned, strict=True))
    told: dict[tuple[str, str, str], int] = defaultdict(int)
    corrections: list[PlannedJob] = []
    taken: dict[str, Path] = {}
    for one in returned:
        reason, detail, stack = _judge(one, stacks, taken, spool, results)
        told[one.seg.series_instance_uid, reason, detail] += 1
        if stack is not None:
            taken[one.seg.sop_instance_uid] = one.seg.path
            corrections.append(_plan(one, jobs[id(stack)]))
    study = stacks[0].study_instance_uid if stacks else ""
    verdicts = [
        SeriesVerdict(study, series, VERDICTS[reason], reason, detail, 0, count)
        for (series, reason, detail), count in told.items()
    ]
    return verdicts, corrections


def _judge(
    one: ReturnedObject, stacks: Sequence[Stack], taken: dict[str, Path], spool: Path, results: Path
) -> tuple[str, str, Stack | None]:
    """Return reason, detail and, where a job is to be made, the stack."""
    is_seg = one.seg.sop_class_uid in SEG_CLASSES
    path = spool / one.seg.path
    if one.own is not None:
        if is_seg and _changed(path, results / one.own):
            return (
                "CORRECTION_REFUSED",
                "changed under the SOP Instance UID of our result: save it as a new object",
                None,
            )
        return "OWN_RESULT", "sent back to the node that made it", None
    if (before := taken.get(one.seg.sop_instance_uid)) is not None:
        if _changed(path, spool / before):
            return "CORRECTION_REFUSED", "another SEG came under its SOP Instance UID: save it as a new object", None
        return "CORRECTION", "came again", None
    from scarnode.pipeline.correct.recognise import (  # highdicom: a node without SEGs never waits
        NoCorrectionError,
        find_corrected_stack,
    )

    try:
        stack = find_corrected_stack(path, stacks)
    except NoCorrectionError as why:
        return why.reason, why.detail, None
    return "CORRECTION", f"corrects a stack of {len(stack.frames)} slices", stack


def _changed(path: Path, original: Path) -> bool:
    """Return whether two SEGs surely hold other pixels; where one is compressed or gone, that is not known."""
    try:
        segs = [read(each, pixels=True) for each in (path, original)]
        if any(seg.file_meta.TransferSyntaxUID.is_compressed for seg in segs):
            return False
        return segs[0].PixelData != segs[1].PixelData
    except Exception as error:  # a damaged file is no correction either
        fault = system_fault(error)
        if fault is not None and not (fault.missing and path.exists() and original.parent.parent.is_dir()):
            raise fault from error
        log.warning("a SEG that came back can not be compared (%s)", type(error).__name__)
        return False


def _plan(one: ReturnedObject, job: PlannedJob) -> PlannedJob:
    """Plan a correction after the network's job of the same stack."""
    key = hashlib.sha256("\n".join(("correction", job.key, one.seg.sop_instance_uid)).encode()).hexdigest()
    return replace(job, key=key, correction=one.seg)
