"""A job's story from the first image to the last promise to keep its result, and everything else its page shows."""

from __future__ import annotations

from dataclasses import dataclass

from scarnode.ledger import queries
from scarnode.ledger import story as jobs_story
from scarnode.ledger.queries import DeliveryRow, EventRow, JobSummary
from scarnode.ledger.story import Step
from scarnode.pipeline.report.readback import ReportNumbers
from scarnode.pipeline.report.texts import WORDS
from scarnode.web.app_state import AppState
from scarnode.web.queries import StudyRow, get_studies, job_parts, split_flags


@dataclass(frozen=True)
class Milestone:
    """A step of the way; `at` is None where it was not reached."""

    what: str
    at: float | None
    note: str = ""


@dataclass(frozen=True)
class FlagInWords:
    """A quality flag and what it says."""

    flag: str
    meaning: str


@dataclass(frozen=True)
class Action:
    """Something a person may do with a job now."""

    name: str
    """The last part of its address."""
    label: str
    says: str
    """What it does."""
    asks: bool = False
    """It can not be taken back."""


@dataclass(frozen=True)
class JobStory:
    """What the page of a job shows.

    Attributes
    ----------
    job : JobSummary
    study : StudyRow
    study_id : int
    description : str
        SeriesDescription of the stack.
    synthetic : bool
        The images say of themselves that they are synthetic.
    seconds : float or None
        How long the analysis took.
    flags : tuple of FlagInWords
    numbers : ReportNumbers or None
        Of the SR; None where it is not on this machine.
    report_page : bool
        Whether the page of the result, or of the failure, can be shown.
    slices : int
        How many can be shown; 0: `no_slices` says why.
    no_slices : str
    milestones : tuple of Milestone
    steps : tuple of Step
        All that happened to the job and its study.
    deliveries : tuple of DeliveryRow
    actions : tuple of Action
    """

    job: JobSummary
    study: StudyRow
    study_id: int
    description: str
    synthetic: bool
    seconds: float | None
    flags: tuple[FlagInWords, ...]
    numbers: ReportNumbers | None
    report_page: bool
    slices: int
    no_slices: str
    milestones: tuple[Milestone, ...]
    steps: tuple[Step, ...]
    deliveries: tuple[DeliveryRow, ...]
    actions: tuple[Action, ...]


def tell_story(app_state: AppState, job_id: int) -> JobStory:
    """Return everything there is to say of a job.

    Raises
    ------
    NotThereError
        There is no such job.
    """
    parts = job_parts(app_state.ledger, job_id)
    job = queries.get_job(app_state.ledger, job_id)
    [study] = get_studies(app_state.ledger, [parts.study_id])
    events, deliveries = (
        queries.list_events(app_state.ledger, job_id),
        queries.list_deliveries(app_state.ledger, job_id),
    )
    missing = app_state.pictures.can_show(parts)
    return JobStory(
        job=job,
        study=study,
        study_id=parts.study_id,
        description=parts.stack.description,
        synthetic=app_state.pictures.synthetic(parts.study_id, app_state.ledger),
        seconds=parts.seconds,
        flags=tuple(FlagInWords(flag, WORDS.get(flag, "")) for flag in split_flags(job.flags)),
        numbers=app_state.pictures.numbers(job_id, parts),
        report_page=bool(parts.result("sc") or parts.result("failed_sc")),
        slices=0 if missing else len(parts.stack.frames),
        no_slices=missing,
        milestones=_milestones(job, study, events, deliveries),
        steps=tuple(jobs_story.tell_story(app_state.ledger, job_id)),
        deliveries=tuple(deliveries),
        actions=_actions(job, bool(parts.results)),
    )


def _milestones(
    job: JobSummary, study: StudyRow, events: list[EventRow], deliveries: list[DeliveryRow]
) -> tuple[Milestone, ...]:
    """Return the steps of the way in their order."""
    own = [event for event in events if event.to_state]
    started = [event.at for event in own if event.to_state == "running"]
    analysed = [event.at for event in own if event.from_state == "running" and event.to_state in ("delivering", "held")]
    sent = [row.sent_at for row in deliveries if row.state == "sent" and row.sent_at is not None]
    promised = [
        row.committed_at for row in deliveries if row.commitment == "committed" and row.committed_at is not None
    ]
    asked = [row for row in deliveries if row.commitment]
    steps = [
        Milestone("first image received", study.first_received_at, f"from {study.calling_ae}"),
        Milestone("last image received", study.last_received_at, f"{study.images} images"),
        Milestone("stack found", job.created_at, f"{job.slices} slices"),
        Milestone("analysis begun", started[-1] if started else None, _attempts(job.attempts)),
        Milestone("analysed", analysed[-1] if analysed else None),
    ]
    if deliveries:
        whole = len(sent) == len(deliveries)
        steps.append(Milestone("sent", max(sent) if whole else None, f"{len(sent)} of {len(deliveries)} objects"))
    if asked:
        whole = len(promised) == len(asked)
        note = f"{len(promised)} of {len(asked)} objects"
        steps.append(Milestone("kept for good (storage commitment)", max(promised) if whole else None, note))
    return tuple(steps)


def _attempts(count: int) -> str:
    return f"attempt {count}" if count > 1 else ""


def _actions(job: JobSummary, made: bool) -> tuple[Action, ...]:
    """Return what a person may do with a job in its state."""
    cancel = Action("cancel", "Cancel", "Ends the job for good; what was sent stays sent.", asks=True)
    hold = Action("hold", "Hold", "Stops sending until it is released; what was sent stays sent.")
    again = Action("retry", "Send again", "Sends all objects again to every destination of config.ini.")
    release = Action("retry", "Release", "Sends the result to every destination of config.ini.")
    now = Action("retry", "Try now", "Tries at once what waits for its next try.")
    says = "Sends what was not sent." if made and job.lge_percent is not None else "Analyses the stack again."
    return {
        "queued": (cancel,),
        "running": (cancel,),
        "delivering": (now, hold, cancel),
        "held": (release, cancel),
        "failed": (Action("retry", "Retry", says), cancel),
        "done": () if job.results_removed_at else (again,),
    }.get(job.state, ())
