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

    def __init__(self, reactor: threading.Thread) -> None:
        self._reactor = reactor
        self._condition = threading.Condition()
        self._open = True
        self._waiting = False

    def set(self) -> None:
        with self._condition:
            self._open = True
            self._condition.notify_all()

    def clear(self) -> None:
        """Close, and wait until the reactor stands here.

        Raises
        ------
        RuntimeError
            It has ended, and the association with it, since the request was begun (its file may have taken a while to
            read). It took the word of the end, which is given once; the request would wait its whole time for another.
        """
        with self._condition:
            self._open = False
            while not self._waiting and threading.current_thread() is not self._reactor:
                if not self._reactor.is_alive():
                    raise RuntimeError("the association ended before the request was made")
                self._condition.wait(0.01)

    def wait(self) -> None:
        with self._condition:
            self._waiting = True
            self._condition.notify_all()
            while not self._open:
                self._condition.wait()
            self._waiting = False


def held(association: Association) -> Association:
    """Route the answers on an association to the caller, never to pynetdicom's reactor.

    Parameters
    ----------
    association : pynetdicom.association.Association
        One that we requested, before the first request is made on it.

    Returns
    -------
    pynetdicom.association.Association
        The same.
    """
    checkpoint: Any = _Checkpoint(association)  # pynetdicom knows a threading.Event there
    association._reactor_checkpoint = checkpoint
    return association
