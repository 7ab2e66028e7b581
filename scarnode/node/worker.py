"""A process that runs the network, one job at a time; its death costs one attempt of one job."""

from __future__ import annotations

import threading

from pydantic import ValidationError

from scarnode.ledger.model import Analysed, ClaimedJob
from scarnode.node.messages import CLAIMED, SETTINGS, Answer, Failure, Nothing, PutOff, WorkerSettings
from scarnode.util.child import ChildEndedError, ChildProcess, MessageError
from scarnode.util.disk import DISK_FULL

PROGRAM = "scarnode.node.worker_process"

LOADING_LIMIT = 300.0
"""Seconds until a process that still loads the network is ended."""


class WorkerError(Exception):
    """The process ended or was ended before it answered."""


class Worker:
    """One worker process, started when first needed and again after it died.

    A process of its own and not one of a pool: a pool that loses a process fails every job in it, and APScheduler's
    reports such a loss to its log only.

    Parameters
    ----------
    settings : WorkerSettings
    time_limit : float
        Seconds a job may take; after that the process is killed. Loading the network has `LOADING_LIMIT`.
    """

    def __init__(self, settings: WorkerSettings, time_limit: float) -> None:
        settings.results.mkdir(parents=True, exist_ok=True, mode=0o700)  # once: later it may be its disk that is away
        self._settings = settings
        self._time_limit = time_limit
        self._child: ChildProcess | None = None
        self._stopped = threading.Event()
        self._loaded: WorkerSettings | None = None
        self.engine = ""
        """What it computes on, in words; empty before it was first started."""

    @property
    def ready(self) -> bool:
        """Return whether it holds the network."""
        return self._loaded is not None and self.pid is not None

    @property
    def pid(self) -> int | None:
        """The process id; None where no process runs."""
        child = self._child
        return child.pid if child is not None and child.alive else None

    def renew(self, settings: WorkerSettings, time_limit: float) -> None:
        """Run the next job with other settings, in a new process where they differ. Safe from another thread."""
        self._settings, self._time_limit = settings, time_limit

    def start(self) -> None:
        """Start the process and wait until the network is loaded.

        Raises
        ------
        WorkerError
            It could not load the network, or `stop` was called.
        """
        self._started()

    def run(self, claimed: ClaimedJob) -> Analysed | Failure | Nothing | PutOff:
        """Run a job to its end.

        Raises
        ------
        WorkerError
            The process crashed, was killed, answered nonsense, or took longer than the time limit.
        """
        answer = self._ask(self._started(), CLAIMED.dump_json(claimed), "analysing", self._time_limit)
        outcome = answer.outcome
        if outcome is None or (answer.job, answer.attempt) != (claimed.id, claimed.attempt):
            raise self._garbled("analysing")
        unsure = isinstance(outcome, Failure) and not outcome.permanent
        if unsure or (isinstance(outcome, PutOff) and outcome.number not in DISK_FULL):
            self.kill()  # nobody knows in what state it is (memory, open files): the next job gets a new one
        return outcome

    def stop(self) -> None:
        """End the process for good: a job that is to be run next has none. Safe to call from another thread."""
        self._stopped.set()
        self.kill()

    def kill(self) -> None:
        """End the process at once; safe to call from another thread and more than once."""
        if self._child is not None:
            self._child.kill()

    def _started(self) -> ChildProcess:
        """Return the process, with the network loaded by the settings of now."""
        if self._stopped.is_set():
            raise WorkerError("the node stops")
        settings, child = self._settings, self._child
        if child is not None and child.alive and self._loaded == settings:
            return child
        if child is not None:
            child.close()
        self._loaded = None
        try:
            self._child = child = ChildProcess(PROGRAM)
        except OSError as error:
            raise WorkerError(f"the worker process can not be started: {error.strerror}") from None
        if self._stopped.is_set():  # meanwhile: that call found no process to end
            self.kill()
        answer = self._ask(child, SETTINGS.dump_json(settings), "loading the network", LOADING_LIMIT)
        if answer.failure is not None:
            self.kill()
            raise WorkerError(answer.failure.why)
        self._loaded = settings
        self.engine = answer.engine
        return child

    def _ask(self, child: ChildProcess, message: bytes, doing: str, limit: float) -> Answer:
        try:
            return Answer.model_validate_json(child.request(message, limit))
        except TimeoutError:
            raise WorkerError(f"{doing} took longer than {limit:g} s: the worker process was ended") from None
        except ChildEndedError as end:
            raise WorkerError(f"the worker process ended while {doing} ({end})") from None
        except (MessageError, ValidationError):
            raise self._garbled(doing) from None

    def _garbled(self, doing: str) -> WorkerError:
        self.kill()
        return WorkerError(f"the worker process answered nonsense while {doing}, and was ended")
