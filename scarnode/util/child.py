"""A child process that ends with its parent."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process at once when its parent process has ended, for whatever reason.

    Nobody waits for its result any more. A restarted node starts a process of its own.
    """
    threading.Thread(target=_wait_and_end, name="parent", daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
