"""When the ledger has work: what comes due next, and what was written by another clock."""

from __future__ import annotations

from sqlalchemy import text, update

from scarnode.ledger.attempts import LONGEST_PAUSE_SECONDS
from scarnode.ledger.commitments import LONGEST_WAIT
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.states import DeliveryState, JobState
from scarnode.ledger.tables import Commitment, Delivery, Job, Study
from scarnode.util.clock import DUE_NOW

AT_REST = float("inf")


def next_due(ledger: Ledger, quiet_seconds: float) -> float:
    """Return when the first of what the ledger holds comes due, by its clock; infinity: nothing waits.

    Parameters
    ----------
    ledger : Ledger
    quiet_seconds : float
        How long a study must be quiet.
    """
    query = """
        SELECT min(due) FROM (
            SELECT min(last_received_at) + :quiet AS due FROM study WHERE newest_instance > searched_instance
            UNION ALL SELECT min(due_at) FROM job WHERE state = 'queued'
            UNION ALL SELECT min(lease_until) FROM job WHERE state = 'running'
            UNION ALL SELECT min(delivery.due_at) FROM job JOIN delivery ON delivery.job_id = job.id
                WHERE job.state IN ('delivering', 'failed') AND delivery.state = 'pending'
            UNION ALL SELECT min(due_at) FROM commitment WHERE state IN ('pending', 'requested')
        ) waiting"""
    with ledger.reading() as session:
        due = session.execute(text(query), {"quiet": quiet_seconds}).scalar()
    return AT_REST if due is None else float(due)


def trust_no_clock(ledger: Ledger, longest_pause: float, anew: bool = True) -> None:
    """Correct the times that the last run wrote by a clock that may have been another; called at start.

    Studies wait anew until they are quiet (what was sending is sending again). Queued jobs, deliveries and commitments
    are due not later than their pauses allow.

    Parameters
    ----------
    ledger : Ledger
    longest_pause : float
        Seconds between two tries to deliver; what is due later than that was written by another clock.
    anew : bool
        False: only studies of the future wait anew, for the others were written by the clock of now.
    """
    now = ledger.store.clock.monotonic_time()
    unsearched = Study.newest_instance > Study.searched_instance
    unsearched &= Study.last_received_at > (0.0 if anew else now + 1.0)
    late_job = (Job.state == JobState.QUEUED) & (Job.due_at > now + LONGEST_PAUSE_SECONDS)
    late_delivery = (Delivery.state == DeliveryState.PENDING) & (Delivery.due_at > now + longest_pause)
    with ledger.store.writing() as session:
        session.execute(update(Study).where(unsearched).values(last_received_at=now))
        session.execute(update(Job).where(late_job).values(due_at=now))
        session.execute(update(Delivery).where(late_delivery).values(due_at=now))
        session.execute(update(Commitment).where(Commitment.due_at > now + LONGEST_WAIT).values(due_at=DUE_NOW))
