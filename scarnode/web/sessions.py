"""Who is logged in. Kept in memory: a restart of the node logs all out."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from scarnode.config.accounts import Role

IDLE_SECONDS, LONGEST_SECONDS = 30 * 60.0, 12 * 3600.0
"""A session ends after so long without a click, and at the latest after so long."""
MOST_SESSIONS = 200
MOST_SEARCHES = 30
"""Kept of one session."""
TOLD_SECONDS = 600.0
"""For so long the pictures of a study count as one view with its page."""


@dataclass
class Session:
    """A person who logged in.

    Attributes
    ----------
    name : str
    role : Role
    address : str
        Where from.
    """

    name: str
    role: Role
    address: str
    opened: float
    seen: float
    searches: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)
    told: dict[str, float] = field(default_factory=dict, repr=False)
    flash: str = ""
    """Said on the next page."""

    def keep_search(self, words: str) -> str:
        """Keep what was searched for, and give the key that stands for it in addresses: they may be logged."""
        key = secrets.token_urlsafe(9)
        self.searches[key] = words
        while len(self.searches) > MOST_SEARCHES:
            self.searches.popitem(last=False)
        return key

    def was_told(self, study: str) -> bool:
        """Return whether the audit trail knows that this person looks at a study now."""
        return time.monotonic() - self.told.get(study, -TOLD_SECONDS) < TOLD_SECONDS

    def mark_notified(self, study: str) -> None:
        """Note that the audit trail was told."""
        if len(self.told) > 1000:
            self.told.clear()
        self.told[study] = time.monotonic()


class Sessions:
    """The open sessions, found by a random token of which only a digest is kept.

    Parameters
    ----------
    clock : callable, optional
        Gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[bytes, Session] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, name: str, role: Role, address: str) -> str:
        """Log a person in, and give the token."""
        token, now = secrets.token_urlsafe(32), self._clock()
        with self._lock:
            self._open[_digest(token)] = Session(name, role, address, now, now)
            while len(self._open) > MOST_SESSIONS:
                self._open.popitem(last=False)
        return token

    def find(self, token: str, click: bool = True) -> Session | None:
        """Return the session of a token.

        Parameters
        ----------
        token : str
        click : bool
            A person asked, not a page that renews itself.
        """
        key, now = _digest(token), self._clock()
        with self._lock:
            session = self._open.get(key)
            if session is None:
                return None
            if now - session.seen > IDLE_SECONDS or now - session.opened > LONGEST_SECONDS:
                del self._open[key]
                return None
            if click:
                session.seen = now
                self._open.move_to_end(key)
            return session

    def close(self, token: str) -> None:
        """Log out."""
        with self._lock:
            self._open.pop(_digest(token), None)

    def close_all(self, names: Collection[str]) -> None:
        """Log these people out, wherever they are."""
        with self._lock:
            for key in [key for key, session in self._open.items() if session.name in names]:
                del self._open[key]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
