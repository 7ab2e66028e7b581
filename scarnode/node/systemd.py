"""What systemd is told (sd_notify(3))."""

from __future__ import annotations

import os
import socket


def notify_systemd(state: str) -> None:
    """Send systemd a state; does nothing where systemd did not start us."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as link:
            link.sendto(state.encode(), address.replace("@", "\0", 1) if address.startswith("@") else address)
