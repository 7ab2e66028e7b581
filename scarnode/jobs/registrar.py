"""Brings what lies in the spool into the ledger, behind the listener's back: a slow database never slows a scanner."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from scarnode.jobs.ledger import Ledger
from scarnode.receive import ReceivedInstance, Spool, describe

log = logging.getLogger(__name__)

BATCH = 200
"""Instances per transaction."""

PAUSE = 1.0
"""Seconds between tries while the database is away."""


class Registrar:
    """A thread that registers stored instances.

    What it has in hand when the node ends is not lost: the spool holds the files, and the next start's
    `recover` finds those the ledger does not know.

    Parameters
    ----------
    ledger : Ledger
    spool : Spool
    """

    def __init__(self, ledger: Ledger, spool: Spool) -> None:
        self._ledger, self._spool = ledger, spool
        self._queue: queue.SimpleQueue[Path | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="registrar", daemon=True)
        self._thread.start()

    def add(self, path: Path) -> None:
        """Take note of a stored instance; returns at once."""
        self._queue.put(path)

    def recover(self) -> int:
        """Take note of everything in the spool that the ledger does not know; give how many."""
        known = self._ledger.known_paths()
        unknown = [path for path in self._spool if str(path.relative_to(self._spool.root)) not in known]
        unknown = [path for path in unknown if not self._finish_removing(path)]
        for path in sorted(unknown, key=lambda path: path.stat().st_mtime):
            self.add(path)
        return len(unknown)

    def _finish_removing(self, path: Path) -> bool:
        """Delete a file that retention had marked when the node ended; one that came again since then stays."""
        at = path.stat().st_mtime
        return self._ledger.was_removed(str(path.relative_to(self._spool.root)), at) and self._spool.remove(path, at)

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
                    self._ledger.add_instances(list(self._described(batch)))
                    if tries:
                        log.warning("the ledger can be written again: %d instances registered", len(batch))
                    break
                except (SQLAlchemyError, OSError) as error:
                    if tries % 60 == 0:  # a full disk may last for days: no line every second
                        log.error("the ledger can not be written (%s); trying again", type(error).__name__)
                    tries += 1
                    if self._stopping.wait(PAUSE):
                        return

    def _described(self, batch: list[Path]) -> Iterator[ReceivedInstance]:
        for path in batch:
            try:
                yield describe(self._spool.root, path)
            except FileNotFoundError:  # or everything behind it would wait for ever
                log.error("a received file was taken out of the spool before it was registered: it is lost")

    def _batch(self) -> tuple[list[Path], bool]:
        """Wait for one instance, then take what else has come; the second value tells that the end was asked for."""
        batch = [self._queue.get()]
        while len(batch) < BATCH and not self._queue.empty():
            batch.append(self._queue.get())
        return [path for path in batch if path is not None], None in batch
