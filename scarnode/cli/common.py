"""Parts that the commands share: options, access to the ledger, and output."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console

from scarnode.util.errors import ScarnodeError
from scarnode.util.terminal import Table, printable

if TYPE_CHECKING:
    from scarnode.audit import AuditTrail, Participant
    from scarnode.config import Settings
    from scarnode.ledger.ledger import Ledger

AS_IT_IS: dict[str, Any] = {"markup": False, "highlight": False}
"""Without markup: a section of config.ini in square brackets stays as it is."""

out = Console(**AS_IT_IS)
err = Console(stderr=True, **AS_IT_IS)

ConfigOption = Annotated[
    Path, typer.Option("--config", "-c", envvar="SCARNODE_CONFIG", help="The node's config.ini.", show_default=True)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
CONFIG = Path("/etc/scarnode/config.ini")
LONGEST_LINE = 20_000
"""Characters of a table's row in a pipe."""


def open_ledger(config: Path) -> tuple[Settings, Ledger]:
    """Read config.ini and open its ledger. Changes are recorded under the user's name."""
    from scarnode.config import read_settings
    from scarnode.ledger.ledger import open_beside_node

    settings = read_settings(config)
    return settings, open_beside_node(settings.ledger.url, f"command line, user {user()}")


def record_access(settings: Settings, rows: Sequence[Any], file: Path | None = None) -> None:
    """Record whose data a user is about to see or to write to a file. Call it before the access."""
    from scarnode.audit import events, subjects

    trail = settings.audit_trail()
    if not trail.on:
        return
    person = person_of(trail)
    messages = events.exported(trail.source, person, subjects(rows), file) if file else None
    for message in messages or events.accessed(trail.source, person, subjects(rows)):
        trail.record(message)


@contextmanager
def exporting(settings: Settings, rows: Sequence[Any], file: Path) -> Iterator[None]:
    """Record whose data a user writes to a file: before the export, and again where it fails."""
    from sqlalchemy.exc import SQLAlchemyError

    from scarnode.audit import events, subjects
    from scarnode.audit.model import Outcome

    record_access(settings, rows, file)
    try:
        yield
    except (ScarnodeError, OSError, SQLAlchemyError) as error:
        trail = settings.audit_trail()
        if trail.on:
            why = error.what if isinstance(error, ScarnodeError) else type(error).__name__
            failed = (person_of(trail), subjects(rows), file, Outcome.SERIOUS_FAILURE, why)
            for message in events.exported(trail.source, *failed):
                trail.note(message)
        raise


def person_of(trail: AuditTrail) -> Participant:
    """Return the user of the command as audit messages name them."""
    from scarnode.audit import Participant

    name, host = user(), trail.source.host
    behind = os.environ.get("SUDO_USER", "")
    return Participant(f"{name}@{host}", user_name=f"{behind} as {name}" if behind else name, address=host)


def user() -> str:
    """Return the name of the command's user."""
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name, e.g. in a container
        return "unknown"


def plain(value: Any) -> Any:
    """Convert dataclasses, or a list of them, to JSON's types."""
    return [plain(row) for row in value] if isinstance(value, list) else dataclasses.asdict(value)


def print_json(rows: list) -> None:
    """Print dataclasses as JSON."""
    print(json.dumps(plain(rows)))


def print_error(error: ScarnodeError) -> None:
    """Print an error on stderr: what is wrong, where, and what to do."""
    text = printable(f"scarnode: {error}", besides="\n")
    err.print(text, style="red", soft_wrap=True)


def listing(*titles: str, folds: Sequence[str] = (), cuts: str = "") -> Table:
    """Make a table for `show` that fits a narrow terminal.

    Parameters
    ----------
    *titles : str
        Of the columns; all are as wide as their content, but for those named below.
    folds : sequence of str
        Columns that wrap where the terminal is narrow.
    cuts : str
        The column that gets the rest of the width, and is cut there.
    """
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    for title in titles:
        if title == cuts:
            table.add_column(title, no_wrap=True, overflow="ellipsis", ratio=1)
            table.expand = True
        elif title in folds:
            table.add_column(title, overflow="fold")
        else:
            table.add_column(title, no_wrap=True)
    return table


def facts(pairs: Mapping[str, str]) -> Table:
    """Make a table for `show` of names and values; nothing is cut."""
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in pairs.items():
        table.add_row(name, value)
    return table


def show(table: Table) -> None:
    """Print a table. A terminal gets it in its width, a pipe or a file one line for each row, with nothing cut."""
    if out.is_terminal:
        out.print(table)
        return
    table.box, table.expand, table.pad_edge = None, False, False
    for column in table.columns:
        column.no_wrap, column.max_width, column.ratio = True, None, None
    wide = Console(width=LONGEST_LINE, file=StringIO(), color_system=None, **AS_IT_IS)
    wide.print(table)
    print("\n".join(line.rstrip() for line in wide.file.getvalue().splitlines()))  # type: ignore[attr-defined]


def number(value: float | None) -> str:
    """Format a measured number for a table."""
    return "" if value is None else f"{value:.1f}"


def time_of(seconds: float) -> str:
    """Format a time (UTC seconds since 1970) in the local time of this machine."""
    return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M:%S")
