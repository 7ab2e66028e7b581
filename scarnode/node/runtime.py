"""What the roles of one process have in common: ledger, spool, and the settings of this moment."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

from scarnode.config import Settings
from scarnode.dicom.scp import CommitmentReport, Spool
from scarnode.ledger.ledger import Ledger, lock_ledger
from scarnode.ledger.nodes import new_name
from scarnode.ledger.states import JobState
from scarnode.ledger.task_locks import TaskLocks
from scarnode.monitoring.alarm_rules import certificate_ends
from scarnode.monitoring.ledger_file import LedgerWatch
from scarnode.node.cluster.heartbeat import Heartbeat
from scarnode.node.cluster.hints import Dispatcher
from scarnode.node.ledger_news import EVERY, NAME, LedgerNews
from scarnode.node.postponed import DELIVERY, JOB, REPORT, SEARCH, PutOffs
from scarnode.node.scheduler import Scheduler, Task, Tasks
from scarnode.node.tasks.disk_space import DiskWatch
from scarnode.node.tasks.outbox import resend_delay
from scarnode.pipeline.segment import read_identity
from scarnode.util.durable import check_writable
from scarnode.util.errors import ConfigError, SpoolError

ROLES = ("receive", "work", "deliver")
"""All that there is to do; a node of one machine does all of it in one process."""

LONGEST_ALARM = 64
"""Characters that the ledger keeps of an alarm's name."""

AUDIT_ALARM = "audit_repository"
"""Stands while audit messages wait for their repository."""

SYSTEM_ALARM = "system_faults"
"""Stands while work is put off for a fault of this machine, e.g. a disk's."""


class Role(Protocol):
    """A part of what a node does."""

    def recover(self) -> int:
        """Take up what a former run left; give how much. Called once, before the tasks."""
        ...

    def tasks(self) -> Tasks:
        """Return what is to be done again and again, by the settings of now."""
        ...

    def reload_settings(self) -> None:
        """Go on by the settings that `Runtime.use` was given."""
        ...

    def stop(self) -> None:
        """Begin nothing new, and give up what is in hand; the tasks may still run."""
        ...


