"""What a child process of ours does of its own accord."""

from __future__ import annotations

import multiprocessing
import os
import threading


def end_with_parent() -> None:
    """End this process, in the middle of its work, when the one that started it is gone, however that ended.

    From then on nobody waits for what it makes, and whoever takes up the work starts a process of its own.
    """
    threading.Thread(target=_wait_and_end, name="parent", daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
