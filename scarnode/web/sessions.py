"""Sessions of logged-in users. They are kept in memory: a restart of the node logs everybody out."""

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
"""A session ends after this time without a click, and after this time in any case."""
MOST_SESSIONS = 200
MOST_SEARCHES = 30
"""Searches that are kept for one session."""
VIEW_SECONDS = 600.0
"""Pictures of a study within this time of its page are recorded as one access with it."""


@dataclass
class Session:
    """The session of a logged-in user.

    Attributes
    ----------
    name : str
    role : Role
    address : str
        IP address of the browser.
    """

    name: str
    role: Role
    address: str
    opened: float
    seen: float
    searches: OrderedDict[str, str] = field(default_factory=OrderedDict, repr=False)
    viewed: dict[str, float] = field(default_factory=dict, repr=False)
    flash: str = ""
    """A message for the next page."""

    def store_search(self, text: str) -> str:
        """Store a search and return its key for use in URLs: these may be logged."""
        key = secrets.token_urlsafe(9)
        self.searches[key] = text
        while len(self.searches) > MOST_SEARCHES:
            self.searches.popitem(last=False)
        return key

    def was_recorded(self, study: str) -> bool:
        """Return whether this user's access to a study was recorded within `VIEW_SECONDS`."""
        return time.monotonic() - self.viewed.get(study, -VIEW_SECONDS) < VIEW_SECONDS

    def mark_recorded(self, study: str) -> None:
        """Note that the access to a study was recorded."""
        if len(self.viewed) > 1000:
            self.viewed.clear()
        self.viewed[study] = time.monotonic()


class Sessions:
    """The open sessions, found by a random token. Only the token's digest is kept.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._open: OrderedDict[bytes, Session] = OrderedDict()
        self._lock = threading.Lock()

    def open(self, name: str, role: Role, address: str) -> str:
        """Open a session and return its token."""
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
            The request is a user's, not that of a page that renews itself.
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
        """Close a session."""
        with self._lock:
            self._open.pop(_digest(token), None)

    def close_all(self, names: Collection[str]) -> None:
        """Close all sessions of some users."""
        with self._lock:
            for key in [key for key, session in self._open.items() if session.name in names]:
                del self._open[key]


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