class Runtime:
    """Ledger, spool and settings, opened once for all roles of a process.

    Parameters
    ----------
    settings : Settings
    roles : sequence of str
        Of `ROLES`.

    Raises
    ------
    ScarnodeError
        Weights missing or not the ones their card describes, spool or ledger not usable, or a ledger that this
        process can not share with those that have the other roles.
    """

    def __init__(self, settings: Settings, roles: Sequence[str] = ROLES) -> None:
        if set(roles) != set(ROLES) and settings.ledger.url.startswith("sqlite"):
            todo = "Set [ledger] url to a PostgreSQL database, or serve all roles in one process (no --role)"
            raise ConfigError(f"role {', '.join(roles)} alone, on SQLite, which one process uses", "--role", todo)
        self.roles = tuple(role for role in ROLES if role in roles)
        self.host = socket.gethostname()
        self.stopping = threading.Event()
        self.model = read_identity(settings.segment.weights)
        self.use(settings)
        self.ledger_lock = lock_ledger(settings.ledger.url)
        self.ledger = Ledger(settings.ledger.url, actor=f"node {self.host}")
        self.shared = self.ledger.store.shared
        self.owner = new_name() if self.shared else self.host
        """Whose the jobs are that this process runs."""
        self.spool = Spool(settings.spool.path, settings.spool.free_space_limit(), self.shared)
        _make_results_folder(settings.results.path)
        self.put_offs = PutOffs()
        self.disks = DiskWatch(self.ledger, self.spool, settings.folders(), self.alarm, self.put_offs.no_room)
        self.audit = settings.audit_trail()
        self.ledger_watch = LedgerWatch(self.ledger, self.ledger_lock, self.spool, lambda: self.settings)
        self.task_locks = TaskLocks(self.ledger.store.engine)
        self.heartbeat: Heartbeat | None = None
        self.scheduler = Scheduler()
        self.ledger_news = LedgerNews(self.ledger, lambda: self.settings.study.quiet_seconds, self.scheduler.wake)
        self.dispatcher = Dispatcher(settings.cluster.broker, self._tell_broker)

    def use(self, settings: Settings) -> None:
        """Apply settings: the only place where they, and what is made of them, are set."""
        self.settings, self.settings_taken_at, self.settings_good = settings, time.time(), True
        self.objects = settings.objects()
        self.destinations = settings.peers()
        self.committing = {name: peer.ae for name, peer in self.destinations.items() if peer.commitment and peer.ae}
        self.certificate_ends = certificate_ends(settings)

    def alarm(self, name: str) -> str:
        """Return the name of an alarm on this process: beside others it is one of its own, which ends with it."""
        return f"{name}_{self.owner}"[-LONGEST_ALARM:] if self.shared else name

    def wake(self, kind: str) -> None:
        """Run every task of a kind (what stands before the dash in its name) now."""
        for name in self.scheduler.names:
            if name == kind or name.startswith(kind + "-"):
                self.scheduler.wake(name)

    def sure(self) -> bool:
        """Return whether the ledger was there long enough for others to have told what they do."""
        return self.heartbeat is None or self.heartbeat.sure()

    def take_commitment_report(self, report: CommitmentReport, ae_title: str) -> bool:
        """Take what a destination reports on a storage commitment, wherever it came."""
        names = [name for name, peer in self.committing.items() if peer.ae_title.strip() == ae_title]
        return self.ledger.commitments.take_commitment_report(
            report, names, partial(resend_delay, self.settings.deliver)
        )

    def tasks(self) -> Tasks:
        """Return the tasks of every process."""
        tasks = {
            NAME: Task(self.ledger_news.look, EVERY),
            "disks": Task(self.disks.look),
            "faults": Task(self._tell_faults),
            **{name: Task(run) for name, run in self.ledger_watch.tasks().items()},
        }
        if self.heartbeat:
            tasks["pulse"] = Task(self.heartbeat.beat)
        if self.audit.on:
            tasks["audit"] = Task(self._tell_repository)
        return tasks

    def reload_settings(self) -> None:
        """Go on by the settings that `use` was given."""
        self.spool.floor = self.settings.spool.free_space_limit()
        self.audit.send_to(self.settings.audit.repository(self.settings.tls))

    def close(self) -> None:
        """Close all of it."""
        self.dispatcher.close()
        if self.heartbeat:
            self.heartbeat.end()
        self.task_locks.close()
        self.ledger.close()
        if self.ledger_lock:
            self.ledger_lock.close()
        self.spool.close()

    def _tell_repository(self) -> None:
        """Send the audit messages that wait."""
        with self.task_locks.turn("audit") as mine:
            if mine:
                self.audit.send_due(self.stopping)
        self.ledger.alarms.set_alarm(self.alarm(AUDIT_ALARM), self.audit.trouble)

    def _tell_faults(self) -> None:
        """Keep the alarm on what the machine keeps from being done."""
        ledger = self.ledger
        self.put_offs.keep(SEARCH, ledger.studies.unsearched_among)
        self.put_offs.keep(JOB, ledger.jobs.jobs_among)
        self.put_offs.keep(DELIVERY, ledger.deliveries.pending_among)
        self.put_offs.keep(REPORT, partial(ledger.jobs.jobs_among, states=(JobState.FAILED,)))
        self.ledger.alarms.set_alarm(self.alarm(SYSTEM_ALARM), self.put_offs.in_words(), lambda former, detail: False)

    def _tell_broker(self, trouble: str) -> None:
        self.ledger.alarms.set_alarm(self.alarm("broker"), trouble)


def _make_results_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        check_writable(path)
    except OSError as error:
        raise SpoolError(
            f"can not be written ({error.strerror})", str(path), "Set [results] path to a folder this user can write"
        ) from None
