"""Takes a destination what it should get now, asks it to keep it, and tells the ledger what became of it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from functools import partial
from itertools import groupby
from pathlib import Path

from pydicom.dataset import Dataset
from pynetdicom.events import Event

from scarnode.audit import AuditTrail, record_sending, record_sent
from scarnode.config import DeliverSection
from scarnode.dicom.scp import TakeReport, answer_report
from scarnode.dicom.scu import About, Destination, Outcome, RemoteAE
from scarnode.dicom.scu.commitment import CommitmentOrder, request_commitment
from scarnode.ledger.commitments import LONGEST_WAIT
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.model import DeliveryReport, DueCommitment, DueDelivery
from scarnode.ledger.retry import retry_until_database_returns
from scarnode.ledger.task_locks import Ending
from scarnode.node.postponed import DELIVERY, PutOffs
from scarnode.util.backoff import longest_delay, next_delay
from scarnode.util.clock import monotonic_time

log = logging.getLogger(__name__)


def deliver_due(
    ledger: Ledger,
    results: Path,
    destination: Destination,
    calling_ae_title: str,
    patience: DeliverSection,
    stopping: Ending | None = None,
    audit: AuditTrail | None = None,
    put_offs: PutOffs | None = None,
    results_away: Callable[[], str] = lambda: "",
) -> int:
    """Send a destination everything that is due, job by job.

    A destination that can not be had is tried once, and everything that is due for it waits. An object that breaks
    the association waits alone: those behind it go with the next call, and the other jobs' now.

    Parameters
    ----------
    ledger : Ledger
    results : Path
        Root that the paths of result files count from.
    destination : Destination
    calling_ae_title : str
    patience : DeliverSection
        When and how often to try again.
    stopping : Ending, optional
        Set: no further job is begun.
    audit : AuditTrail, optional
        Is told what was sent to whom.
    put_offs : PutOffs, optional
        Is told of objects that this machine can not read for now.
    results_away : callable
        Says why results can not be used; empty where they can.

    Returns
    -------
    int
        How many objects were sent.
    """
    sent = 0
    due = ledger.deliveries.due_deliveries(destination.name)
    for job, group in groupby(due, key=lambda delivery: delivery.job_id):
        if stopping is not None and stopping.is_set():
            break
        deliveries = list(group)
        paths = [results / delivery.path for delivery in deliveries]
        if audit:
            record_sending(audit, paths, destination)
        outcomes = list(destination.send(paths, calling_ae_title))
        faults = _put_off(ledger, deliveries, outcomes, put_offs, results_away) if put_offs else set()
        kept = [pair for index, pair in enumerate(zip(deliveries, outcomes, strict=True)) if index not in faults]
        if not kept:
            continue
        deliveries, outcomes = [list(side) for side in zip(*kept, strict=True)]
        own = [pair for pair in zip(deliveries, outcomes, strict=True) if pair[1].about is About.OBJECT]
        reports = [_report(delivery, outcome, patience, destination.commitment) for delivery, outcome in own]
        if audit:  # before the ledger: a crash in between tells it twice, not never
            tries = zip(deliveries, outcomes, strict=True)
            record_sent(
                audit, outcomes, destination, [_is_last(delivery, outcome, patience) for delivery, outcome in tries]
            )
        # what is sent and not written down is sent again, under the same UIDs; so nothing is sent before it is
        retry_until_database_returns(ledger, f"job {job}", partial(ledger.deliveries.report_deliveries, reports))
        accepted = sum(report.sent for report in reports)
        sent += accepted
        log.info("job %d: %d of %d objects sent to %s", job, accepted, len(deliveries), destination.name)
        away = [outcome for outcome in outcomes if outcome.about is About.DESTINATION]
        if away or not own:
            outcome = (away or outcomes)[0]
            waiting = ledger.deliveries.put_off_deliveries(destination.name, outcome.detail, _delays(outcome, patience))
            log.warning("%s: %d objects wait: %s", destination.name, waiting, outcome.detail)
            break
    return sent


def _put_off(
    ledger: Ledger,
    deliveries: Sequence[DueDelivery],
    outcomes: Sequence[Outcome],
    put_offs: PutOffs,
    results_away: Callable[[], str],
) -> set[int]:
    """Put off what this machine could not read or send, which is no try; give which, by place."""
    faults: set[int] = set()
    reports = []
    for index, (delivery, outcome) in enumerate(zip(deliveries, outcomes, strict=True)):
        if outcome.fault is None:
            put_offs.over(DELIVERY, delivery.id)
            continue
        pause = put_offs.note(DELIVERY, delivery.id, outcome.fault, not results_away())
        if put_offs.is_gone(DELIVERY, delivery.id):
            put_offs.over(DELIVERY, delivery.id)
            continue
        faults.add(index)
        detail = f"{outcome.detail} It is a fault of the system. Next try in {pause:.0f} s."
        reports.append(DeliveryReport(delivery.id, False, detail, monotonic_time() + pause, counts=False))
    if reports:
        retry_until_database_returns(
            ledger, f"job {deliveries[0].job_id}", partial(ledger.deliveries.report_deliveries, reports)
        )
        log.error("job %d: %d objects wait: %s", deliveries[0].job_id, len(reports), reports[0].detail)
    return faults


def ask_commitments(
    ledger: Ledger,
    name: str,
    ae: RemoteAE,
    calling_ae_title: str,
    patience: DeliverSection,
    take: TakeReport,
    stopping: Ending | None = None,
) -> None:
    """Ask a destination to commit itself to keep what it was sent, and ask again where it did not report.

    Parameters
    ----------
    ledger : Ledger
    name : str
        Of the destination.
    ae : RemoteAE
    calling_ae_title : str
    patience : DeliverSection
    take : callable
        Takes the reports that come on the same association (`Commitments.take_commitment_report`).
    stopping : Ending, optional
        Set: reports on the same association are not waited for.
    """
    asked: list[DueCommitment] = []
    orders: list[CommitmentOrder] = []
    for due in ledger.commitments.due_commitments(name):
        if due.requests >= patience.commitment_max_requests:
            text = f"{ae} did not report on {due.requests} requests for storage commitment."
            ledger.commitments.commitment_not_requested(due, name, text, lambda attempt: None, made=False)
            continue
        wait = longest_delay(due.requests + 1, patience.commitment_wait_seconds, LONGEST_WAIT)
        asked.append(due)
        orders.append(CommitmentOrder(ledger.commitments.open_commitment(due, name, wait), due.instances))
    if not asked:
        return
    uids = [order.transaction_uid for order in orders]

    def done() -> bool:
        return (stopping is not None and stopping.is_set()) or ledger.commitments.is_reported(uids)

    def answer(event: Event) -> tuple[int, Dataset | None]:
        return answer_report(event, take)

    outcomes = request_commitment(orders, ae, calling_ae_title, answer, done)
    for due, outcome in zip(asked, outcomes, strict=True):
        if outcome.ok:
            text = f"storage commitment asked for, request {due.requests + 1}"
            ledger.commitments.commitment_requested(due, name, text)
        else:
            delays = _delays(outcome, patience)
            ledger.commitments.commitment_not_requested(due, name, outcome.detail, delays, made=True)
            log.warning("job %d: %s", due.job_id, outcome.detail)


def resend_delay(patience: DeliverSection, attempt: int) -> float:
    """Return the seconds before an object that a destination does not commit itself to is sent again."""
    return next_delay(attempt, patience.first_delay_seconds, patience.max_delay_seconds, random.Random())


def _delays(outcome: Outcome, patience: DeliverSection) -> Callable[[int], float | None]:
    """Return what says how long to wait after so many attempts: alike for all that failed alike, to go together
    again.
    """
    seed = random.random()

    def delay(attempts: int) -> float | None:
        if outcome.permanent or attempts >= patience.max_attempts:
            return None
        longest = patience.max_delay_seconds
        usual = next_delay(attempts, patience.first_delay_seconds, longest, random.Random(seed))
        return max(usual, min(outcome.retry_after or 0.0, longest))

    return delay


def _is_last(delivery: DueDelivery, outcome: Outcome, patience: DeliverSection) -> bool:
    """Describe whether no further try follows a failure."""
    return outcome.about is not About.NOT_TRIED and _delays(outcome, patience)(delivery.attempts + 1) is None


def _report(delivery: DueDelivery, outcome: Outcome, patience: DeliverSection, commit: bool) -> DeliveryReport:
    if outcome.ok:
        return DeliveryReport(delivery.id, True, outcome.detail, None, commit)
    attempts = delivery.attempts + 1
    delay = _delays(outcome, patience)(attempts)
    if delay is None:
        return DeliveryReport(delivery.id, False, f"{outcome.detail} Given up after attempt {attempts}.", None)
    return DeliveryReport(delivery.id, False, f"{outcome.detail} Next try in {delay:.0f} s.", monotonic_time() + delay)
