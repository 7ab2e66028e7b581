"""Why a study has, or lacks, a result: in words, with what to do."""

from __future__ import annotations

import time
from dataclasses import dataclass

from scarnode.ledger import Ledger, queries
from scarnode.ledger.queries import JobSummary, SeriesRow
from scarnode.pipeline.stack import REASONS
from scarnode.util.clock import monotonic_time
from scarnode.web.queries import (
    NotThereError,
    StudyRow,
    UnreadableFile,
    WaitingSeries,
    get_studies,
    jobs_of,
    unreadable_of,
    unsearched_series,
)


@dataclass(frozen=True)
class SeriesInWords:
    """What became of a series.

    Attributes
    ----------
    found : SeriesRow
    meaning : str
        What its reason means, and what to do.
    """

    found: SeriesRow
    meaning: str


@dataclass(frozen=True)
class Explanation:
    """Everything there is to say of a study.

    Attributes
    ----------
    answer : str
        One sentence: is there a result, and if not why.
    todo : str
        What a person can do; empty where there is nothing to be done.
    study : StudyRow
    quiet_in : float or None
        Seconds until it is searched, if nothing more comes; None where nothing waits.
    jobs : tuple of JobSummary
        Newest first.
    series : tuple of SeriesInWords
        Those that were analysed first, then those that may be late enhancement.
    waiting : tuple of WaitingSeries
    unreadable : tuple of UnreadableFile
    """

    answer: str
    todo: str
    study: StudyRow
    quiet_in: float | None
    jobs: tuple[JobSummary, ...]
    series: tuple[SeriesInWords, ...]
    waiting: tuple[WaitingSeries, ...]
    unreadable: tuple[UnreadableFile, ...]


def explain(ledger: Ledger, study_id: int, quiet_seconds: float) -> Explanation:
    """Explain a study of the ledger.

    Parameters
    ----------
    ledger : Ledger
    study_id : int
    quiet_seconds : float
        As [study] has it.

    Raises
    ------
    NotThereError
        There is no such study.
    """
    found = get_studies(ledger, [study_id])
    if not found:
        raise NotThereError("There is no such study.")
    study = found[0]
    jobs = jobs_of(ledger, [study_id], limit=100)
    rows = queries.list_series(ledger, queries.SeriesFilter(study=study.study_instance_uid), limit=1000)
    order = {"accepted": 0, "review": 1, "rejected": 2}
    rows.sort(key=lambda row: (order.get(row.verdict, 3), -row.score))
    unreadable = unreadable_of(ledger, study_id)
    # both times by the steady clock, as the search itself compares them
    quiet_in = max(0.0, study.last_received_at + quiet_seconds - monotonic_time()) if study.unsearched else None
    answer, todo = _conclude(study, jobs, rows, quiet_in, len(unreadable))
    return Explanation(
        answer,
        todo,
        study,
        quiet_in,
        tuple(jobs),
        tuple(SeriesInWords(row, REASONS.get(row.reason, "")) for row in rows),
        tuple(unsearched_series(ledger, study_id)),
        tuple(unreadable),
    )


def _conclude(
    study: StudyRow, jobs: list[JobSummary], rows: list[SeriesRow], quiet_in: float | None, unreadable: int
) -> tuple[str, str]:
    """Return the answer and what to do."""
    standing = [job for job in jobs if job.state != "superseded"] or jobs
    if standing:
        return _of_job(standing[0], quiet_in)
    if quiet_in is not None:
        soon = f"in {quiet_in:.0f} s" if quiet_in >= 1 else "at once"
        return (
            f"Not yet: {_images(study.unsearched)} came that were not searched. That is done when no image has come "
            f"for a while, {soon} if nothing more comes.",
            "Wait, or look whether the sender is still sending.",
        )
    return _of_series(rows, unreadable)


def _of_series(rows: list[SeriesRow], unreadable: int) -> tuple[str, str]:
    """Describe why a study that was searched has no job."""
    review = [row for row in rows if row.verdict == "review"]
    if any(row.reason == "SEARCH_FAILED" for row in rows):
        answer, todo = "No result: the study could not be searched.", REASONS["SEARCH_FAILED"]
    elif review:
        answer = (
            f"No result: none of its {len(rows)} series is surely a short-axis late-enhancement stack; "
            f"{len(review)} may be one."
        )
        todo = REASONS.get(review[0].reason, "")
    elif rows:
        also = f" {unreadable} of its files can not be read." if unreadable else ""
        answer = f"No result: none of its {len(rows)} series is a short-axis late-enhancement stack.{also}"
        todo = "See below what each was taken for. If the stack is missing here, it was not sent to this node."
    elif unreadable:
        answer = "No result: none of its files can be read."
        todo = "See below what is wrong with each, and send them again."
    else:
        answer, todo = "No result: nothing of it was found to analyse.", "Send the study again."
    return answer, todo


OF_STATE = {
    "queued": ("Soon: job {job} waits for its turn ({reason}).", ""),
    "running": ("Soon: job {job} is being analysed ({reason}).", ""),
    "delivering": (
        "Yes: job {job} has a result, which is being sent.",
        "A destination that can not be reached is tried again by itself; why stands with the job.",
    ),
    "held": (
        "Yes, but it was not sent: job {job} waits for a person ({reason}).",
        "Look at the slices and the flags of the job, then release or cancel it.",
    ),
    "failed": (
        "Job {job} failed: {reason}.",
        "Remove the cause and retry the job. Where only the sending failed, this sends it again.",
    ),
    "superseded": ("Job {job} ended without a result: {reason}.", "Send the study again if one is wanted."),
    "done": ("Yes: job {job} has a result, which was sent ({reason}).", ""),
}
"""By the state of the job that counts: the answer, and what to do."""


def _of_job(job: JobSummary, quiet_in: float | None) -> tuple[str, str]:
    """Describe where the job that counts stands."""
    answer, todo = OF_STATE[job.state]
    answer = answer.format(job=job.job, reason=job.reason.rstrip("."))
    if job.results_removed_at:
        answer += " Its files were removed from this machine since."
    if quiet_in is not None:
        answer += " More images came meanwhile: they are searched soon."
    return answer, todo


def _images(count: int) -> str:
    return f"{count} image" + ("" if count == 1 else "s")


def age(seconds: float, now: float | None = None) -> str:
    """Describe how long ago a time was."""
    passed = max(0.0, (time.time() if now is None else now) - seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= length:
            return f"{passed / length:.0f} {unit} ago"
    return f"{passed:.0f} s ago"
