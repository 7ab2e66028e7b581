"""The status of a study: why it has, or lacks, a result, and what to do."""

from __future__ import annotations

import time
from dataclasses import dataclass

from scarnode.ledger import queries
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.queries import JobSummary, SeriesRow
from scarnode.ledger.tables import JobState
from scarnode.pipeline.stack import REASONS, Verdict
from scarnode.util.clock import monotonic_time
from scarnode.web.queries import (
    NotFoundError,
    StudyRow,
    UnreadableFile,
    WaitingSeries,
    get_studies,
    jobs_of,
    unreadable_of,
    unsearched_series,
)


@dataclass(frozen=True)
class SeriesMeaning:
    """A searched series and the meaning of its reason code.

    Attributes
    ----------
    found : SeriesRow
    meaning : str
        The meaning of the reason code, and what to do.
    """

    found: SeriesRow
    meaning: str


@dataclass(frozen=True)
class StudyStatus:
    """The status of a study, as its page shows it.

    Attributes
    ----------
    answer : str
        One sentence: whether there is a result, and if not, why.
    todo : str
        What the user can do; empty where nothing is needed.
    study : StudyRow
    quiet_in : float or None
        Seconds until the study is searched if no further image comes; None where no image waits.
    jobs : tuple of JobSummary
        Newest first.
    series : tuple of SeriesMeaning
        Accepted series first, then those in review, then rejected ones; each by score.
    waiting : tuple of WaitingSeries
    unreadable : tuple of UnreadableFile
    """

    answer: str
    todo: str
    study: StudyRow
    quiet_in: float | None
    jobs: tuple[JobSummary, ...]
    series: tuple[SeriesMeaning, ...]
    waiting: tuple[WaitingSeries, ...]
    unreadable: tuple[UnreadableFile, ...]


def study_status(ledger: Ledger, study_id: int, quiet_seconds: float) -> StudyStatus:
    """Return the status of a study of the ledger.

    Parameters
    ----------
    ledger : Ledger
    study_id : int
    quiet_seconds : float
        The setting of [study].

    Raises
    ------
    NotFoundError
        There is no such study.
    """
    found = get_studies(ledger, [study_id])
    if not found:
        raise NotFoundError("There is no such study.")
    study = found[0]
    jobs = jobs_of(ledger, [study_id], limit=100)
    rows = queries.list_series(ledger, queries.SeriesFilter(study=study.study_instance_uid), limit=1000)
    order = list(Verdict)
    rows.sort(key=lambda row: (order.index(Verdict(row.verdict)), -row.score))
    unreadable = unreadable_of(ledger, study_id)
    # both times are of the monotonic clock, as in the search
    quiet_in = max(0.0, study.last_received_at + quiet_seconds - monotonic_time()) if study.unsearched else None
    answer, todo = _conclude(study, jobs, rows, quiet_in, len(unreadable))
    return StudyStatus(
        answer,
        todo,
        study,
        quiet_in,
        tuple(jobs),
        tuple(SeriesMeaning(row, REASONS.get(row.reason, "")) for row in rows),
        tuple(unsearched_series(ledger, study_id)),
        tuple(unreadable),
    )


def _conclude(
    study: StudyRow, jobs: list[JobSummary], rows: list[SeriesRow], quiet_in: float | None, unreadable: int
) -> tuple[str, str]:
    """Return the answer and what to do."""
    current = [job for job in jobs if job.state != JobState.SUPERSEDED] or jobs
    if current:
        return _conclude_from_job(current[0], quiet_in)
    if quiet_in is not None:
        soon = f"in {quiet_in:.0f} s" if quiet_in >= 1 else "at once"
        return (
            f"Not yet: {_images(study.unsearched)} came that were not searched. The study is searched when no image "
            f"has come for a while, {soon} if nothing more comes.",
            "Wait, or check whether the sender is still sending.",
        )
    return _conclude_from_series(rows, unreadable)


def _conclude_from_series(rows: list[SeriesRow], unreadable: int) -> tuple[str, str]:
    """Return why a searched study has no job, and what to do."""
    review = [row for row in rows if row.verdict == Verdict.REVIEW]
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
        todo = "See the reason of each series below. If the stack is not listed, it was not sent to this node."
    elif unreadable:
        answer = "No result: none of its files can be read."
        todo = "See below what is wrong with each, and send them again."
    else:
        answer, todo = "No result: the study holds nothing to analyse.", "Send the study again."
    return answer, todo


STATE_TEXTS = {
    JobState.QUEUED: ("Soon: job {job} is in the queue ({reason}).", ""),
    JobState.RUNNING: ("Soon: job {job} is being analysed ({reason}).", ""),
    JobState.DELIVERING: (
        "Yes: job {job} has a result, which is being sent.",
        "A destination that can not be reached is tried again automatically. The job's page shows why.",
    ),
    JobState.HELD: (
        "Yes, but it was not sent: job {job} waits for a person ({reason}).",
        "Check the slices and the flags of the job, then release or cancel it.",
    ),
    JobState.FAILED: (
        "Job {job} failed: {reason}.",
        "Remove the cause and retry the job. If only the sending failed, a retry sends the result again.",
    ),
    JobState.SUPERSEDED: ("Job {job} ended without a result: {reason}.", "Send the study again if one is wanted."),
    JobState.DONE: ("Yes: job {job} has a result, which was sent ({reason}).", ""),
}
"""The answer and what to do, by the state of the study's current job."""


def _conclude_from_job(job: JobSummary, quiet_in: float | None) -> tuple[str, str]:
    """Return the answer and what to do for the study's current job."""
    answer, todo = STATE_TEXTS[JobState(job.state)]
    answer = answer.format(job=job.job, reason=job.reason.rstrip("."))
    if job.results_removed_at:
        answer += " Its files were removed from this machine since."
    if quiet_in is not None:
        answer += " More images came since. They are searched soon."
    return answer, todo


def _images(count: int) -> str:
    return f"{count} image" + ("" if count == 1 else "s")


def age(seconds: float, now: float | None = None) -> str:
    """Format how long ago a time was."""
    passed = max(0.0, (time.time() if now is None else now) - seconds)
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if passed >= length:
            return f"{passed / length:.0f} {unit} ago"
    return f"{passed:.0f} s ago"
