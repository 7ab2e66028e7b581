"""[notify]: who is notified of alarms, and their limits."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr, ValidationInfo, field_validator

from scarnode.config.channels import MAIL_PORTS, MailServer, Webhook
from scarnode.config.types import CertificatesFile, Section, StringList

Minutes = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _mail_server(url: str) -> str:
    if url:
        _parse_mail_server(url)
    return url


def _parse_mail_server(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a mail server's address."""
    wanted = "an address like starttls://mail.example.org:587, smtps://mail.example.org:465 or smtp://localhost:25"
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError(wanted) from None
    usable = parts.scheme in MAIL_PORTS and parts.hostname and port != 0 and url.isascii() and url.isprintable()
    if not usable or parts.username is not None or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError(wanted)
    return parts.scheme, parts.hostname or "", port or MAIL_PORTS[parts.scheme]


def _address(address: str) -> str:
    name, at, domain = address.rpartition("@")
    if not (name and at and domain and address.isascii() and address.isprintable()) or set(address) & set(' <>",;:'):
        raise ValueError("an address like admin@example.org, without a name")
    return address


def _web_address(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1) and parts.username is None
    except ValueError:
        good = False
    if url and not (good and url.isascii() and url.isprintable() and " " not in url):
        raise ValueError("an address like https://example.org/hook")
    return url


class NotifySection(Section):
    """[notify]: who is notified of alarms, and their limits."""

    mail_server: Annotated[str, AfterValidator(_mail_server)] = ""
    """starttls://HOST:587, smtps://HOST:465 or smtp://HOST:25; empty: no mail."""
    mail_user: str = ""
    mail_password: Annotated[SecretStr, Field(validate_default=True)] = SecretStr("")
    mail_from: Annotated[str, Field(validate_default=True)] = ""
    mail_to: Annotated[StringList, Field(validate_default=True)] = ()
    webhook_url: Annotated[str, AfterValidator(_web_address)] = ""
    """Gets a POST of JSON; empty: none."""
    webhook_secret: SecretStr = SecretStr("")
    """Signs the body (HMAC-SHA256); empty: it is not signed."""
    ca_file: CertificatesFile | None = None
    """PEM file of the certificate authorities that are trusted for both servers; empty: the public ones."""
    link: Annotated[str, AfterValidator(_web_address)] = ""
    """URL of this node's web pages, for the messages."""
    queue_minutes: Minutes = 60.0
    """A job or study that waits longer raises the alarm `queue_age`. 0: never."""
    destination_minutes: Minutes = 30.0
    """A destination that accepts no results for longer raises `destination_NAME`. 0: never."""
    flagged_percent: Annotated[float, Field(ge=0, le=100)] = 50.0
    """More flagged results than this among the last `flagged_results` raise `flag_rate`. 0: never."""
    flagged_results: Annotated[int, Field(ge=1, le=1000)] = 20
    held_jobs: bool = False
    """Held results raise the alarm `held_jobs`."""

    @field_validator("mail_password")
    @classmethod
    def _belongs_to_user(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        if bool(password.get_secret_value()) != bool(info.data.get("mail_user")):
            raise ValueError("mail_user and mail_password go together")
        if password.get_secret_value() and str(info.data.get("mail_server", "")).startswith("smtp://"):
            raise ValueError("a password where mail_server is starttls:// or smtps://")
        return password

    @field_validator("mail_from", "mail_to")
    @classmethod
    def _is_for_mail(cls, value: Any, info: ValidationInfo) -> Any:
        if bool(value) != bool(info.data.get("mail_server", value)):
            raise ValueError("mail_server, mail_from and mail_to go together")
        for address in (value,) if isinstance(value, str) else value:
            if address:
                _address(address)
        return value

    def mail(self) -> MailServer | None:
        """Return the mail server; None where there is none."""
        if not self.mail_server:
            return None
        scheme, host, port = _parse_mail_server(self.mail_server)
        secret = self.mail_password.get_secret_value()
        return MailServer(scheme, host, port, self.mail_from, self.mail_to, self.mail_user, secret, self.ca_file)

    def webhook(self) -> Webhook | None:
        """Return the webhook; None where there is none."""
        secret = self.webhook_secret.get_secret_value()
        return Webhook(self.webhook_url, secret, self.ca_file) if self.webhook_url else None
