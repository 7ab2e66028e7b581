"""The size that a compressed frame states, read from its first bytes. Nothing is decoded or allocated."""

from __future__ import annotations

import struct

HEAD = 65536
"""Bytes of a frame that are looked at."""

_FRAME_HEADERS = frozenset({*range(0xC0, 0xD0), 0xF7}) - {0xC4, 0xC8, 0xCC}
"""SOF0 to SOF15 without DHT, JPG and DAC (ITU-T T.81 table B.1), and JPEG-LS's SOF55 (T.87 C.1.1)."""
_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
"""Markers without a segment: TEM, RSTn, SOI."""


def stated_size(head: bytes) -> tuple[int, int] | None:
    """Return rows and columns that a JPEG, JPEG-LS or JPEG 2000 codestream states; None where it states none.

    Parameters
    ----------
    head : bytes
        The first `HEAD` bytes of the frame, or all there are.
    """
    if head.startswith(b"\xff\x4f\xff\x51"):  # SOC, SIZ (T.800 A.5.1)
        if len(head) < 24:
            return None
        columns, rows, left, top = struct.unpack(">4I", head[8:24])
        return rows - top, columns - left
    if not head.startswith(b"\xff\xd8"):
        return None
    at = 2
    while at + 9 <= len(head) and head[at] == 0xFF:
        marker = head[at + 1]
        if marker == 0xFF:  # fill
            at += 1
        elif marker in _BARE:
            at += 2
        elif marker in _FRAME_HEADERS:
            rows, columns = struct.unpack(">2H", head[at + 5 : at + 9])
            return (rows, columns) if rows and columns else None  # 0: stated later (DNL, LSE)
        else:
            at += 2 + max(struct.unpack(">H", head[at + 2 : at + 4])[0], 2)
    return None
