"""From a quiet study to queued jobs."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from scarnode.dicom.scp import ReceivedInstance, describe
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import PlannedJob
from scarnode.node.tasks.corrections import classify_returned_segs
from scarnode.pipeline.analyse import job_key
from scarnode.pipeline.stack import Rules, SeriesVerdict, Stack, StackSearch, Verdict, find_stacks, input_digest
from scarnode.util.errors import InputError, system_fault

log = logging.getLogger(__name__)

MAX_UNENDED = 10
"""How often the node may end, by chance or by a study, while it searches that."""


GONE = "UNREADABLE: the file is gone from the spool"
"""Problem of an instance whose file was taken out of the spool."""


def study_lock_of(study_id: int) -> str:
    """Return the name of a study's turn: who has it may search the study, or delete its files."""
    return f"study-{study_id}"


def search_study(
    ledger: Ledger,
    spool: Path,
    results: Path,
    study_id: int,
    rules: Rules,
    model_sha256: str,
    settings_digest: str,
    urgent: Sequence[str] = (),
    without_missing: bool = False,
) -> None:
    """Find the stacks of a study and their corrections, queue the jobs, and write down what became of every series.

    A search that fails is written down too: a study is never searched for ever, and never silent. One that ends
    the node itself (memory, a crash) does not do so at every start: after `MAX_UNENDED` times it is left alone.
    A fault of the machine ends no search: nothing is written down of what was found, for it is not the whole.

    Parameters
    ----------
    ledger : Ledger
    spool, results : Path
        Roots that the ledger's paths count from.
    study_id : int
        Of the ledger.
    rules : Rules
    model_sha256, settings_digest : str
        Enter the key of each job.
    urgent : sequence of str
        Calling AE titles whose studies go first.
    without_missing : bool
        Files that are not there are gone for good: they are written down as unreadable, the others are searched.

    Raises
    ------
    SystemFaultError
        The search is put off.
    """
    newest, paths = ledger.studies.study_files(study_id)
    unended = ledger.studies.begin_search(study_id)
    returned = ledger.studies.returned_objects(study_id)
    gone: set[Path] = set()
    try:
        if unended >= MAX_UNENDED:
            raise InputError(f"the node ended {unended} times while it was searched", f"study {study_id}", "Report it")
        arrivals = {spool / path: place for place, path in enumerate(ledger.studies.last_arrivals(study_id))}
        found = find_stacks([spool / path for path in paths], rules, arrivals)
        for path, fault in found.system_faults:
            if not (fault.missing and without_missing):
                raise fault
            gone.add(path)
        planned = [_plan(stack, spool, model_sha256, settings_digest) for stack in found.stacks]
        returned = [one for one in returned if spool / one.seg.path not in gone]
        verdicts, corrections = (
            classify_returned_segs(returned, found.stacks, planned, spool, results) if returned else ([], [])
        )
        identity = _identity(found, spool)
    except Exception as error:
        if (met := system_fault(error)) is not None:
            ledger.studies.put_off_search(study_id, f"the search waits: {met.why} (a fault of the system)")
            raise met from error
        log.exception("study %d can not be searched", study_id)
        detail = f"{type(error).__name__}: {error}"
        failed = SeriesVerdict("", "(all)", Verdict.REVIEW, "SEARCH_FAILED", detail, score=0, instances=len(paths))
        ledger.studies.close_study(study_id, newest, [failed], [], note=f"the search for stacks failed: {detail}")
        return
    problems = {str(path.relative_to(spool)): GONE if path in gone else why for path, why in found.unreadable}
    series = _settled(found.series, verdicts)
    plans = [*planned, *corrections]
    ledger.studies.close_study(study_id, newest, series, plans, problems, urgent=urgent, identity=identity)
    counts = (study_id, len(series), len(planned), len(corrections), len(problems))
    log.info("study %d: %d series, %d stacks, %d corrections, %d unreadable", *counts)


def _identity(found: StackSearch, spool: Path) -> ReceivedInstance | str:
    """Return the instance that says whose the study is, or how its images disagree in that."""
    for verdict in found.series:
        if verdict.reason == "PATIENT_MISMATCH":
            return verdict.detail.split(";")[0]
    for _, why in found.unreadable:
        if "names another patient" in why:
            return why
    if not found.stacks:
        return ""
    stack = found.stacks[-1]
    return describe(spool, stack.frames[stack.identity_frame].path)


def _settled(found: Sequence[SeriesVerdict], returned: Sequence[SeriesVerdict]) -> list[SeriesVerdict]:
    """Put what is known of a series that came back in the place of what its header alone says."""
    described = {verdict.series_instance_uid: verdict for verdict in found}
    known = {verdict.series_instance_uid for verdict in returned}
    own = [
        replace(verdict, description=told.description, modality=told.modality)
        if (told := described.get(verdict.series_instance_uid))
        else verdict
        for verdict in returned
    ]
    return [*(verdict for verdict in found if verdict.series_instance_uid not in known), *own]


def _plan(stack: Stack, spool: Path, model_sha256: str, settings_digest: str) -> PlannedJob:
    digest = input_digest(stack)
    frames = tuple(replace(frame, path=frame.path.relative_to(spool)) for frame in stack.frames)
    return PlannedJob(
        key=job_key(digest, model_sha256, settings_digest),
        input_digest=digest,
        model_sha256=model_sha256,
        stack=replace(stack, frames=frames),
    )
