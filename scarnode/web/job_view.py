"""The page of a job: its history from the first image to the last storage commitment, its numbers and actions."""

from __future__ import annotations

from dataclasses import dataclass

from scarnode.ledger import queries
from scarnode.ledger import story as history
from scarnode.ledger.queries import DeliveryRow, EventRow, JobSummary
from scarnode.ledger.story import Step
from scarnode.ledger.tables import CommitmentState, DeliveryState, JobState
from scarnode.pipeline.report.readback import ReportNumbers
from scarnode.pipeline.report.texts import FLAG_TEXTS
from scarnode.web.app_state import AppState
from scarnode.web.queries import StudyRow, get_studies, job_parts, split_flags


@dataclass(frozen=True)
class Milestone:
    """A stage of the job; `at` is None until it is reached."""

    what: str
    at: float | None
    note: str = ""


@dataclass(frozen=True)
class FlagMeaning:
    """A quality flag and its meaning."""

    flag: str
    meaning: str


@dataclass(frozen=True)
class Action:
    """An action that the job's state allows."""

    name: str
    """The last part of the URL."""
    label: str
    says: str
    """Its effect."""
    asks: bool = False
    """The page asks for confirmation: the action can not be undone."""


@dataclass(frozen=True)
class JobView:
    """The content of a job's page.

    Attributes
    ----------
    job : JobSummary
    study : StudyRow
    study_id : int
    description : str
        SeriesDescription of the stack.
    synthetic : bool
        The images are marked as synthetic.
    seconds : float or None
        How long the analysis took.
    flags : tuple of FlagMeaning
    numbers : ReportNumbers or None
        Of the SR; None where it is not on this machine.
    report_page : bool
        Whether the report page (of the result or of the failure) is on this machine.
    slices : int
        How many can be shown; 0: `no_slices` holds the reason.
    no_slices : str
    milestones : tuple of Milestone
    steps : tuple of Step
        The history of the job and its study.
    deliveries : tuple of DeliveryRow
    actions : tuple of Action
    """

    job: JobSummary
    study: StudyRow
    study_id: int
    description: str
    synthetic: bool
    seconds: float | None
    flags: tuple[FlagMeaning, ...]
    numbers: ReportNumbers | None
    report_page: bool
    slices: int
    no_slices: str
    milestones: tuple[Milestone, ...]
    steps: tuple[Step, ...]
    deliveries: tuple[DeliveryRow, ...]
    actions: tuple[Action, ...]


def job_view(app_state: AppState, job_id: int) -> JobView:
    """Return the content of a job's page.

    Raises
    ------
    NotFoundError
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
    return JobView(
        job=job,
        study=study,
        study_id=parts.study_id,
        description=parts.stack.description,
        synthetic=app_state.pictures.synthetic(parts.study_id, app_state.ledger),
        seconds=parts.seconds,
        flags=tuple(FlagMeaning(flag, FLAG_TEXTS.get(flag, "")) for flag in split_flags(job.flags)),
        numbers=app_state.pictures.numbers(job_id, parts),
        report_page=bool(parts.result("sc") or parts.result("failed_sc")),
        slices=0 if missing else len(parts.stack.frames),
        no_slices=missing,
        milestones=_milestones(job, study, events, deliveries),
        steps=tuple(history.tell_story(app_state.ledger, job_id)),
        deliveries=tuple(deliveries),
        actions=_actions(job, bool(parts.results)),
    )


def _milestones(
    job: JobSummary, study: StudyRow, events: list[EventRow], deliveries: list[DeliveryRow]
) -> tuple[Milestone, ...]:
    """Return the stages of a job in their order."""
    own = [event for event in events if event.to_state]
    started = [event.at for event in own if event.to_state == JobState.RUNNING]
    results = (JobState.DELIVERING, JobState.HELD)
    analysed = [event.at for event in own if event.from_state == JobState.RUNNING and event.to_state in results]
    sent = [row.sent_at for row in deliveries if row.state == DeliveryState.SENT and row.sent_at is not None]
    committed = [
        row.committed_at
        for row in deliveries
        if row.commitment == CommitmentState.COMMITTED and row.committed_at is not None
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
        whole = len(committed) == len(asked)
        note = f"{len(committed)} of {len(asked)} objects"
        steps.append(Milestone("storage committed", max(committed) if whole else None, note))
    return tuple(steps)


def _attempts(count: int) -> str:
    return f"attempt {count}" if count > 1 else ""


def _actions(job: JobSummary, made: bool) -> tuple[Action, ...]:
    """Return the actions that a job's state allows."""
    cancel = Action("cancel", "Cancel", "Ends the job for good; what was sent stays sent.", asks=True)
    hold = Action("hold", "Hold", "Stops sending until the job is released; what was sent stays sent.")
    again = Action("retry", "Send again", "Sends all objects again to every destination of config.ini.")
    release = Action("retry", "Release", "Sends the result to every destination of config.ini.")
    now = Action("retry", "Try now", "Sends at once what waits for its next attempt.")
    says = "Sends what was not sent." if made and job.lge_percent is not None else "Analyses the stack again."
    return {
        JobState.QUEUED: (cancel,),
        JobState.RUNNING: (cancel,),
        JobState.DELIVERING: (now, hold, cancel),
        JobState.HELD: (release, cancel),
        JobState.FAILED: (Action("retry", "Retry", says), cancel),
        JobState.DONE: () if job.results_removed_at else (again,),
        JobState.SUPERSEDED: (),
    }[JobState(job.state)]
