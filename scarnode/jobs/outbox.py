"""Takes a destination what it should get now, and tells the ledger what became of it."""

from __future__ import annotations

import logging
import random
from itertools import groupby
from pathlib import Path

from scarnode.clock import steady
from scarnode.config import DeliverSection
from scarnode.deliver import Destination, Outcome, WebDestination, next_delay, send
from scarnode.jobs.ledger import Ledger
from scarnode.jobs.model import DeliveryReport, DueDelivery

log = logging.getLogger(__name__)


def deliver_due(
    ledger: Ledger,
    results: Path,
    destination: Destination | WebDestination,
    calling_ae_title: str,
    patience: DeliverSection,
) -> int:
    """Send a destination everything that is due, job by job.

    Parameters
    ----------
    ledger : Ledger
    results : Path
        Root that the paths of result files count from.
    destination : Destination or WebDestination
    calling_ae_title : str
    patience : DeliverSection
        When and how often to try again.

    Returns
    -------
    int
        How many objects were sent.
    """
    sent = 0
    due = ledger.due_deliveries(destination.name)
    for _, group in groupby(due, key=lambda delivery: delivery.job_id):
        deliveries = list(group)
        outcomes = send([results / delivery.path for delivery in deliveries], destination, calling_ae_title)
        reports = [_report(delivery, outcome, patience) for delivery, outcome in zip(deliveries, outcomes, strict=True)]
        ledger.report_deliveries(reports)
        accepted = sum(report.sent for report in reports)
        sent += accepted
        log.info("job %d: %d of %d objects sent to %s", deliveries[0].job_id, accepted, len(reports), destination.name)
        if not any(outcome.ok or outcome.permanent or outcome.status is not None for outcome in outcomes):
            break  # nobody answered: the other jobs need not find out one by one, they stay due
    return sent


def _report(delivery: DueDelivery, outcome: Outcome, patience: DeliverSection) -> DeliveryReport:
    if outcome.ok:
        return DeliveryReport(delivery.id, True, outcome.detail, None)
    attempts = delivery.attempts + 1
    if outcome.permanent or attempts >= patience.max_attempts:
        return DeliveryReport(delivery.id, False, f"{outcome.detail} Given up after attempt {attempts}.", None)
    delay = next_delay(attempts, patience.first_delay_seconds, patience.max_delay_seconds, random.Random())
    return DeliveryReport(delivery.id, False, f"{outcome.detail} Next try in {delay:.0f} s.", steady() + delay)
