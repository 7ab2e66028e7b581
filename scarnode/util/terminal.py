"""Tables for a terminal. Header values are shown as plain text and can not control the terminal."""

from __future__ import annotations

from rich import table
from rich.text import Text


def printable(value: str, besides: str = "") -> str:
    """Replace characters that control a terminal: escape sequences, control characters, changes of direction.

    Parameters
    ----------
    value : str
    besides : str
        Characters that stay as they are.
    """
    return "".join(c if c.isprintable() or c in besides else "\N{REPLACEMENT CHARACTER}" for c in value)


class Table(table.Table):
    """A table of plain text: no markup, no control characters in its cells."""

    def add_row(self, *cells: str) -> None:  # type: ignore[override]  # on purpose: plain text alone
        """Add a row of strings."""
        super().add_row(*(Text(printable(cell)) for cell in cells))
