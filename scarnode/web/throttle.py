"""Rate limit of wrong passwords and codes. Kept in memory: a restart of the node resets it."""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

WINDOW_SECONDS = 300.0
MOST_BY_NAME, MOST_BY_ADDRESS = 10, 30
"""Most wrong passwords within the window, for one name and from one address. Then every attempt is refused."""
LIMITS = {"name": MOST_BY_NAME, "address": MOST_BY_ADDRESS, "code": MOST_BY_ADDRESS}
"""Limits by kind of key; `code` counts the wrong one-time codes of an address."""
MOST_KEPT = 20_000
"""Most names and addresses that are counted, some 10 MB. Locked ones are dropped last."""
BUSY_SECONDS = 1
"""Seconds to wait after a refusal because too many attempts are being checked."""

Key = tuple[str, str]
"""One of `LIMITS`, and the name or address."""


@dataclass
class _Tries:
    wrong: deque[float] = field(default_factory=deque)
    running: int = 0
    """Attempts that are being checked, each of which may be wrong."""


class Throttle:
    """Counts wrong attempts. An attempt counts before it is checked, so parallel attempts gain nothing.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._tries: OrderedDict[Key, _Tries] = OrderedDict()
        self._lock = threading.Lock()

    def begin(self, keys: Collection[Key], kept: Iterable[Key] = ()) -> int:
        """Count an attempt that is about to be checked.

        Parameters
        ----------
        keys : collection of (str, str)
            What it is counted for.
        kept : iterable of (str, str)
            Keys that are never dropped while they count: the existing accounts.

        Returns
        -------
        int
            0: the attempt may be checked; call `end` afterwards. Else the seconds until the next attempt.
        """
        now = self._clock()
        with self._lock:
            if wait := max(self._wait(key, now) for key in keys):
                return wait
            for key in keys:
                self._tries.setdefault(key, _Tries()).running += 1
                self._tries.move_to_end(key)
            if len(self._tries) > MOST_KEPT:
                self._forget(now, set(kept))
        return 0

    def end(self, keys: Collection[Key], right: bool) -> None:
        """Record the result of an attempt that `begin` allowed."""
        now = self._clock()
        with self._lock:
            for key in keys:
                tries = self._tries.setdefault(key, _Tries())
                tries.running = max(0, tries.running - 1)
                if not right:
                    tries.wrong.append(now)
                elif not tries.wrong and not tries.running:
                    del self._tries[key]

    def _wait(self, key: Key, now: float) -> int:
        tries, most = self._tries.get(key), LIMITS[key[0]]
        if tries is None:
            return 0
        while tries.wrong and tries.wrong[0] + WINDOW_SECONDS <= now:
            tries.wrong.popleft()
        if len(tries.wrong) >= most:
            return math.ceil(tries.wrong[-most] + WINDOW_SECONDS - now)
        return BUSY_SECONDS if len(tries.wrong) + tries.running >= most else 0

    def _forget(self, now: float, kept: set[Key]) -> None:
        """Drop counts outside the window; if that is not enough, the key that is farthest from its limit."""
        for key in [key for key in self._tries if not self._tries[key].running and key not in kept]:
            if not self._tries[key].wrong or self._tries[key].wrong[-1] + WINDOW_SECONDS <= now:
                del self._tries[key]
        while len(self._tries) > MOST_KEPT:
            idle = (key for key, tries in self._tries.items() if not tries.running and key not in kept)
            least = min(idle, key=lambda key: len(self._tries[key].wrong) / LIMITS[key[0]], default=None)
            if least is None:
                return
            del self._tries[least]


def network_of(address: str) -> str:
    """Return the network that counts as one address: of IPv6 the /64, which one machine may use whole."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return "(no address)"
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(found) if found.is_loopback else f"{ipaddress.IPv6Address(int(found) >> 64 << 64)}/64"
