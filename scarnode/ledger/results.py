"""From a job to the provenance of its objects, and from the objects to files that the ledger knows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from scarnode import __version__
from scarnode.ledger.model import ClaimedJob, FailedJob, ResultFile
from scarnode.pipeline.report import Provenance, ResultObjects
from scarnode.pipeline.stack import Stack


def anchored(stack: Stack, spool: Path) -> Stack:
    """Return the stack with its spool-relative paths made absolute."""
    return replace(stack, frames=tuple(replace(frame, path=spool / frame.path) for frame in stack.frames))


def provenance_of(job: ClaimedJob | FailedJob) -> Provenance:
    """Return what every attempt of a job writes into its objects."""
    return Provenance(
        job_key=job.key,
        input_digest=job.input_digest,
        software_version=__version__,
        made_at=job.made_at,
        predecessor=job.predecessor,
    )


def write_results(objects: ResultObjects, results: Path, folder: str, prefix: str = "") -> tuple[ResultFile, ...]:
    """Write a job's objects durably, and tell them as the ledger stores them.

    Parameters
    ----------
    objects : ResultObjects
    results : Path
        Results folder; the files' paths count from it.
    folder : str
        Below `results`.
    prefix : str
        Of the kinds.
    """
    from scarnode.pipeline.analyse import write_objects

    files = write_objects(objects, results / folder)
    return tuple(
        ResultFile(
            kind=prefix + kind,
            sop_class_uid=str(dataset.SOPClassUID),
            sop_instance_uid=str(dataset.SOPInstanceUID),
            series_instance_uid=str(dataset.SeriesInstanceUID),
            path=str(files[kind].relative_to(results)),
        )
        for kind, dataset in objects.items()
    )
