"""Channels of notifications: a mail server, a webhook."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

MAIL_PORTS = {"starttls": 587, "smtps": 465, "smtp": 25}
"""Default ports of a mail server by scheme (RFC 8314, RFC 6409, RFC 5321)."""


@dataclass(frozen=True)
class MailServer:
    """A mail server, with sender and recipients of the messages.

    Attributes
    ----------
    scheme : str
        ``starttls``, ``smtps`` (TLS from the start) or ``smtp`` (no TLS).
    user, password : str
        Empty: no authentication.
    ca_file : Path or None
        Certificate authorities that are trusted for it; None: the public ones.
    timeout : float
        Seconds for each of its responses. The whole message has three times as long.
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


@dataclass(frozen=True)
class Webhook:
    """An address that takes messages as a POST of JSON.

    Attributes
    ----------
    secret : str
        Signs the body; empty: it is not signed.
    ca_file : Path or None
        Certificate authorities that are trusted for it; None: the public ones.
    timeout : float
        Seconds for the connection, and for the answer.
    """

    url: str
    secret: str = field(default="", repr=False)
    ca_file: Path | None = None
    timeout: float = 20.0

    def __str__(self) -> str:
        return "webhook"  # the URL may hold a secret
