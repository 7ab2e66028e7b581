"""What a person may ask of a job, done in their name."""

from __future__ import annotations

from dataclasses import dataclass

from fastapi import HTTPException

from scarnode.ledger import actions, queries
from scarnode.util.errors import LedgerError
from scarnode.web.app_state import AppState
from scarnode.web.queries import NotThereError, studies_of
from scarnode.web.sessions import Session


@dataclass(frozen=True)
class Asked:
    """What became of a job that something was asked of."""

    job: int
    state: str
    says: str


def ask(app_state: AppState, session: Session, job: int, action: str) -> Asked:
    """Do one of `scarnode.ledger.actions.ACTIONS`; a ledger that refuses answers 409 with its reason.

    Raises
    ------
    NotThereError
        There is no such job.
    HTTPException
        409: its state does not allow it.
    AuditError
        It could not be recorded; nothing was done.
    """
    if not studies_of(app_state.ledger, [job]):
        raise NotThereError("There is no such job.")
    destinations, person = app_state.settings.objects(), app_state.person(session)
    try:
        actions.ask(app_state.ledger_of(session), job, action, destinations, app_state.trail, person)
    except LedgerError as refused:
        raise HTTPException(409, f"The job {refused.what}. {refused.todo}.") from None
    after = queries.get_job(app_state.ledger, job)
    return Asked(job, after.state, after.reason)
