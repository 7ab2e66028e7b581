"""The ledger's alarms: what an admin has to do something about, from when to when."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Select, select

from scarnode.ledger.store import Store
from scarnode.ledger.tables import Alarm


class Alarms:
    """Alarms, each with its beginning and its end: `Ledger.alarms`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._details: tuple[int | None, Mapping[str, str]] = (None, {})
        """The alarms that stood at a version of `DataVersion`."""

    def raise_alarm(self, name: str, detail: str) -> bool:
        """Raise an alarm, unless one of this name stands.

        Parameters
        ----------
        name : str
            What the alarm is about, e.g. ``disk_spool``; one line of metrics.
        detail : str
            For a person; without patient data.

        Returns
        -------
        bool
            It did not stand yet.
        """
        with self._store.writing() as session:
            if session.scalar(_standing(name)) is not None:
                return False
            session.add(Alarm(name=name, raised_at=self._store.clock.wall_time(), cleared_at=None, detail=detail))
            return True

    def clear_alarm(self, name: str) -> bool:
        """Note that an alarm's cause is gone; return whether it stood."""
        with self._store.writing() as session:
            alarm = session.scalar(_standing(name))
            if alarm is None:
                return False
            alarm.cleared_at = self._store.clock.wall_time()
            return True

    def set_alarm(self, name: str, detail: str, anew: Callable[[str, str], bool] | None = None) -> None:
        """Raise an alarm where there is a detail, clear it where the detail is empty.

        Parameters
        ----------
        name, detail : str
            As of `raise_alarm`.
        anew : callable, optional
            Says of the detail that stands and of this one whether the alarm is to be raised anew, so that people hear
            of it again; where it says no, the new detail takes the old one's place. None: the old one stays.
        """
        former = self._standing_details().get(name)  # asked often: do not take the write lock for nothing
        if not detail:
            if former is not None:
                self.clear_alarm(name)
        elif former is None:
            self.raise_alarm(name, detail)
        elif anew is not None and detail != former:
            self._change_alarm(name, detail, anew(former, detail))

    def _change_alarm(self, name: str, detail: str, anew: bool) -> None:
        with self._store.writing() as session:
            alarm = session.scalar(_standing(name))
            if alarm is not None and not anew:
                alarm.detail = detail
                return
            now = self._store.clock.wall_time()
            if alarm is not None:
                alarm.cleared_at = now
            session.add(Alarm(name=name, raised_at=now, cleared_at=None, detail=detail))

    def standing_alarms(self) -> set[str]:
        """Return the names of the alarms that stand."""
        return set(self._standing_details())

    def _standing_details(self) -> Mapping[str, str]:
        """Return the alarms that stand, each with its detail; read anew only where the ledger has changed."""
        version = self._store.changes.version()
        if version is None or version != self._details[0]:
            standing = select(Alarm.name, Alarm.detail).where(Alarm.cleared_at.is_(None))
            with self._store.reading() as session:
                self._details = (version, {row.name: row.detail for row in session.execute(standing)})
        return self._details[1]


def _standing(name: str) -> Select[Any]:
    return select(Alarm).where(Alarm.name == name, Alarm.cleared_at.is_(None)).with_for_update()
