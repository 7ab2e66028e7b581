"""What a message says: the same content as text for people and as JSON for programs. No patient data."""

from __future__ import annotations

import hashlib
from datetime import datetime, timezone
from typing import Any

from scarnode import RESEARCH_USE
from scarnode.ledger.model import Notice
from scarnode.monitoring.model import Message


def subject(message: Message) -> str:
    """Return one line: which alarms stand, then which are over."""
    if not message.notices:
        return f"[scarnode] {message.node} on {message.host}: test message"
    standing = [notice.alarm for notice in message.notices if notice.cleared_at is None]
    over = [notice.alarm for notice in message.notices if notice.cleared_at is not None]
    parts = [f"alarm {', '.join(standing)}"] if standing else []
    parts += [f"over: {', '.join(over)}"] if over else []
    line = f"[scarnode] {message.node} on {message.host}: {'; '.join(parts)}"
    return line if len(line) <= 200 else line[:197] + "..."


def text(message: Message) -> str:
    """Return the body for people."""
    lines = [f"scarnode {message.node} on {message.host}", ""]
    if not message.notices:
        lines += ["This is a test. Messages about alarms will reach you like this one.", ""]
    for notice in message.notices:
        lines += [_headline(notice), *([f"  {notice.detail}"] if notice.detail else []), ""]
    lines += [f"See: {message.link}" if message.link else "See, on the node: scarnode alarms --all", "", RESEARCH_USE]
    return "\n".join(lines) + "\n"


def as_json(message: Message) -> dict[str, Any]:
    """Return the body for programs; docs/monitoring.md tells what each key means."""
    return {
        "id": identity(message),
        "node": message.node,
        "host": message.host,
        "test": not message.notices,
        "link": message.link,
        "alarms": [
            {
                "name": notice.alarm,
                "state": "over" if notice.cleared_at is not None else "standing",
                "raised_at": utc(notice.raised_at),
                "cleared_at": None if notice.cleared_at is None else utc(notice.cleared_at),
                "times": notice.times,
                "detail": notice.detail,
            }
            for notice in message.notices
        ],
    }


def identity(message: Message) -> str:
    """Return what stays the same where a message is sent twice (a crash between sending and noting it)."""
    return hashlib.sha256(repr(message).encode()).hexdigest()[:32]


def utc(seconds: float) -> str:
    """Return a time as ISO 8601, in UTC."""
    return datetime.fromtimestamp(seconds, timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


def _headline(notice: Notice) -> str:
    again = f", raised {notice.times} times since the last message" if notice.times > 1 else ""
    if notice.cleared_at is None:
        return f"ALARM {notice.alarm}, since {utc(notice.raised_at)}{again}"
    return f"OVER {notice.alarm}, {utc(notice.raised_at)} to {utc(notice.cleared_at)}{again}"
