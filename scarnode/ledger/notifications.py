"""Which alarms people were told of, by which channel: at least once each, not more often than a pause allows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from scarnode.ledger.model import Notice
from scarnode.ledger.store import Store
from scarnode.ledger.tables import Alarm, Told

SEEN = ""
"""Stands for all alarms in a channel's row that says up to which one everything was told and is over."""


class Notifications:
    """Which channel sent a message on which alarm: `Ledger.notifications`."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def due_notices(self, channel: str, pause: float, besides: Sequence[str] = ()) -> list[Notice]:
        """Return what a channel should tell now, one notice an alarm.

        What happened to an alarm within the pause after a message on it waits, and is one notice then. A channel that
        is new is not told of what was over before.

        Parameters
        ----------
        channel : str
        pause : float
            Seconds between two messages on one alarm.
        besides : sequence of str
            Alarms that this channel is not told of.
        """
        now = self._store.clock.monotonic_time()
        with self._store.reading() as session:
            told = _told(session, channel)
            waiting = [alarm for alarm in _untold(session, told) if alarm.name not in besides]
            due: list[Notice] = []
            for name, group in groupby(sorted(waiting, key=lambda alarm: alarm.name), lambda alarm: alarm.name):
                alarms, last = sorted(group, key=lambda alarm: alarm.id), told.get(name)
                # what was told in the future was told by another clock
                if last is not None and 0 <= now - last.told_at < pause:
                    continue
                newest = alarms[-1]
                raised = sum(last is None or alarm.id > last.alarm_id for alarm in alarms)
                due.append(Notice(name, newest.id, newest.raised_at, newest.cleared_at, raised, newest.detail))
            return sorted(due, key=lambda notice: notice.alarm_id)

    def open_channel(self, channel: str) -> None:
        """Make a channel known: from now on it is told of everything, until now of what stands."""
        with self._store.reading() as session:
            if SEEN in _told(session, channel):
                return
        with self._store.writing() as session:
            _note(self._store, session, channel, SEEN, _all_over(session), True)

    def mark_notified(self, channel: str, notices: Sequence[Notice]) -> None:
        """Note what a channel has told."""
        with self._store.writing() as session:
            for notice in notices:
                _note(self._store, session, channel, notice.alarm, notice.alarm_id, notice.cleared_at is not None)
            session.flush()
            untold = [alarm.id for alarm in _untold(session, _told(session, channel))]
            _note(
                self._store, session, channel, SEEN, min([_all_over(session), *(number - 1 for number in untold)]), True
            )


def _all_over(session: Session) -> int:
    """Return the id up to which no alarm stands."""
    standing = session.scalar(select(func.min(Alarm.id)).where(Alarm.cleared_at.is_(None)))
    return standing - 1 if standing is not None else session.scalar(select(func.max(Alarm.id))) or 0


def _note(store: Store, session: Session, channel: str, alarm: str, alarm_id: int, over: bool) -> None:
    row = session.scalar(select(Told).where(Told.channel == channel, Told.alarm == alarm).with_for_update())
    if row is None:
        row = Told(channel=channel, alarm=alarm)
        session.add(row)
    row.alarm_id, row.over, row.told_at = alarm_id, over, store.clock.monotonic_time()


def _told(session: Session, channel: str) -> dict[str, Told]:
    return {row.alarm: row for row in session.scalars(select(Told).where(Told.channel == channel))}


def _untold(session: Session, told: dict[str, Told]) -> Iterator[Alarm]:
    """Return the alarms of which the raising, or the end, was not told."""
    seen = told[SEEN].alarm_id if SEEN in told else 0
    for alarm in session.scalars(select(Alarm).where(Alarm.id > seen)):
        last = told.get(alarm.name)
        ended = last is not None and alarm.id == last.alarm_id and alarm.cleared_at is not None and not last.over
        if last is None or alarm.id > last.alarm_id or ended:
            yield alarm
