"""Messages as a POST of JSON, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
import ssl
from dataclasses import dataclass

import requests

from scarnode.config.channels import Webhook
from scarnode.dicom.tls import explain
from scarnode.dicom.uids import IMPLEMENTATION_VERSION_NAME
from scarnode.monitoring.messages import as_json
from scarnode.monitoring.model import Message, Sending
from scarnode.util.errors import causes_of

SIGNATURE = "X-Scarnode-Signature-256"
"""Header: ``sha256=`` and the hex HMAC-SHA256 of the body under the secret, as GitHub's webhooks have it."""


@dataclass(frozen=True)
class WebhookChannel:
    """A webhook as a way to reach people."""

    hook: Webhook

    def send(self, message: Message) -> Sending:
        """Post a message."""
        return post(message, self.hook)


def post(message: Message, hook: Webhook) -> Sending:
    """Post a message; never raises, ends in time.

    Parameters
    ----------
    message : Message
    hook : Webhook

    Returns
    -------
    Sending
        ``ok`` where the answer was 2xx. Redirections are not followed.
    """
    body = json.dumps(as_json(message)).encode()
    headers = {"Content-Type": "application/json", "User-Agent": IMPLEMENTATION_VERSION_NAME}
    if hook.secret:
        headers[SIGNATURE] = sign(body, hook.secret)
    try:
        with requests.Session() as session:
            session.trust_env = False  # no proxy, no .netrc: what config.ini says, and nothing else
            session.verify = str(hook.ca_file) if hook.ca_file else True
            with session.post(
                hook.url, body, headers=headers, timeout=hook.timeout, allow_redirects=False, stream=True
            ) as answer:
                status = answer.status_code
    except Exception as error:  # what requests, urllib3, ssl and http.client raise for what a peer does
        return Sending(False, f"{hook}: {_why(error, hook)}.")
    if 200 <= status < 300:
        return Sending(True)
    return Sending(False, f"{hook}: it answered with status {status}.")


def sign(body: bytes, secret: str) -> str:
    """Return the value of the header `SIGNATURE`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def _why(error: Exception, hook: Webhook) -> str:
    """Describe what went wrong; never in a library's words, which quote the address."""
    refused = [cause for cause in causes_of(error) if isinstance(cause, ssl.SSLCertVerificationError)]
    if refused:
        return explain(refused[0])
    if isinstance(error, requests.exceptions.SSLError):
        return "TLS with it failed"
    if isinstance(error, requests.Timeout):
        return f"no answer within {hook.timeout:g} s"
    if isinstance(error, requests.ConnectionError):
        return "no connection: refused, unknown host, or no way there"
    if isinstance(error, OSError) and "certificate" in str(error):
        return "the certificates of ca_file can not be read"
    return f"no answer ({type(error).__name__})"
