"""Watches the disks: an alarm where one is near full or away, jobs that wait, and the way back by itself."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from scarnode.dicom.scp import Spool
from scarnode.ledger.ledger import Ledger
from scarnode.util.disk import FULL, MARKER, DiskUsage, why_away

log = logging.getLogger(__name__)

WAITING = "waits for disk space: see scarnode alarms"
BACK = "there is disk space again"
AWAY = "waits for a disk that is away: see scarnode alarms"
THERE_AGAIN = "the disk is there again"

NEAR = 0.25
"""Share of the floor, above it, at which studies are deleted where that is wanted: before an image is refused."""

MARKERS = {"spool": Spool.MARKER, "results": MARKER}
"""What lies in each folder while its disk is there."""


class DiskWatch:
    """Looks at the file systems of spool, results and ledger, and keeps their alarms.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool
        Its floor holds for all of them.
    folders : mapping of str to Path
        What lies where: ``spool``, ``results``, and ``ledger`` where that is a file. Those on one file system share
        one alarm on room, ``disk_`` and the first name. Results get an empty folder `MARKER`, to be known again.
    alarm : callable
        Gives the name of an alarm on this process (`scarnode.node.roles.Runtime.alarm`).
    no_room : callable
        Tells whether results found no room (`scarnode.node.postponed.PutOffs.no_room`).
    """

    def __init__(
        self,
        ledger: Ledger,
        spool: Spool,
        folders: Mapping[str, Path],
        alarm: Callable[[str], str] = str,
        no_room: Callable[[], bool] = lambda: False,
    ) -> None:
        self._no_room = no_room
        (folders["results"] / MARKER).mkdir(mode=0o700, exist_ok=True)
        self._ledger, self._spool, self._alarm = ledger, spool, alarm
        self._folders = dict(folders)
        self._disks: dict[int, list[str]] = {}
        for name, folder in folders.items():
            self._disks.setdefault(folder.stat().st_dev, []).append(name)
        self._raised = ledger.alarms.standing_alarms()
        self._seen = 0
        self._silent = False
        self._jobs_wait = True  # the last run may have told them so

    def look(self) -> None:
        """Raise and clear alarms, and tell the queued jobs; called every second."""
        for name in MARKERS:
            alarm, why = self._alarm(f"absent_{name}"), self.away(name)
            if bool(why) != (alarm in self._raised):
                self._change(alarm, bool(why), why, "can not be used")
        for names in self._disks.values():
            alarm, room = self._alarm(f"disk_{names[0]}"), self._room(names[0])
            if room is None:  # it is away, which is another alarm's
                continue
            short = room.spare < 0 or room.full or ("spool" in names and self._refuses(room))
            short = short or ("results" in names and self._no_room())
            if short != (alarm in self._raised):
                self._change(alarm, short, f"{', '.join(names)}: {room}", "disk space is short")
        self._tell_jobs()

    def away(self, *names: str) -> str:
        """Describe why the first of these folders (of ``spool`` and ``results``) can not be used; empty where all
        can.
        """
        reasons = (why_away(self._folders[name], MARKERS[name]) for name in names or MARKERS)
        return next(filter(None, reasons), "")

    def work_waits(self) -> bool:
        """Return whether no job should be started, for want of a disk or of room on it."""
        return bool(self.away()) or self._room_waits()

    def _room_waits(self) -> bool:
        rooms = [self._room(name) for name in ("results", "ledger") if name in self._folders]
        return any(room is None or not room.for_work for room in rooms)

    def near_full(self, name: str) -> bool:
        """Return whether a disk comes near its floor, or has refused an instance for which there is still no room."""
        room = self._room(name)
        if room is None:
            return False
        wanted = self._spool.refused if self._folders[name] == self._spool.root else 0
        return room.spare < max(room.floor * NEAR, wanted)

    def rooms(self) -> dict[str, DiskUsage]:
        """Return what each disk has left; one that can not be asked is absent."""
        rooms = {name: self._room(name) for name in self._folders}
        return {name: room for name, room in rooms.items() if room is not None}

    def ledger_full(self) -> bool:
        """Return whether the ledger can probably not be written."""
        if "ledger" not in self._folders:
            return False
        room = self._room("ledger")
        return room is None or room.free < min(FULL, room.total // 50)

    def _refuses(self, room: DiskUsage) -> bool:
        """Return whether the spool refused an instance since the last look, or would refuse one of that size again.

        It refuses before the floor is passed: free space alone would not tell.
        """
        refusals, wanted = self._spool.refusals, self._spool.refused
        anew, self._seen = refusals > self._seen, refusals
        if not anew and room.spare >= wanted:
            self._spool.refused = 0
        return anew or room.spare < wanted

    def _room(self, name: str) -> DiskUsage | None:
        """Return what a disk has left; None where it can not be asked."""
        try:
            return self._spool.floor.usage(self._folders[name])
        except OSError:
            return None

    def _change(self, alarm: str, stands: bool, detail: str, what: str) -> None:
        try:
            if stands:
                self._ledger.alarms.raise_alarm(alarm, detail)
                self._raised.add(alarm)
                log.error("alarm %s: %s (%s)", alarm, what, detail)
            else:
                self._ledger.alarms.clear_alarm(alarm)
                self._raised.discard(alarm)
                refused = self._spool.refusals
                log.warning("alarm %s is over (%s); refused since the start: %d", alarm, detail or "usable", refused)
            self._silent = False
        except SQLAlchemyError as error:  # the disk in question may be the ledger's: the next look tries again
            if not self._silent:
                log.error("alarm %s (%s) can not be written to the ledger (%s)", alarm, detail, type(error).__name__)
            self._silent = True

    def _tell_jobs(self) -> None:
        if self.ledger_full():
            return
        why = AWAY if self.away() else WAITING if self._room_waits() else ""
        if why:
            self._ledger.jobs.note_waiting(why, "")
            self._jobs_wait = True
        elif self._jobs_wait:
            self._ledger.jobs.note_waiting(BACK, WAITING)
            self._ledger.jobs.note_waiting(THERE_AGAIN, AWAY)
            self._jobs_wait = False
