"""Messages as a POST of JSON, signed."""

from __future__ import annotations

import hashlib
import hmac
import json
from dataclasses import dataclass

from scarnode.config.channels import Webhook
from scarnode.dicom.web.http import Silence, request
from scarnode.monitoring.messages import as_json
from scarnode.monitoring.model import Message, Sending

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
    headers = {"Content-Type": "application/json"}
    if hook.secret:
        headers[SIGNATURE] = sign(body, hook.secret)
    headers["Content-Length"] = str(len(body))
    answer = request("POST", hook.url, headers, [body], ca_file=hook.ca_file, timeout=hook.timeout, most=0)
    if isinstance(answer, Silence):
        return Sending(False, f"{hook}: {answer.why}.")
    if 200 <= answer.status < 300:
        return Sending(True)
    return Sending(False, f"{hook}: it answered with status {answer.status}.")


def sign(body: bytes, secret: str) -> str:
    """Return the value of the header `SIGNATURE`."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
