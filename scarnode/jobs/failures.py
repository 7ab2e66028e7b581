"""Reports of jobs that failed for good: where a result was due, the archive gets the reason."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from scarnode import __version__
from scarnode.jobs.model import FAILURE, FailedJob, ResultFile
from scarnode.jobs.worker import anchored
from scarnode.segment.model import ModelIdentity


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
        Which of `scarnode.report.KINDS` are asked for.

    Returns
    -------
    tuple of ResultFile
        Their kinds begin with `FAILURE`. Writing the report of the same job again gives the same files.

    Raises
    ------
    InputError
        The stack's first image can not be read any more.
    """
    from scarnode.analyse import write_objects  # these load highdicom: only a node with a failed job needs it
    from scarnode.report import Provenance, build_failure

    provenance = Provenance(
        job_key=job.key,
        input_digest=job.input_digest,
        software_version=__version__,
        made_at=job.made_at,
        predecessor=job.predecessor,
    )
    objects = build_failure(anchored(job.stack, spool), job.reason, model, provenance, kinds)
    files = write_objects(objects, results / job.key / "failed")
    return tuple(
        ResultFile(
            kind=FAILURE + kind,
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            path=str(files[kind].relative_to(results)),
        )
        for kind, dataset in objects.items()
    )
