"""Actions of a user on a job."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import HTTPException

from scarnode.ledger import actions, queries
from scarnode.util.errors import LedgerError
from scarnode.web.app_state import AppState
from scarnode.web.queries import NotFoundError, studies_of
from scarnode.web.sessions import Session


@dataclass(frozen=True)
class ActionResult:
    """A job's state after an action."""

    job: int
    state: str
    says: str


def ask(app_state: AppState, session: Session, job: int, action: str) -> ActionResult:
    """Do one of `scarnode.ledger.actions.ACTIONS` on a job.

    Raises
    ------
    NotFoundError
        There is no such job.
    HTTPException
        409: the job's state does not allow it.
    AuditError
        The action could not be recorded, so nothing was done.
    """
    if not studies_of(app_state.ledger, [job]):
        raise NotFoundError("There is no such job.")
    destinations, person = app_state.settings.objects(), app_state.person(session)
    try:
        actions.ask(app_state.ledger_of(session), job, action, destinations, app_state.trail, person)
    except LedgerError as refused:
        raise HTTPException(409, f"The job {refused.what}. {refused.todo}.") from None
    after = queries.get_job(app_state.ledger, job)
    return ActionResult(job, after.state, after.reason)
