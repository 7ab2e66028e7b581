"""Audit messages on files: their delivery and their deletion."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from scarnode.audit import events
from scarnode.audit.model import Outcome, Participant, Subject
from scarnode.audit.subject import read_subject
from scarnode.audit.trail import AuditTrail
from scarnode.dicom.scu import Destination
from scarnode.dicom.scu import Outcome as Delivered


def record_sending(
    trail: AuditTrail,
    paths: Sequence[Path],
    destination: Destination,
    person: Participant | None = None,
) -> None:
    """Record that files are about to go to a destination.

    Parameters
    ----------
    person : Participant, optional
        The user who sends them. Then AuditError is raised where the message can not be stored: nothing may be sent.
    """
    if trail.on:
        tell = trail.note if person is None else trail.record
        for subject, sop_classes in _sum_up(paths).items():
            tell(events.sending(trail.source, _peer(destination), subject, sop_classes, person))


def record_sent(
    trail: AuditTrail,
    outcomes: Sequence[Delivered],
    destination: Destination,
    last: Sequence[bool],
    person: Participant | None = None,
) -> None:
    """Record the outcome of a delivery: one message for accepted files, another for refused ones (Table A.5.2-1).

    Parameters
    ----------
    outcomes : sequence of Outcome
    last : sequence of bool
        Of each failed file: there will be no further attempt.
    person : Participant, optional
        The user who sent them.
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
            trail.note(events.sent(trail.source, _peer(destination), subject, sop_classes, result, why, person))


def record_deleted(trail: AuditTrail, paths: Sequence[Path], person: Participant | None = None) -> None:
    """Record that received files are about to be deleted.

    Parameters
    ----------
    person : Participant, optional
        The user who deletes them. Then AuditError is raised where the message can not be stored: nothing may be
        deleted.
    """
    if trail.on:
        tell = trail.note if person is None else trail.record
        for subject, sop_classes in _sum_up(paths).items():
            tell(events.deleted(trail.source, subject, sop_classes, person))


def _sum_up(paths: Sequence[Path]) -> dict[Subject, Counter[str]]:
    """Count SOP classes by study and patient."""
    found: dict[Subject, Counter[str]] = {}
    for path in paths:
        subject, sop_class = read_subject(path)
        if not sop_class and subject == Subject():
            continue  # no DICOM object
        found.setdefault(subject, Counter())[sop_class] += 1
    return found


def _peer(destination: Destination) -> Participant:
    title = destination.ae.ae_title if destination.ae else ""
    return Participant(title or str(destination), ae_title=title, address=destination.host)
