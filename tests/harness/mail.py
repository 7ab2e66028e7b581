"""A real SMTP server (aiosmtpd) that keeps what it is sent, with TLS and log-in where the test wants them."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.harness.certificates import Certificate
from tests.harness.tools import free_port


@dataclass
class Mailbox:
    """What came: mails, the recipients of each, and whether by TLS; `refuse` makes it say no to a recipient."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    by_tls: list[bool] = field(default_factory=list)
    refuse: str = ""

    async def handle_RCPT(self, _server: Any, _session: Any, envelope: Envelope, address: str, _: Any) -> str:  # noqa: N802
        if address == self.refuse:
            return "550 no such user here"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        mail = message_from_bytes(envelope.content, policy=policy.default)
        self.mails.append(mail)
        self.recipients.append(list(envelope.rcpt_tos))
        self.by_tls.append(server.transport.get_extra_info("ssl_object") is not None)
        return "250 taken"


@contextmanager
def mail_server(
    certificate: Certificate | None = None, how: str = "smtp", user: str = "", password: str = ""
) -> Iterator[Mailbox]:
    """Serve SMTP on a free port of 127.0.0.1; `how` as in the scheme of [notify] mail_server."""
    context = None
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.private_key)

    def authenticate(_server: SMTP, _session: Session, _envelope: Envelope, _how: str, given: Any) -> AuthResult:
        known = isinstance(given, LoginPassword) and (given.login, given.password) == (user.encode(), password.encode())
        return AuthResult(success=known, handled=False)

    box = Mailbox(free_port())
    controller = Controller(
        box,
        hostname="127.0.0.1",
        port=box.port,
        ssl_context=context if how == "smtps" else None,
        tls_context=context if how == "starttls" else None,
        require_starttls=how == "starttls",
        authenticator=authenticate if user else None,
        auth_required=bool(user),
        auth_require_tls=how == "starttls",
    )
    controller.start()
    try:
        yield box
    finally:
        controller.stop()
