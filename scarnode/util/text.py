"""Text from outside, made safe for one line of a terminal, a log or a table."""

from __future__ import annotations

import re
import unicodedata

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""Control characters, and those that change the direction of what follows."""


def one_line(text: str) -> str:
    """Make any text safe for a line of a terminal, a log or a table: control characters become spaces.

    Characters that only change the direction or the width of others go too.
    """
    plain = "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Cs") else char for char in text)
    return re.sub(r" {2,}", " ", CONTROL.sub("", plain)).strip()
