"""What a person asks of a job, with the audit message that it leaves: the change and its trace come together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy.exc import SQLAlchemyError

from scarnode.audit import AuditTrail, Participant, events, subjects
from scarnode.audit.model import Code, Outcome
from scarnode.ledger import queries
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.states import JobState
from scarnode.util.errors import LedgerError

ACTIONS = ("retry", "hold", "cancel")
_MEANT = {
    JobState.HELD: events.JOB_RELEASED,
    JobState.DONE: events.JOB_SENT_AGAIN,
    JobState.DELIVERING: events.JOB_SENT_AGAIN,
}
"""What is asked by "again", by the state the job is in; of any other: to be analysed again."""


def ask(
    ledger: Ledger,
    job: int,
    action: str,
    destinations: Mapping[str, Sequence[str]],
    trail: AuditTrail,
    person: Participant,
) -> JobState:
    """Do one of `ACTIONS` with a job; give its new state.

    Parameters
    ----------
    ledger : Ledger
    job : int
    action : str
    destinations : mapping of str to sequence of str
        As of `scarnode.ledger.jobs.Jobs.retry`.
    trail : AuditTrail
        Gets a message before the change is committed: where it can not be kept, nothing is changed.
    person : Participant

    Raises
    ------
    LedgerError
        There is no such job, or its state does not allow it; the audit trail knows of the latter.
    AuditError
        No audit message can be kept.
    """
    before = queries.get_job(ledger, job)
    [subject] = subjects([before])

    def tell(state: JobState, outcome: Outcome = Outcome.SUCCESS, why: str = "") -> None:
        if trail.on:
            code = _code(action, state)
            trail.record(events.job_changed(trail.source, person, subject, job, code, outcome, why))

    try:
        if action == "retry":
            return ledger.jobs.retry(job, destinations, tell)
        if action == "hold":
            ledger.jobs.hold(job, tell)
            return JobState.HELD
        ledger.jobs.cancel(job, tell)
        return JobState.SUPERSEDED
    except LedgerError as refused:
        tell(JobState(before.state), Outcome.SERIOUS_FAILURE, refused.what)
        raise
    except SQLAlchemyError as error:  # the message may say that it was done, and it was not
        tell(
            JobState(before.state), Outcome.SERIOUS_FAILURE, f"the ledger could not be written ({type(error).__name__})"
        )
        raise


def tell_forbidden(ledger: Ledger, job: int, action: str, trail: AuditTrail, person: Participant) -> None:
    """Record that a person asked for what they may not do."""
    if not trail.on or action not in ACTIONS:
        return
    try:
        before = queries.get_job(ledger, job)
    except LedgerError:
        return
    [subject] = subjects([before])
    code = _code(action, JobState(before.state))
    why = "only an administrator may do that"
    trail.note(events.job_changed(trail.source, person, subject, job, code, Outcome.SERIOUS_FAILURE, why))


def _code(action: str, state: JobState) -> Code:
    if action == "retry":
        return _MEANT.get(state, events.JOB_RETRIED)
    return events.JOB_HELD if action == "hold" else events.JOB_CANCELLED
