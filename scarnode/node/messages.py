"""What the node and a worker say to each other: lines of JSON over a socket pair, read with a deadline.

JSON, not pickle: a worker takes in images from outside with code in C, and nothing it sends may run in the node.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from scarnode.ledger.model import Analysed, ClaimedJob

LONGEST = 64 << 20
"""Bytes of one message; a stack of 20 000 frames has 6 MB."""


@dataclass(frozen=True)
class Failure:
    """An attempt that failed while the worker lived on."""

    why: str
    permanent: bool


@dataclass(frozen=True)
class Nothing:
    """A correction that corrects nothing."""

    why: str


@dataclass(frozen=True)
class PutOff:
    """The machine could not do it now, e.g. for want of disk space; the job can be tried again.

    `number` is the errno, 0 where there was no memory.
    """

    why: str
    number: int


class Answer(BaseModel):
    """What a worker says: that it is ready, and on what it computes, or what became of one attempt of one job."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    engine: str = ""
    job: int | None = None
    attempt: int | None = None
    analysed: Analysed | None = None
    failure: Failure | None = None
    nothing: Nothing | None = None
    put_off: PutOff | None = None

    @property
    def outcome(self) -> Analysed | Failure | Nothing | PutOff | None:
        """The one that was given."""
        return self.analysed or self.failure or self.nothing or self.put_off


CLAIMED = TypeAdapter(ClaimedJob)


class GarbledError(Exception):
    """What came is no message."""


def send(line: socket.socket, message: ClaimedJob | Answer) -> None:
    """Send a message; the socket's timeout bounds it.

    Raises
    ------
    OSError
        The other end is gone, or did not read (TimeoutError).
    """
    text = message.model_dump_json() if isinstance(message, Answer) else CLAIMED.dump_json(message).decode()
    line.sendall(text.encode() + b"\n")


def receive(line: socket.socket, kind: Any, seconds: float | None = None) -> Any:
    """Wait for one message.

    Parameters
    ----------
    line : socket.socket
    kind : type
        `Answer` or `ClaimedJob`.
    seconds : float, optional
        Until the whole message is there; default: for ever.

    Raises
    ------
    TimeoutError
        It did not come in time, or not all of it.
    EOFError
        The other end is gone.
    GarbledError
        It is not a message of this kind.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    text = bytearray()
    while not text.endswith(b"\n"):
        if deadline is not None:
            line.settimeout(max(deadline - time.monotonic(), 1e-6))
        piece = line.recv(1 << 16)
        if not piece:
            raise EOFError
        if b"\n" in piece[:-1] or len(text) + len(piece) > LONGEST:
            raise GarbledError
        text += piece
    try:
        return TypeAdapter(kind).validate_json(bytes(text))
    except ValidationError:
        raise GarbledError from None
