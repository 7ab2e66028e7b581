"""Watches the disks: an alarm where one is near full, jobs that wait for room, and the way back by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from scarnode.disk import Room
from scarnode.jobs.ledger import Ledger
from scarnode.receive import Spool

log = logging.getLogger(__name__)

WAITING = "waits for disk space: see scarnode alarms"
BACK = "there is disk space again"

NEAR = 0.25
"""Share of the floor, above it, at which studies are deleted where that is wanted: before an image is refused."""

LEDGER_NEEDS = 4_000_000
"""Bytes without which SQLite may not be able to write: its log grows to about this size between checkpoints."""


class DiskWatch:
    """Looks at the file systems of spool, results and ledger, and keeps their alarms.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool
        Its floor holds for all of them.
    folders : mapping of str to Path
        What lies where: ``spool``, ``results``, and ``ledger`` where that is a file. Those on one file system share
        one alarm, ``disk_`` and the first name.
    alarm : callable
        Gives the name of an alarm on this process (`scarnode.roles.Common.alarm`).
    """

    def __init__(
        self, ledger: Ledger, spool: Spool, folders: Mapping[str, Path], alarm: Callable[[str], str] = str
    ) -> None:
        self._ledger, self._spool, self._alarm = ledger, spool, alarm
        self._folders = dict(folders)
        self._disks: dict[int, list[str]] = {}
        for name, folder in folders.items():
            self._disks.setdefault(folder.stat().st_dev, []).append(name)
        self._raised = ledger.standing_alarms()
        self._seen = 0
        self._silent = False
        self._jobs_wait = True  # the last run may have told them so

    def look(self) -> None:
        """Raise and clear alarms, and tell the queued jobs; called every second."""
        for names in self._disks.values():
            alarm, room = self._alarm(f"disk_{names[0]}"), self._room(names[0])
            short = room.spare < 0 or ("spool" in names and self._refuses(room))
            if short != (alarm in self._raised):
                self._change(alarm, short, f"{', '.join(names)}: {room}")
        self._tell_jobs()

    def work_waits(self) -> bool:
        """Tell whether no job should be started, for want of room for its results or for what the ledger says of it."""
        return any(name in self._folders and not self._room(name).for_work for name in ("results", "ledger"))

    def near_full(self, name: str) -> bool:
        """Tell whether a disk comes near its floor, or has refused an instance for which there is still no room."""
        room = self._room(name)
        wanted = self._spool.refused if self._folders[name] == self._spool.root else 0
        return room.spare < max(room.floor * NEAR, wanted)

    def ledger_full(self) -> bool:
        """Tell whether the ledger can probably not be written."""
        if "ledger" not in self._folders:
            return False
        room = self._room("ledger")
        return room.free < min(LEDGER_NEEDS, room.total // 50)

    def _refuses(self, room: Room) -> bool:
        """Tell whether the spool refused an instance since the last look, or would refuse one of that size again.

        It refuses before the floor is passed: free space alone would not tell.
        """
        refusals, wanted = self._spool.refusals, self._spool.refused
        anew, self._seen = refusals > self._seen, refusals
        if not anew and room.spare >= wanted:
            self._spool.refused = 0
        return anew or room.spare < wanted

    def _room(self, name: str) -> Room:
        return self._spool.floor.room(self._folders[name])

    def _change(self, alarm: str, short: bool, detail: str) -> None:
        try:
            if short:
                self._ledger.raise_alarm(alarm, detail)
                self._raised.add(alarm)
                log.error("alarm %s: disk space is short (%s)", alarm, detail)
            else:
                self._ledger.clear_alarm(alarm)
                self._raised.discard(alarm)
                log.warning("alarm %s is over (%s); refused since the start: %d", alarm, detail, self._spool.refusals)
            self._silent = False
        except SQLAlchemyError as error:  # the disk in question may be the ledger's: the next look tries again
            if not self._silent:
                log.error("alarm %s (%s) can not be written to the ledger (%s)", alarm, detail, type(error).__name__)
            self._silent = True

    def _tell_jobs(self) -> None:
        if self.ledger_full():
            return
        if self.work_waits():
            self._ledger.note_waiting(WAITING, "")
            self._jobs_wait = True
        elif self._jobs_wait:
            self._ledger.note_waiting(BACK, WAITING)
            self._jobs_wait = False
