"""The types that enter and leave the room: what is told, to whom, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from scarnode.disk import Room

MAIL_PORTS = {"starttls": 587, "smtps": 465, "smtp": 25}
"""Ports of a mail server by how it is spoken to (RFC 8314, RFC 6409, RFC 5321)."""


@dataclass(frozen=True)
class Notice:
    """What is to be told of one alarm: its latest state, and how often it was raised since it was last told.

    Attributes
    ----------
    alarm : str
        Its name.
    alarm_id : int
        Of its latest row in the ledger.
    raised_at : float
    cleared_at : float or None
        None: it stands. UTC seconds since 1970, as `raised_at`.
    times : int
        How often it was raised since the last message on it; 0: only its end is news.
    detail : str
        For a person; without patient data.
    """

    alarm: str
    alarm_id: int
    raised_at: float
    cleared_at: float | None
    times: int
    detail: str


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
class MailServer:
    """A mail server that takes messages, and between whom they go.

    Attributes
    ----------
    scheme : str
        ``starttls``, ``smtps`` (TLS from the start) or ``smtp`` (no TLS).
    user, password : str
        Empty: it is not asked to know us.
    ca_file : Path or None
        Who may vouch for it; None: the public authorities.
    timeout : float
        Seconds for each of its answers; the whole has three times as long.
    """

    scheme: str
    host: str
    port: int
    sender: str
    recipients: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    ca_file: Path | None = None
    timeout: float = 20.0

    def __str__(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def send(self, message: Message) -> Sending:
        """Send a message as an e-mail."""
        from scarnode.watch.mail import send_mail

        return send_mail(message, self)


@dataclass(frozen=True)
class Webhook:
    """An address that takes messages as a POST of JSON.

    Attributes
    ----------
    secret : str
        Signs the body; empty: it is not signed.
    ca_file : Path or None
        Who may vouch for it; None: the public authorities.
    timeout : float
        Seconds for the connection, and for the answer.
    """

    url: str
    secret: str = field(default="", repr=False)
    ca_file: Path | None = None
    timeout: float = 20.0

    def __str__(self) -> str:
        return "webhook"  # the address may hold a secret of its own

    def send(self, message: Message) -> Sending:
        """Post a message."""
        from scarnode.watch.webhook import post

        return post(message, self)


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
        What this process does (`scarnode.roles.ROLES`).
    ledger_trouble : str
        What became of the ledger's files (`scarnode.watch.ledger_file.LedgerWatch`); empty: they are in place.
    """

    callers: tuple[str, ...]
    destinations: tuple[str, ...]
    ports: Mapping[int, bool]
    workers: tuple[bool, ...]
    associations: int
    refused: Mapping[str, int]
    instances_refused: int
    disks: Mapping[str, Room]
    settings_taken_at: float
    settings_good: bool
    certificate_ends: float | None
    model: str
    roles: tuple[str, ...]
    ledger_trouble: str = ""
