"""CSV that is safe in a spreadsheet: no header value becomes a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from io import StringIO
from typing import Any

from scarnode.util.text import one_line

_FORMULA = re.compile(r"\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n]")
"""First characters of dangerous cells (OWASP, CSV Injection): = + - @, tab, carriage return; also full-width forms."""
_NUMBER = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")


def cell(value: object) -> object:
    """Return a value for a cell: text that would be a formula begins with an apostrophe, a number stays a number.

    >>> cell("=1+2"), cell("-1.5"), cell(-1.5), cell("Doe^Jane")
    ("'=1+2", '-1.5', -1.5, 'Doe^Jane')
    """
    if not isinstance(value, str):
        return value
    plain = one_line(value)
    return f"'{plain}" if _FORMULA.match(value) and not _NUMBER.fullmatch(plain) else plain


def plain_text(text: str) -> str:
    """Return the value from which `cell` made a text."""
    return text[1:] if text[:1] == "'" and _FORMULA.match(text[1:]) else text


def to_csv(columns: Sequence[str], rows: Iterable[Sequence[object] | Mapping[str, Any]]) -> str:
    """Write a table as CSV.

    Parameters
    ----------
    columns : sequence of str
        The first line.
    rows : iterable of sequence or mapping
        Cells in the order of the columns, or by their names; what a mapping lacks is empty.

    Returns
    -------
    str
    """
    text = StringIO()
    writer = csv.writer(text)
    writer.writerow([cell(column) for column in columns])
    for row in rows:
        cells = [row.get(column, "") for column in columns] if isinstance(row, Mapping) else row
        writer.writerow([cell(value) for value in cells])
    return text.getvalue()
