"""Stopping what is being sent, by hand."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from scarnode.ledger.deliveries import Deliveries
from scarnode.ledger.tables import JobState
from scarnode.util.errors import LedgerError


class Holding(Deliveries):
    """The part of the ledger by which a person holds a result back; `scarnode.ledger.Ledger` has it too."""

    def hold(self, job_id: int, tell: Callable[[JobState], None] | None = None) -> None:
        """Stop sending a job's results until a person asks for it (`retry`); what was sent stays sent.

        Parameters
        ----------
        job_id : int
        tell : callable, optional
            Called with the state before, last in the transaction: where it raises, nothing is changed.

        Raises
        ------
        LedgerError
            No such job, or nothing of it is being sent.
        """
        with self._writing() as session:
            job = self._job(session, job_id)
            if job.state is not JobState.DELIVERING:
                todo = "Only what is being sent can be held"
                raise LedgerError(f"is {job.state.value}", f"job {job_id}", todo)
            self._move(session, job, JobState.HELD, "held by hand")
            self._tell(session, tell, JobState.DELIVERING)

    @staticmethod
    def _tell(session: Session, tell: Callable[[JobState], None] | None, before: JobState) -> None:
        """Record a change that is about to be committed; what the database refuses, it refuses before."""
        if tell is not None:
            session.flush()
            tell(before)
