"""Refusals: every way in which a peer is turned away, what it is told, and what log and audit are told."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import Enum

log = logging.getLogger(__name__)


class Reason(Enum):
    """Why a peer is turned away: words for people, and the PDU (PS3.8 9.3) it gets before the connection is closed.

    An A-ASSOCIATE-RJ holds result (1 permanent, 2 transient), source and reason of PS3.8 Table 9-21; an A-ABORT holds
    source and reason of Table 9-26. A permanent rejection makes senders give up, so only what a person must set right
    is one.
    """

    CALLED_AE_TITLE = ("called AE title not recognised", "reject", 1, 1, 7)
    CALLING_AE_TITLE = ("calling AE title not recognised", "reject", 1, 1, 3)
    CALLING_ADDRESS = ("calling AE title may not come from this address", "reject", 1, 1, 3)
    PROTOCOL_VERSION = ("protocol version not supported", "reject", 1, 2, 2)
    UNRESOLVED = ("the host name set for the calling AE title can not be resolved", "reject", 2, 3, 1)
    STOPPING = ("the node is stopping", "reject", 2, 3, 1)
    TOO_MANY = ("too many associations", "reject", 2, 3, 2)
    TOO_MANY_FROM_ADDRESS = ("too many associations from this address", "reject", 2, 3, 2)

    NO_VALID_REQUEST = ("no valid association request", "abort", 0, 0)
    PDU_TOO_LONG = ("a PDU is longer than it may be", "abort", 2, 6)
    MESSAGE_TOO_LONG = ("a message is longer than it may be", "abort", 2, 0)
    COMMAND_TOO_LONG = ("a command set is longer than it may be", "abort", 2, 0)
    TOO_MANY_FRAGMENTS = ("a message comes in far more fragments than its bytes need", "abort", 2, 0)
    OUT_OF_ORDER = ("a fragment of a command came inside a dataset", "abort", 2, 5)
    OUT_OF_MEMORY = ("the messages in hand take all the memory that they may", "abort", 2, 0)
    TOO_SLOW = ("silent or too slow in the middle of a message", "abort", 2, 0)
    IDLE = ("an association without a message", "abort", 2, 0)

    NO_REQUEST = ("no association request in time", "close")
    CROWDED_OUT = ("too many connections without an association request", "close")
    NO_TLS = ("the TLS handshake failed", "close")

    @property
    def words(self) -> str:
        """What it means."""
        return self.value[0]

    @property
    def pdu(self) -> bytes:
        """A-ASSOCIATE-RJ, A-ABORT, or nothing."""
        _, kind, *codes = self.value
        if kind == "close":
            return b""
        head = {"reject": b"\x03\0\0\0\0\x04\0", "abort": b"\x07\0\0\0\0\x04\0\0"}[kind]
        return head + bytes(codes)

    @property
    def transient(self) -> bool:
        """Return whether the same peer may well get in later, without a change by a person."""
        return self.value[1] != "reject" or self.value[2] == 2


@dataclass(frozen=True)
class Rejection:
    """A peer that was turned away.

    Attributes
    ----------
    reason : Reason
    address : str
        The peer's IP address.
    port : int
        The peer's port.
    calling_ae_title, called_ae_title : str
        What it said, safe to show; empty where it did not come so far.
    detail : str
        More, e.g. what the TLS library says.
    """

    reason: Reason
    address: str
    port: int
    calling_ae_title: str = ""
    called_ae_title: str = ""
    detail: str = ""

    def __str__(self) -> str:
        titles = ""
        if self.calling_ae_title or self.called_ae_title:
            titles = f' (calling "{self.calling_ae_title}", called "{self.called_ae_title}")'
        return f"{self.address}:{self.port}{titles}: {self.reason.words}" + (f" ({self.detail})" if self.detail else "")


def printable(title: str) -> str:
    """Return an AE title of the wire for people: whatever is no printable ASCII, or could end its quotes, as ``?``."""
    return "".join(c if c.isascii() and c.isprintable() and c not in '"\\' else "?" for c in title[:16])


def write_down(refusal: Rejection) -> None:
    """Leave one line in the log."""
    log.warning("Refused %s", refusal)
