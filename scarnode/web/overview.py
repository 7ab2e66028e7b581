"""What the dashboard shows: how the node does. No patient data, so that it may stay open on a wall."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from scarnode.ledger import queries
from scarnode.ledger.queries import AlarmRow
from scarnode.util.disk import DiskUsage
from scarnode.web.app_state import AppState
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


def overview(app_state: AppState) -> Overview:
    """Ask the ledger and the disks how the node does."""
    ledger, settings = app_state.ledger, app_state.settings
    return Overview(
        ae_title=settings.node.ae_title,
        states=queries.count_jobs(ledger),
        arriving=count_arriving(ledger),
        throughput=throughput(ledger),
        results=tuple(Shown(one, app_state.pictures.synthetic(one.study_id, ledger)) for one in last_results(ledger)),
        senders=tuple(senders(ledger)),
        destinations=tuple(backlogs(ledger, list(settings.destinations))),
        disks=_disks(app_state),
        engines=tuple(app_state.engines()),
        alarms=tuple(queries.list_alarms(ledger)),
    )


def _disks(app_state: AppState) -> tuple[Disk, ...]:
    """Return every file system once."""
    settings = app_state.settings
    names: dict[int, list[str]] = {}
    rooms: dict[int, DiskUsage] = {}
    for name, folder in settings.folders().items():
        with suppress(OSError):  # it is away: an alarm says so
            device = folder.stat().st_dev
            rooms.setdefault(device, settings.spool.floor().room(folder))
            names.setdefault(device, []).append(name)
    return tuple(Disk(", ".join(names[device]), room.free, room.total, room.floor) for device, room in rooms.items())
