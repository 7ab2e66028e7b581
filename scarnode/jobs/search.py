"""From a quiet study to queued jobs."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from scarnode.analyse import job_key
from scarnode.jobs.ledger import Ledger
from scarnode.jobs.model import PlannedJob
from scarnode.stack import Rules, SeriesVerdict, Stack, Verdict, find_stacks, input_digest

log = logging.getLogger(__name__)


def search_study(
    ledger: Ledger, spool: Path, study_id: int, rules: Rules, model_sha256: str, settings_digest: str
) -> None:
    """Find the stacks of a study, queue their jobs, and write down what became of every series.

    A search that fails is written down too: a study is never searched for ever, and never silent.

    Parameters
    ----------
    ledger : Ledger
    spool : Path
    study_id : int
        Of the ledger.
    rules : Rules
    model_sha256, settings_digest : str
        Enter the key of each job.
    """
    newest, paths = ledger.study_files(study_id)
    try:
        found = find_stacks([spool / path for path in paths], rules)
        planned = [_plan(stack, spool, model_sha256, settings_digest) for stack in found.stacks]
    except Exception as error:
        log.exception("study %d can not be searched", study_id)
        detail = f"{type(error).__name__}: {error}"
        failed = SeriesVerdict("", "(all)", Verdict.REVIEW, "SEARCH_FAILED", detail, score=0, instances=len(paths))
        ledger.close_study(study_id, newest, [failed], [], note=f"the search for stacks failed: {detail}")
        return
    problems = {str(path.relative_to(spool)): why for path, why in found.unreadable}
    ledger.close_study(study_id, newest, found.series, planned, problems)
    log.info("study %d: %d series, %d stacks, %d unreadable", study_id, len(found.series), len(planned), len(problems))


def _plan(stack: Stack, spool: Path, model_sha256: str, settings_digest: str) -> PlannedJob:
    digest = input_digest(stack)
    frames = tuple(replace(frame, path=frame.path.relative_to(spool)) for frame in stack.frames)
    return PlannedJob(
        key=job_key(digest, model_sha256, settings_digest),
        input_digest=digest,
        model_sha256=model_sha256,
        stack=replace(stack, frames=frames),
    )
