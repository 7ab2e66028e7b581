"""pynetdicom's reactor, held still while we wait for an answer."""

from __future__ import annotations

import threading
from typing import Any

from pynetdicom.association import Association


class _Checkpoint:
    """Stands in for the event that a reactor waits at on each of its rounds, and knows whether it does.

    `Association.send_c_store` and its like clear that event, wait until a flag says that the reactor is paused, and
    then read the answer. The flag is lowered a moment after the reactor has left the checkpoint: on a busy machine
    the reactor may be on its way with its flag still up, take the answer itself, and throw it away ("Received
    unexpected C-STORE service message"). The request then waits for its whole time-out, and is made again.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._open = True
        self._waiting = False

    def set(self) -> None:
        with self._condition:
            self._open = True
            self._condition.notify_all()

    def clear(self) -> None:
        with self._condition:
            self._open = False

    def wait(self) -> None:
        with self._condition:
            self._waiting = True
            self._condition.notify_all()
            while not self._open:
                self._condition.wait()
            self._waiting = False

    def hold(self, association: Association) -> None:
        """Close, and wait until the reactor stands here, or has ended."""
        with self._condition:
            self._open = False
            while not self._waiting and association.is_alive():
                self._condition.wait(0.01)


def hold_reactor(association: Association) -> None:
    """Make sure that the next answer on an association goes to who asks next, not to pynetdicom's reactor.

    Call it right before each ``send_*``, which lets the reactor go on when it has its answer.

    Parameters
    ----------
    association : pynetdicom.association.Association
        One that we requested.
    """
    checkpoint: Any = association._reactor_checkpoint  # pynetdicom knows a threading.Event there
    if not isinstance(checkpoint, _Checkpoint):
        checkpoint = _Checkpoint()
        association._reactor_checkpoint = checkpoint
    checkpoint.hold(association)
