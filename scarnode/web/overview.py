"""The content of the dashboard. It holds no patient data, so that a screen on a wall may show it."""

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
    """A file system: the folders on it, and its sizes in bytes. Below `floor` free bytes new images are refused."""

    holds: str
    free: int
    total: int
    floor: int


@dataclass(frozen=True)
class ResultRow:
    """A result on the dashboard."""

    result: LastResult
    synthetic: bool


@dataclass(frozen=True)
class Overview:
    """The state of the node.

    Attributes
    ----------
    ae_title : str
    states : dict of str to int
        Jobs by state.
    arriving : int
        Studies that are not complete yet.
    throughput : Throughput
    results : tuple of ResultRow
    senders : tuple of Sender
    destinations : tuple of Backlog
    disks : tuple of Disk
    engines : tuple of str
        What each worker computes on.
    alarms : tuple of AlarmRow
        The active ones.
    """

    ae_title: str
    states: dict[str, int]
    arriving: int
    throughput: Throughput
    results: tuple[ResultRow, ...]
    senders: tuple[Sender, ...]
    destinations: tuple[Backlog, ...]
    disks: tuple[Disk, ...]
    engines: tuple[str, ...]
    alarms: tuple[AlarmRow, ...]


def overview(app_state: AppState) -> Overview:
    """Return the state of the node from its ledger and disks."""
    ledger, settings = app_state.ledger, app_state.settings
    return Overview(
        ae_title=settings.node.ae_title,
        states=queries.count_jobs(ledger),
        arriving=count_arriving(ledger),
        throughput=throughput(ledger),
        results=tuple(
            ResultRow(one, app_state.pictures.synthetic(one.study_id, ledger)) for one in last_results(ledger)
        ),
        senders=tuple(senders(ledger)),
        destinations=tuple(backlogs(ledger, list(settings.destinations))),
        disks=_disks(app_state),
        engines=tuple(app_state.engines()),
        alarms=tuple(queries.list_alarms(ledger)),
    )


def _disks(app_state: AppState) -> tuple[Disk, ...]:
    """Return each file system once."""
    settings = app_state.settings
    names: dict[int, list[str]] = {}
    usages: dict[int, DiskUsage] = {}
    for name, folder in settings.folders().items():
        with suppress(OSError):  # the disk is absent: an alarm reports it
            device = folder.stat().st_dev
            usages.setdefault(device, settings.spool.free_space_limit().usage(folder))
            names.setdefault(device, []).append(name)
    return tuple(
        Disk(", ".join(names[device]), usage.free, usage.total, usage.floor) for device, usage in usages.items()
    )
