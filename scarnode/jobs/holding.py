"""Stopping what is being sent, by hand."""

from __future__ import annotations

from scarnode.errors import LedgerError
from scarnode.jobs.deliveries import Deliveries
from scarnode.jobs.tables import JobState


class Holding(Deliveries):
    """The part of the ledger by which a person holds a result back; `scarnode.jobs.Ledger` has it too."""

    def hold(self, job_id: int) -> None:
        """Stop sending a job's results until a person asks for it (`retry`); what was sent stays sent.

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
