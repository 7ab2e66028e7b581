"""The node as a service: started, told by SIGHUP to read config.ini again, ended by SIGTERM."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from types import FrameType

import pydicom.config
from sqlalchemy.exc import SQLAlchemyError

from scarnode.config import read_settings
from scarnode.node.node import Node
from scarnode.node.roles import ROLES
from scarnode.node.systemd import notify_systemd
from scarnode.util.errors import ScarnodeError
from scarnode.util.logs import log_to_stderr

log = logging.getLogger(__name__)

STOP_SECONDS = 10.0
"""How long a stop waits for peers that hang, a search or a locked ledger; systemd kills after 60 (TimeoutStopSec)."""

SWITCH_SECONDS = 0.0005
"""How long a thread that computes keeps the interpreter from one that has an answer to give. Python's own 5 ms are as
long as a whole image takes, and come again with each of its dozen system calls."""

ENDS = (signal.SIGTERM, signal.SIGINT)
"""Signals that end the node."""

CONFIG_ALARM = "config"
"""Stands while the node does not run by what config.ini says."""


def serve(path: Path, roles: Sequence[str] = ROLES) -> None:
    """Run the node of a config.ini until SIGTERM or SIGINT; after that it ends within `STOP_SECONDS`, with exit code 0.

    SIGHUP has it read config.ini again, and take over what it can while it runs: see `scarnode.config.live`.

    Parameters
    ----------
    path : Path
    roles : sequence of str
        What this process does, of `scarnode.node.roles.ROLES`.

    Raises
    ------
    ScarnodeError
        config.ini has faults, or as of `Node`.
    """
    settings = read_settings(path)
    log_to_stderr(settings.log.level)
    sys.setswitchinterval(SWITCH_SECONDS)
    # pydicom would match each UID of an association request, and each value read, only to warn of what nobody hears
    pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
    os.umask(0o077)
    orders = take_orders()
    node = Node(settings, roles)
    gc.collect()
    gc.freeze()  # pynetdicom collects garbage twice a minute, and all waited 0.2 s for it
    node.ledger.alarms.set_alarm(node.runtime.alarm(CONFIG_ALARM), "")
    notify_systemd("READY=1")
    one_at_a_time = threading.Lock()
    while (number := orders.recv(1)[0]) not in ENDS:
        if number == signal.SIGHUP:  # in a thread of its own: a ledger that is locked must not keep SIGTERM waiting
            threading.Thread(target=reload, args=(node, path, one_at_a_time), name="reload", daemon=True).start()
    notify_systemd("STOPPING=1")
    node.stop()
    if node.ledger.store.file_fault():  # SQLite's last close would delete by name what is no longer ours
        logging.shutdown()
        os._exit(0)


def take_orders() -> socket.socket:
    """Take SIGTERM, SIGINT and SIGHUP from now on; the first to end has `STOP_SECONDS`, wherever the node is by then.

    Returns
    -------
    socket.socket
        Each signal's number is a byte to be read from it. A signal that comes when nobody waits is there for who reads
        next; Python's own waits (of a queue, a lock, `signal.pause`) miss one that comes as they begin.
    """
    ended = threading.Event()

    def order(number: int, _frame: FrameType | None) -> None:
        if number in ENDS and not ended.is_set():
            ended.set()
            deadline = threading.Timer(STOP_SECONDS, _leave)
            deadline.daemon = True
            deadline.start()

    orders, tell = socket.socketpair()
    tell.setblocking(False)
    signal.set_wakeup_fd(tell.detach())
    for number in (*ENDS, signal.SIGHUP):
        signal.signal(number, order)
    return orders


def reload(node: Node, path: Path, one_at_a_time: threading.Lock) -> None:
    """Read config.ini again; a file with faults changes nothing, what needs a restart stays as it was."""
    with one_at_a_time:
        notify_systemd(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            _reload(node, path)
        except SQLAlchemyError as error:
            log.error("the ledger can not be written (%s): reload again", type(error).__name__)
        notify_systemd("READY=1")


def _reload(node: Node, path: Path) -> None:
    try:
        kept = node.reload_settings(read_settings(path))
    except (ScarnodeError, OSError, ValueError) as error:  # the last two: certificates that changed this very moment
        for line in str(error).splitlines():
            log.error("not taken over: %s", line)
        what = "config.ini has faults, the former settings hold: correct what `scarnode config check` says, then reload"
        node.runtime.settings_good = False
        node.ledger.alarms.set_alarm(node.runtime.alarm(CONFIG_ALARM), what, _anew)
        return
    if kept:
        log.warning("config.ini taken over, but for what needs a restart: %s", ", ".join(kept))
    else:
        log.info("config.ini taken over")
    logging.getLogger().setLevel(node.settings.log.level)
    what = f"a restart is needed: {', '.join(kept)}" if kept else ""
    node.ledger.alarms.set_alarm(node.runtime.alarm(CONFIG_ALARM), what, _anew)


def _anew(_former: str, _detail: str) -> bool:
    """Return whether another detail is news."""
    return True


def _leave() -> None:
    """End at once, whatever still hangs: the next start takes up what is left, as after a crash."""
    log.warning("stopped after %g s: what did not end by then is taken up at the next start", STOP_SECONDS)
    os._exit(0)
