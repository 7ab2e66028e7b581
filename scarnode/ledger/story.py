"""The whole story of a job's study, from the first image on, put together from all that the ledger wrote down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from scarnode.ledger.ledger import Ledger
from scarnode.ledger.studies import FIRST_INSTANCE
from scarnode.ledger.tables import Event, Instance, Job, Series, Study
from scarnode.util.errors import LedgerError


@dataclass(frozen=True)
class Step:
    """Something that happened.

    Attributes
    ----------
    at : float
        UTC seconds since 1970.
    after : float
        Seconds since the step before.
    kind : str
        ``image``, ``study`` (a search, or what else concerns all of it), ``series`` (a verdict), or ``job`` (its
        states, its deliveries and their storage commitment).
    actor : str
        Whose doing it was; empty where a sender's.
    text : str
        For a person; of a series it holds the SeriesDescription, else no patient data.
    """

    at: float
    after: float
    kind: str
    actor: str
    text: str


def tell_story(ledger: Ledger, job_id: int) -> list[Step]:
    """Return what happened to a job and its study, oldest first.

    The verdicts are those of the last search, for no others are kept. Alike events that follow each other (the same
    of each object that is delivered) are one step.

    Raises
    ------
    LedgerError
        There is no such job.
    """
    with ledger.reading() as session:
        job = session.get(Job, job_id)
        if job is None:
            raise LedgerError("there is no such job", f"job {job_id}", "See: scarnode jobs list")
        study = session.get_one(Study, job.study_id)
        events = _events(session, job)
        whole = [event for event in events if event.job_id is None]
        own = [event for event in events if event.job_id is not None]
        cuts = [event.at for event in whole]
        steps = [*_arrivals(session, study, cuts), *_told(whole), *_verdicts(session, study, cuts), *_told(own)]
    steps.sort(key=lambda step: step.at)
    before = [step.at for step in steps[:1]] + [step.at for step in steps]
    return [
        Step(s.at, max(0.0, s.at - earlier), s.kind, s.actor, s.text) for s, earlier in zip(steps, before, strict=False)
    ]


def _events(session: Session, job: Job) -> Sequence[Event]:
    """Return the events of a job, and those of its study that are no job's; the arrivals tell of the first image."""
    query = select(Event).where(Event.study_id == job.study_id).order_by(Event.id)
    return [
        event
        for event in session.scalars(query)
        if event.job_id == job.id or (event.job_id is None and not event.why.startswith(FIRST_INSTANCE))
    ]


def _arrivals(session: Session, study: Study, cuts: Sequence[float]) -> Iterator[Step]:
    """Describe the images: the first and the last one before each search."""
    query = select(Instance.received_at, Instance.calling_ae, Instance.size, Instance.problem)
    rows = session.execute(query.where(Instance.study_id == study.id).order_by(Instance.received_at)).all()
    bounds = [*cuts, float("inf")]
    start = float("-inf")
    for end in bounds:
        some = [row for row in rows if start < row.received_at <= end]
        if some:
            yield from _burst(some, late=start > float("-inf"))
        start = end


def _burst(rows: Sequence[Row], late: bool) -> Iterator[Step]:
    more = "more " if late else ""
    first = "first" if len(rows) > 1 or not late else "one"
    yield Step(rows[0].received_at, 0.0, "image", "", f"{first} {more}image received from {rows[0].calling_ae}")
    if len(rows) == 1:
        return
    senders = Counter(row.calling_ae for row in rows)
    whom = ", ".join(f"{ae} ({count})" if len(senders) > 1 else ae for ae, count in senders.items())
    bad = sum(bool(row.problem) for row in rows)
    text = f"last of {len(rows)} {more}images ({sum(row.size for row in rows) / 1e6:.1f} MB) received from {whom}"
    yield Step(rows[-1].received_at, 0.0, "image", "", text + (f"; {bad} can not be used" if bad else ""))


def _told(events: Sequence[Event]) -> Iterator[Step]:
    """Describe the events, alike ones that follow each other once."""
    alike: list[Event] = []
    for event in [*events, None]:
        if alike and (event is None or _gist(event) != _gist(alike[0])):
            first = alike[0]
            times = f" ({len(alike)} times)" if len(alike) > 1 else ""
            text = f"{first.to_state}: {first.why}" if first.to_state else first.why
            yield Step(first.at, 0.0, "job" if first.job_id else "study", first.actor, text + times)
            alike = []
        if event is not None:
            alike.append(event)


def _gist(event: Event) -> tuple[int | None, str, str, str, str]:
    return event.job_id, event.actor, event.from_state, event.to_state, event.why


def _verdicts(session: Session, study: Study, cuts: Sequence[float]) -> Iterator[Step]:
    """Return what the last search, which is told at one of these moments, said of each series."""
    for row in session.scalars(select(Series).where(Series.study_id == study.id).order_by(Series.id)):
        what = f"{row.description!r}, {row.instances} images" if row.description else f"{row.instances} images"
        told = min((at for at in cuts if at >= row.searched_at), default=row.searched_at)
        yield Step(told, 0.0, "series", "", f"series {row.verdict}: {row.reason} ({what})")
