"""Brings what lies in the spool into the ledger, behind the listener's back: a slow database never slows a scanner."""

from __future__ import annotations

import itertools
import logging
import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.exc import DataError, SQLAlchemyError

from scarnode.dicom.scp import ReceivedInstance, Spool, describe
from scarnode.ledger.ledger import Ledger
from scarnode.node.postponed import IMAGE, PutOffs
from scarnode.util.clock import monotonic_time
from scarnode.util.disk import why_away
from scarnode.util.errors import system_fault

log = logging.getLogger(__name__)

BATCH = 200
"""Instances per transaction."""

PAUSE = 1.0
"""Seconds between tries while the database is away."""

LULL, MOST_DELAY = 0.05, 1.0
"""Seconds without a new instance for which it waits, and how long at the most: what a sender waits for goes first."""

HOLDS = 60.0
"""Seconds for which an image that the machine can not read keeps studies from being searched: whose it is, is not
known. After that it comes late to its study, which makes a revision."""


@dataclass(frozen=True)
class _Stored:
    """A file in the spool; whether its sender has been, or is now, told that it is durable."""

    number: int
    path: Path
    at: float
    answered: bool = True


class Registrar:
    """A thread that registers stored instances.

    What it has in hand when the node ends is not lost: the spool holds the files, and the next start's
    `recover` finds those the ledger does not know. Such a file may also be what a crash left of one that was never
    answered with Success: it is registered if it is whole.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool
    put_offs : PutOffs, optional
        Is told of images that the machine can not read for now.
    """

    def __init__(self, ledger: Ledger, spool: Spool, put_offs: PutOffs | None = None) -> None:
        self._ledger, self._spool, self._put_offs = ledger, spool, put_offs or PutOffs()
        self._queue: queue.SimpleQueue[_Stored | None] = queue.SimpleQueue()
        self._numbers = itertools.count(1)
        self._in_hand: dict[int, float] = {}
        self._put_off: dict[int, _Stored] = {}
        self._latest = 0.0
        self._order = threading.Lock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self._thread.start()

    def add(self, path: Path) -> None:
        """Take note of a stored instance; returns at once."""
        self._latest = monotonic_time()
        self._take(path, self._latest)

    def _take(self, path: Path, at: float, answered: bool = True) -> None:
        stored = _Stored(next(self._numbers), path, at, answered)
        with self._order:
            self._in_hand[stored.number] = at
        self._queue.put(stored)

    def caught_up_to(self) -> float:
        """Return the time up to which all that was stored is in the ledger (of `scarnode.util.clock.monotonic_time`).

        A study of which an image is still in hand looks quiet to the ledger, and is not.
        """
        with self._order:
            return min(self._in_hand.values(), default=monotonic_time())

    def recover(self) -> int:
        """Take note of everything in the spool that the ledger does not know; give how many."""
        known = self._ledger.studies.known_paths()
        unknown = [path for path in self._spool if self._name(path) not in known]
        unknown = [path for path in unknown if not self._finish_removing(path)]
        times = {path: path.stat().st_mtime for path in unknown}
        for path in sorted(unknown, key=times.__getitem__):
            self._take(path, times[path], answered=False)
        return len(unknown)

    def adopt(self, min_age: float) -> int:
        """Take note of what receivers that died left in a shared spool; give how many.

        Parameters
        ----------
        min_age : float
            Seconds; what came later is in the hands of those that live.
        """
        found = 0
        for folder in self._spool.folders():
            known = self._ledger.studies.known_among([self._name(path) for path in folder])
            unknown = [path for path in folder if self._name(path) not in known and self._spool.age(path) >= min_age]
            for path in unknown:
                if not self._finish_removing(path):
                    self._take(path, monotonic_time(), answered=False)
                    found += 1
        return found

    def _name(self, path: Path) -> str:
        return str(path.relative_to(self._spool.root))

    def _finish_removing(self, path: Path) -> bool:
        """Delete a file that retention had marked when the node ended; one that came again since then stays."""
        at = path.stat().st_mtime
        return self._ledger.retention.was_removed(self._name(path), at) and self._spool.remove(path, at)

    def stop(self) -> None:
        """Register what is in hand and end."""
        self._stopping.set()
        self._queue.put(None)
        self._thread.join(30)

    def _run(self) -> None:
        ended = False
        while not ended:
            (batch, ended), tries = self._batch(), 0
            while batch:
                try:
                    self._register(list(self._described(batch)))
                    self._let_go(batch)
                    if tries:
                        log.warning("the ledger can be written again: %d instances registered", len(batch))
                    break
                except (SQLAlchemyError, OSError) as error:
                    if tries % 60 == 0:  # a full disk may last for days: no line every second
                        log.error("the ledger can not be written (%s); trying again", type(error).__name__)
                    tries += 1
                    if self._stopping.wait(PAUSE):
                        return

    def _let_go(self, batch: list[_Stored]) -> None:
        """Stop holding up searches for what was registered, and what was put off for too long, hold up no search any
        more.
        """
        now = monotonic_time()
        with self._order:
            for stored in batch:
                if stored.number not in self._put_off or now - stored.at > HOLDS:
                    self._in_hand.pop(stored.number, None)

    def _register(self, described: list[ReceivedInstance]) -> None:
        try:
            self._ledger.studies.add_instances(described)
        except DataError:  # PostgreSQL takes no text that is too long: one must not keep the others out
            for one in described:
                try:
                    self._ledger.studies.add_instances([one])
                except DataError:
                    log.error("a file in the spool has a name that the ledger does not take: left alone")

    def _described(self, batch: list[_Stored]) -> Iterator[ReceivedInstance]:
        """Read the headers; a file that is gone, or none of ours, must not keep the others out of the ledger."""
        for stored in batch:
            put_off = False
            try:
                if not stored.answered and not self._spool.is_whole(stored.path) and self._spool.set_aside(stored.path):
                    log.warning(
                        "a crash left part of an image that was not yet answered with Success: set aside in %s",
                        self._spool.root / "broken",
                    )
                    continue
                yield describe(self._spool.root, stored.path)
            except Exception as error:
                put_off = self._is_put_off(stored, error)
            finally:
                if not put_off:
                    self._put_off.pop(stored.number, None)
                    self._put_offs.over(IMAGE, stored.number)

    def _is_put_off(self, stored: _Stored, error: Exception) -> bool:
        """Put an image off that the machine could not read; False: it is none that can be registered."""
        fault = system_fault(error)
        if fault is None:
            log.error("a file in the spool is none that this node wrote (%s): left alone", type(error).__name__)
            return False
        there = not why_away(self._spool.root, self._spool.MARKER)
        self._put_offs.note(IMAGE, stored.number, fault, there)
        if self._put_offs.is_gone(IMAGE, stored.number):
            log.error("a received file was taken out of the spool before it was registered: it is lost")
            return False
        if stored.number not in self._put_off:
            log.error("a received file can not be read (%s, a fault of the system): trying again", fault.why)
        self._put_off[stored.number] = stored
        return True

    def _batch(self) -> tuple[list[_Stored], bool]:
        """Wait for one instance, then take what else has come; the second value tells that the end was asked for."""
        waiting = self._put_offs.waiting(IMAGE)
        batch: list[_Stored | None] = [stored for number, stored in self._put_off.items() if number not in waiting]
        try:
            batch.append(self._queue.get(timeout=PAUSE if self._put_off else None))
        except queue.Empty:
            return [stored for stored in batch if stored is not None], False
        self._let_pass()
        while len(batch) < BATCH and not self._queue.empty():
            batch.append(self._queue.get())
        return [stored for stored in batch if stored is not None], None in batch

    def _let_pass(self) -> None:
        """Wait for a lull in what comes, within reason: senders and this thread share one interpreter."""
        with self._order:
            latest_start = min(self._in_hand.values(), default=0.0) + MOST_DELAY
        while not self._stopping.is_set() and (pause := min(self._latest + LULL, latest_start) - monotonic_time()) > 0:
            self._stopping.wait(pause)
