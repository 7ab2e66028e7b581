"""What the dashboard shows: how the node does. No patient data, so that it may stay open on a wall."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from scarnode.disk import Room
from scarnode.jobs import queries
from scarnode.jobs.queries import AlarmRow
from scarnode.web.desk import Desk
from scarnode.web.queries import (
    Backlog,
    LastResult,
    Sender,
    Throughput,
    backlogs,
    count_arriving,
    last_results,
    senders,
    throughput,
)


@dataclass(frozen=True)
class Disk:
    """A file system: what lies there, and bytes. New images are refused where less than the floor is free."""

    holds: str
    free: int
    total: int
    floor: int


@dataclass(frozen=True)
class Shown:
    """A result on the dashboard."""

    result: LastResult
    synthetic: bool


@dataclass(frozen=True)
class Overview:
    """How the node does.

    Attributes
    ----------
    ae_title : str
    states : dict of str to int
        Jobs by state.
    arriving : int
        Studies that are not complete yet.
    throughput : Throughput
    results : tuple of Shown
    senders : tuple of Sender
    destinations : tuple of Backlog
    disks : tuple of Disk
    engines : tuple of str
        What each worker computes on.
    alarms : tuple of AlarmRow
        Those that stand.
    """

    ae_title: str
    states: dict[str, int]
    arriving: int
    throughput: Throughput
    results: tuple[Shown, ...]
    senders: tuple[Sender, ...]
    destinations: tuple[Backlog, ...]
    disks: tuple[Disk, ...]
    engines: tuple[str, ...]
    alarms: tuple[AlarmRow, ...]


def overview(desk: Desk) -> Overview:
    """Ask the ledger and the disks how the node does."""
    ledger, settings = desk.ledger, desk.settings
    return Overview(
        ae_title=settings.node.ae_title,
        states=queries.count_jobs(ledger),
        arriving=count_arriving(ledger),
        throughput=throughput(ledger),
        results=tuple(Shown(one, desk.pictures.synthetic(one.study_id, ledger)) for one in last_results(ledger)),
        senders=tuple(senders(ledger)),
        destinations=tuple(backlogs(ledger, list(settings.destinations))),
        disks=_disks(desk),
        engines=tuple(desk.engines()),
        alarms=tuple(queries.list_alarms(ledger)),
    )


def _disks(desk: Desk) -> tuple[Disk, ...]:
    """Give every file system once."""
    settings = desk.settings
    names: dict[int, list[str]] = {}
    rooms: dict[int, Room] = {}
    for name, folder in settings.folders().items():
        with suppress(OSError):  # it is away: an alarm says so
            device = folder.stat().st_dev
            rooms.setdefault(device, settings.spool.floor().room(folder))
            names.setdefault(device, []).append(name)
    return tuple(Disk(", ".join(names[device]), room.free, room.total, room.floor) for device, room in rooms.items())
