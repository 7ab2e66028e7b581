"""Reports of jobs that failed for good: where a result was due, the archive gets the reason."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from scarnode.ledger.model import FAILURE, FailedJob, ResultFile
from scarnode.ledger.results import anchored, provenance_of, write_results
from scarnode.pipeline.segment.model import ModelIdentity


def write_failure(
    job: FailedJob, model: ModelIdentity, spool: Path, results: Path, kinds: Collection[str]
) -> tuple[ResultFile, ...]:
    """Build the report of a failed job and write it durably.

    Parameters
    ----------
    job : FailedJob
    model : ModelIdentity
    spool, results : Path
        Roots that relative paths count from.
    kinds : collection of str
        Which of `scarnode.pipeline.report.KINDS` are asked for.

    Returns
    -------
    tuple of ResultFile
        Their kinds begin with `FAILURE`. Writing the report of the same job again gives the same files.

    Raises
    ------
    InputError
        The stack's first image can not be read any more.
    """
    from scarnode.pipeline.report import build_failure

    objects = build_failure(anchored(job.stack, spool), job.reason, model, provenance_of(job), kinds)
    return write_results(objects, results, f"{job.key}/failed", FAILURE)
