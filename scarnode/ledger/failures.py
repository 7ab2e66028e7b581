"""Jobs that failed for good, and the reports of their failure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone

from sqlalchemy import delete, exists, select
from sqlalchemy.orm import Session

from scarnode.ledger.deliveries import send_again
from scarnode.ledger.model import FAILURE, FailedJob, ResultFile
from scarnode.ledger.planning import STACK_JSON, predecessor
from scarnode.ledger.states import DeliveryState, JobState
from scarnode.ledger.store import Store, locked_job
from scarnode.ledger.tables import Commitment, Delivery, Job, Result


def of_failures(destinations: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Return the kinds of a failure report's objects that go to each destination, as those of a result would."""
    return {name: [FAILURE + kind for kind in kinds] for name, kinds in destinations.items()}


class Failures:
    """Jobs that failed for good, and the reports of their failure: `Ledger.failures`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def unreported_failures(self, besides: Collection[int] = ()) -> list[FailedJob]:
        """Return the jobs (but those in `besides`) that failed for good without a result or a failure report."""
        query = (
            select(Job)
            .where(Job.state == JobState.FAILED, ~exists().where(Result.job_id == Job.id))
            .where(Job.id.not_in(besides))
            .order_by(Job.id)
            .limit(20)
        )
        with self._store.reading() as session:
            return [
                FailedJob(
                    id=job.id,
                    key=job.key,
                    input_digest=job.input_digest,
                    made_at=datetime.fromtimestamp(job.created_at, timezone.utc),
                    stack=STACK_JSON.validate_json(job.stack),
                    predecessor=predecessor(session, job),
                    reason=job.reason,
                )
                for job in session.scalars(query)
            ]

    def report_failure(
        self, job_id: int, files: Sequence[ResultFile], destinations: Mapping[str, Sequence[str]]
    ) -> None:
        """Register a job's failure report and send it on its way; the job stays `failed`.

        One report is made of a job, of its first failure. Nothing happens where the job was asked for again meanwhile.

        Parameters
        ----------
        job_id : int
        files : sequence of ResultFile
            From `scarnode.node.tasks.failures.write_failure`.
        destinations : mapping of str to sequence of str
            Name of each destination, and the kinds of object it takes.
        """
        now = self._store.clock.monotonic_time()
        with self._store.writing() as session:
            job = locked_job(session, job_id)
            if job.state is not JobState.FAILED or session.scalar(select(Result.id).where(Result.job_id == job.id)):
                return
            report = [Result(job_id=job.id, **vars(file)) for file in files]
            session.add_all(report)
            session.flush()
            send_again(session, job, report, of_failures(destinations), now)
            session.add(self._store.event(job.study_id, job.id, "", "", "made a report of the failure"))


def take_back_report(session: Session, job: Job) -> None:
    """Do not send what is left of a failure report: there is a result after all."""
    of_report = select(Result.id).where(Result.job_id == job.id, Result.kind.startswith(FAILURE))
    unsent = select(Delivery.id).where(Delivery.result_id.in_(of_report), Delivery.state != DeliveryState.SENT)
    session.execute(delete(Commitment).where(Commitment.delivery_id.in_(unsent)))
    session.execute(delete(Delivery).where(Delivery.id.in_(unsent)))
