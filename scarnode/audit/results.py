"""What the work on files tells the audit trail: their delivery, and their end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

from scarnode.audit import events
from scarnode.audit.model import Outcome, Participant, Subject
from scarnode.audit.subject import read_subject
from scarnode.audit.trail import AuditTrail
from scarnode.deliver import Destination, WebDestination
from scarnode.deliver import Outcome as Delivered


def tell_sending(trail: AuditTrail, paths: Sequence[Path], destination: Destination | WebDestination) -> None:
    """Tell that result files are about to go to a destination."""
    if trail.on:
        for subject, sop_classes in _sum_up(paths).items():
            trail.note(events.sending(trail.source, _peer(destination), subject, sop_classes))


def tell_sent(
    trail: AuditTrail,
    outcomes: Sequence[Delivered],
    destination: Destination | WebDestination,
    last: Sequence[bool],
) -> None:
    """Tell what became of result files: what was taken in one message, what was not in another (Table A.5.2-1).

    Parameters
    ----------
    outcomes : sequence of Outcome
    last : sequence of bool
        Of each that failed: there will be no further try.
    """
    if not trail.on:
        return
    groups: dict[tuple[Outcome, str], list[Path]] = {}
    for outcome, ended in zip(outcomes, last, strict=True):
        failure = Outcome.SERIOUS_FAILURE if ended else Outcome.MINOR_FAILURE
        key = (Outcome.SUCCESS, "") if outcome.ok else (failure, outcome.detail)
        if outcome.path is not None:
            groups.setdefault(key, []).append(outcome.path)
    for (result, why), paths in groups.items():
        for subject, sop_classes in _sum_up(paths).items():
            trail.note(events.sent(trail.source, _peer(destination), subject, sop_classes, result, why))


def tell_deleted(trail: AuditTrail, paths: Sequence[Path]) -> None:
    """Tell that received files are about to be deleted."""
    if trail.on:
        for subject, sop_classes in _sum_up(paths).items():
            trail.note(events.deleted(trail.source, subject, sop_classes))


def _sum_up(paths: Sequence[Path]) -> dict[Subject, Counter[str]]:
    """Count SOP classes by study and patient."""
    found: dict[Subject, Counter[str]] = {}
    for path in paths:
        subject, sop_class = read_subject(path)
        found.setdefault(subject, Counter())[sop_class] += 1
    return found


def _peer(destination: Destination | WebDestination) -> Participant:
    if isinstance(destination, Destination):
        return Participant(destination.ae_title, ae_title=destination.ae_title, address=destination.host)
    return Participant(destination.url, address=urlsplit(destination.url).hostname or "")
