"""The types that enter and leave the room: what is told, to whom, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from scarnode.ledger.model import Notice
from scarnode.util.disk import DiskUsage


@dataclass(frozen=True)
class Message:
    """A message to people: one or more notices.

    Attributes
    ----------
    node : str
        The node's AE title.
    host : str
        The machine it runs on.
    notices : tuple of Notice
        Empty: a test.
    link : str
        Where the node's web pages are; may be empty.
    """

    node: str
    host: str
    notices: tuple[Notice, ...] = ()
    link: str = ""


@dataclass(frozen=True)
class Sending:
    """What became of a message: whether it was taken, and what went wrong, in one sentence without secrets."""

    ok: bool
    trouble: str = ""


class Channel(Protocol):
    """A way to reach people."""

    def send(self, message: Message) -> Sending:
        """Send a message; never raises, ends in time."""


@dataclass(frozen=True)
class Facts:
    """What the node knows of itself at this moment.

    Attributes
    ----------
    callers : tuple of str
        Calling AE titles that config.ini lists.
    destinations : tuple of str
        Names of the destinations that config.ini has.
    ports : mapping of int to bool
        Whether each port of the AE is listened on.
    workers : tuple of bool
        Whether each worker holds the network.
    associations : int
        That are open.
    refused : mapping of str to int
        Associations that were refused or cut off since the start, by reason.
    instances_refused : int
        For want of disk space, since the start.
    disks : mapping of str to Room
        ``spool``, ``results`` and, where it is a file, ``ledger``.
    settings_taken_at : float
        When config.ini was last taken over, in UTC seconds since 1970.
    settings_good : bool
        Whether the last try to do so went well.
    certificate_ends : float or None
        UTC seconds since 1970; None: there is no certificate.
    model : str
        SHA-256 of the network's weights.
    roles : tuple of str
        What this process does (`scarnode.node.roles.ROLES`).
    ledger_trouble : str
        What became of the ledger's files (`scarnode.monitoring.ledger_file.LedgerWatch`); empty: they are in place.
    """

    callers: tuple[str, ...]
    destinations: tuple[str, ...]
    ports: Mapping[int, bool]
    workers: tuple[bool, ...]
    associations: int
    refused: Mapping[str, int]
    instances_refused: int
    disks: Mapping[str, DiskUsage]
    settings_taken_at: float
    settings_good: bool
    certificate_ends: float | None
    model: str
    roles: tuple[str, ...]
    ledger_trouble: str = ""
