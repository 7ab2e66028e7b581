"""Nightly rules: what [pull:NAME] asks for is pulled once, in quiet hours, and not too much of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta

from scarnode.dicom.query import FoundStudy, Link, PullRule, SubOperations, choose_series, find_studies, pull_study
from scarnode.ledger.ledger import Ledger
from scarnode.ledger.pulls import Run
from scarnode.util.errors import ScarnodeError

log = logging.getLogger(__name__)

WINDOW = timedelta(hours=4)
"""How late a run may begin, where the node did not run at its time: a PACS is not to be flooded by day."""


def is_due(rule: PullRule, last: Run | None, now: datetime) -> bool:
    """Return whether a rule should be run now.

    Parameters
    ----------
    rule : PullRule
    last : Run or None
        Its latest run; one that came to no end, because the node ended, is taken up within the same night.
    now : datetime
        In local time.
    """
    begins = datetime.combine(now.date(), rule.at, now.tzinfo)
    if begins > now:
        begins -= timedelta(days=1)
    if now - begins >= WINDOW:
        return False
    return last is None or last.begun_at < begins.timestamp() or last.ended_at is None


def run_rule(
    rule: PullRule,
    link: Link,
    ledger: Ledger,
    stopping: threading.Event,
    watch: Callable[[SubOperations], None] = lambda counts: None,
    tell: Callable[[FoundStudy], None] = lambda study: None,
) -> Run:
    """Pull what a rule asks for and what was not pulled before, up to its limit; raise an alarm where that fails.

    Parameters
    ----------
    rule : PullRule
    link : Link
    ledger : Ledger
        Remembers what was pulled: no study comes twice, unless its number of instances changed.
    stopping : threading.Event
    watch : callable
        Told where the study at hand stands.
    tell : callable
        Called with each study before it is pulled: where it raises a `ScarnodeError`, nothing is.

    Returns
    -------
    Run
    """
    number, alarm = ledger.pulls.begin_pull_run(rule.name), f"pull_{rule.name}"[:64]
    pulled = failed = left_over = 0
    trouble = ""
    try:
        found = find_studies(link.source, rule.wanted(datetime.now().astimezone().date()), link.calling_ae_title)
        new = [
            one for one in found if not ledger.pulls.was_pulled(link.source.name, one.study_instance_uid, one.instances)
        ]
        for place, study in enumerate(new):
            if stopping.is_set() or pulled + failed >= rule.limit:
                left_over = len(new) - place
                break
            series = choose_series(link, study, rule.modality)
            if not series:
                continue
            if pulled + failed and stopping.wait(rule.pause):
                left_over = len(new) - place
                break
            tell(study)
            outcome = pull_study(link, study, series, watch, stopping)
            if outcome.ok:
                ledger.pulls.note_pulled(link.source.name, study.study_instance_uid, study.instances)
                pulled += 1
            elif outcome.cancelled:
                left_over = len(new) - place
                break
            else:
                failed, trouble = failed + 1, outcome.detail
    except ScarnodeError as error:
        failed, trouble = failed + 1, str(error)
    if stopping.is_set():  # the run has no end: it is taken up when the node starts
        return ledger.pulls.last_pull_run(rule.name) or Run(rule.name, 0.0, None, pulled, failed, left_over, trouble)
    ledger.pulls.end_pull_run(number, pulled, failed, left_over, trouble)
    ledger.alarms.set_alarm(alarm, f"{failed} studies could not be pulled: {trouble}" if trouble else "")
    log.info("rule %s: %d studies pulled, %d failed, %d left for the next night", rule.name, pulled, failed, left_over)
    return Run(rule.name, 0.0, 0.0, pulled, failed, left_over, trouble)


def due_now(rule: PullRule, ledger: Ledger) -> bool:
    """Return whether a rule should be run now; asked every second."""
    now = datetime.now().astimezone()
    return is_due(rule, None, now) and is_due(rule, ledger.pulls.last_pull_run(rule.name), now)
