"""What the commands share: options, the way to the ledger, and how things are printed."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

if TYPE_CHECKING:
    from scarnode.config import Settings
    from scarnode.jobs import Ledger

out = Console()
err = Console(stderr=True)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="SCARNODE_CONFIG", help="The node's config.ini.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
PLAIN: dict[str, Any] = {"markup": False, "highlight": False, "soft_wrap": True}
CONFIG = Path("/etc/scarnode/config.ini")


def open_ledger(config: Path) -> tuple[Settings, Ledger]:
    """Read config.ini and open its ledger; what is changed there is changed in the user's name."""
    from scarnode.config import read_settings
    from scarnode.jobs import Ledger

    settings = read_settings(config)
    return settings, Ledger(settings.ledger.url, actor=f"command line, user {user()}")


def tell_access(settings: Settings, rows: Sequence[Any], file: Path | None = None) -> None:
    """Record who was shown whose data, or wrote it to a file, before it happens: there is no access without a trace."""
    from scarnode.audit import Participant, Subject, events

    trail = settings.audit_trail()
    if not trail.on:
        return
    subjects = [
        Subject(row.study_instance_uid, row.patient_id, getattr(row, "patient_name", ""), row.accession_number)
        for row in rows
    ]
    name, host = user(), trail.source.host
    behind = os.environ.get("SUDO_USER", "")
    person = Participant(f"{name}@{host}", user_name=f"{behind} as {name}" if behind else name, address=host)
    messages = events.exported(trail.source, person, subjects, file) if file else None
    for message in messages or events.accessed(trail.source, person, subjects):
        trail.record(message)


def user() -> str:
    """Name who runs the command."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, e.g. in a container
        return "unknown"


def plain(value: Any) -> Any:
    """Turn dataclasses, or a list of them, into what JSON knows."""
    return [plain(row) for row in value] if isinstance(value, list) else dataclasses.asdict(value)


def print_json(rows: list) -> None:
    """Print dataclasses as JSON."""
    print(json.dumps(plain(rows)))


def number(value: float | None) -> str:
    """Write a measured number for a table."""
    return "" if value is None else f"{value:.1f}"


def time_of(seconds: float) -> str:
    """Write a time (UTC seconds since 1970) in the local time of this machine."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
