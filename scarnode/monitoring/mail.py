"""Messages by e-mail (RFC 5321), over STARTTLS or TLS."""

from __future__ import annotations

import smtplib
import socket
import ssl
import threading
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate

from scarnode.config.channels import MailServer
from scarnode.dicom.sockets import close_socket
from scarnode.dicom.tls import client_context, explain
from scarnode.monitoring.messages import identity, subject, text
from scarnode.monitoring.model import Message, Sending

PATIENCE = 3
"""How many answers' time a whole delivery may take: a server that trickles must end too."""


@dataclass(frozen=True)
class MailChannel:
    """A mail server as a way to reach people."""

    server: MailServer

    def send(self, message: Message) -> Sending:
        """Send a message as an e-mail."""
        return send_mail(message, self.server)


def send_mail(message: Message, server: MailServer) -> Sending:
    """Send a message; never raises, ends in time.

    Parameters
    ----------
    message : Message
    server : MailServer

    Returns
    -------
    Sending
        ``ok`` where at least one recipient was accepted; `trouble` also tells of those that were not.
    """
    try:
        client = _client(server)
    except (OSError, ValueError) as error:
        return Sending(False, f"{server}: the certificates of ca_file can not be read ({type(error).__name__})")
    late = threading.Event()

    def cut() -> None:
        late.set()
        if client.sock is not None:
            close_socket(client.sock)

    longest = threading.Timer(PATIENCE * server.timeout, cut)
    longest.daemon = True
    longest.start()
    try:
        client.connect(server.host, server.port)
        if server.scheme == "starttls":
            client.starttls(context=client_context(None, server.ca_file))
        if server.user:
            client.login(server.user, server.password)
        refused = client.send_message(_email(message, server))
    except Exception as error:  # smtplib, ssl and the sockets below have many words for what a server does
        return Sending(False, f"{server}: {_why(error, server, late.is_set())}.")
    finally:
        longest.cancel()
        with suppress(Exception):  # the message is taken, or not: a server that hangs up badly changes nothing
            client.quit()
        client.close()
    if refused:
        codes = ", ".join(sorted({str(code) for code, _ in refused.values()}))
        return Sending(True, f"{server}: {len(refused)} of {len(server.recipients)} recipients refused ({codes}).")
    return Sending(True)


def _client(server: MailServer) -> smtplib.SMTP:
    ours = socket.gethostname()  # not the full name: asking a name server for it may hang
    if server.scheme == "smtps":
        context = client_context(None, server.ca_file)
        client: smtplib.SMTP = smtplib.SMTP_SSL(timeout=server.timeout, context=context, local_hostname=ours)
    else:
        client = smtplib.SMTP(timeout=server.timeout, local_hostname=ours)
    client._host = server.host  # type: ignore[attr-defined]  # TLS checks this name; only the constructor sets it
    return client


def _email(message: Message, server: MailServer) -> EmailMessage:
    mail = EmailMessage()
    mail["From"], mail["To"], mail["Subject"] = server.sender, ", ".join(server.recipients), subject(message)
    mail["Date"], mail["Auto-Submitted"] = formatdate(), "auto-generated"  # RFC 3834: no vacation answers
    if message.notices:
        mail["Message-ID"] = f"<{identity(message)}@{message.host}>"  # the same where a crash has it sent twice
    mail.set_content(text(message))
    return mail


def _why(error: Exception, server: MailServer, late: bool) -> str:
    """Describe what a mail server did, in one sentence."""
    if late:
        return f"it took longer than {PATIENCE * server.timeout:g} s"
    if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
        return f"no answer within {server.timeout:g} s"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return f"no recipient is accepted: {_quoted(*next(iter(error.recipients.values())))}"
    if isinstance(error, smtplib.SMTPResponseException):
        what = "user or password not accepted" if isinstance(error, smtplib.SMTPAuthenticationError) else "it answered"
        return f"{what}: {_quoted(error.smtp_code, error.smtp_error)}"
    return next(words for kind, words in _words_of(error) if isinstance(error, kind))


def _words_of(error: Exception) -> list[tuple[type[Exception], str]]:
    return [
        (smtplib.SMTPNotSupportedError, "it does not offer what is needed: STARTTLS, or AUTH for mail_user"),
        (ssl.SSLError, f"TLS failed: {explain(error)}" if isinstance(error, ssl.SSLError) else ""),
        (smtplib.SMTPServerDisconnected, "it ended the connection"),
        (socket.gaierror, "its name is unknown"),
        (OSError, f"no connection ({getattr(error, 'strerror', None) or type(error).__name__})"),
        (Exception, type(error).__name__),
    ]


def _quoted(code: int, words: bytes | str) -> str:
    said = words.decode("utf-8", "replace") if isinstance(words, bytes) else str(words)
    return f"{code} " + "".join(c if c.isprintable() else " " for c in said)[:200]
