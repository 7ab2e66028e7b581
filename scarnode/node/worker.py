"""A process that runs the network, one job at a time; its death costs one attempt of one job."""

from __future__ import annotations

import multiprocessing
import os
import select
import signal
import socket
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from errno import EMFILE, ENOENT, ENOSPC
from pathlib import Path
from typing import TYPE_CHECKING, Any

import scarnode
from scarnode.ledger.model import Analysed, ClaimedJob
from scarnode.ledger.results import anchored, provenance_of, write_results
from scarnode.node.memory import bound_can_be_had, bound_this_process, give_back_freed, spare_descriptors
from scarnode.node.messages import Answer, Failure, GarbledError, Nothing, PutOff, receive, send
from scarnode.pipeline.report import USUAL
from scarnode.util.child import end_with_parent
from scarnode.util.disk import DISK_FULL, NO_LIMIT, FreeSpaceLimit
from scarnode.util.errors import InputError, ScarnodeError, SystemFaultError, WeightsError, system_fault
from scarnode.util.logs import log_to_stderr

if TYPE_CHECKING:
    from scarnode.pipeline.segment import Segmenter


GIVES_WAY = 5
"""Niceness of a worker over the node's: where they share cores, scanners and archives do not wait for the network."""


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process needs to know.

    Attributes
    ----------
    weights : Path or None
        None: the shipped ones.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    threads : int
        CPU threads.
    spool, results : Path
        Roots that the relative paths of a job count from.
    kinds : tuple of str
        Which of `scarnode.pipeline.report.KINDS` to make.
    sha256 : str
        Of the weights that this node's jobs name; empty: any.
    memory : float
        Gigabytes that a job may take on top of the loaded network; 0: any amount.
    floor : Floor
        Of the results' file system; half of it may be used up by results.
    """

    weights: Path | None
    device: str
    threads: int
    spool: Path
    results: Path
    kinds: tuple[str, ...] = USUAL
    sha256: str = ""
    memory: float = 0.0
    floor: FreeSpaceLimit = NO_LIMIT


REST = 10.0
"""Seconds without a job after which a worker gives back memory: the next job takes 50 ms longer, and no more."""

LOADING_LIMIT = 300.0
"""Seconds until a process that still loads the network is ended."""


class WorkerError(Exception):
    """The process ended or was ended before it answered."""


class Worker:
    """One worker process, started when first needed and again after it died.

    A plain process with a pipe, not a process pool: a pool that loses a process fails every job in it, and
    APScheduler's reports such a loss to its log only.

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
        self._process: multiprocessing.process.BaseProcess | None = None
        self._line: socket.socket | None = None
        self._stopped = threading.Event()
        self._loaded: WorkerSettings | None = None
        self.engine = ""
        """What it computes on, in words; empty before it was first started."""

    @property
    def ready(self) -> bool:
        """Return whether it holds the network."""
        process = self._process
        return self._loaded is not None and process is not None and process.is_alive()

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
        if self._stopped.is_set():
            raise WorkerError("the node stops")
        settings = self._settings
        if self._process is not None and self._process.is_alive():
            if self._loaded in (None, settings):
                return
            self.kill()
        if self._line is not None:
            self._line.close()
        self._loaded = None
        context = multiprocessing.get_context("spawn")
        try:
            self._line, theirs = socket.socketpair()
        except OSError as error:
            raise WorkerError(f"the worker process can not be started: {error.strerror}") from None
        self._process = context.Process(target=_serve, args=(theirs, settings), name="scarnode-worker", daemon=True)
        try:
            self._process.start()
        except OSError as error:
            raise WorkerError(f"the worker process can not be started: {error.strerror}") from None
        finally:
            theirs.close()  # so that a dead process reads as end of file
        if self._stopped.is_set():  # meanwhile: that call found no process to end
            self.kill()
        answer = self._answer(self._line, "loading the network", LOADING_LIMIT)
        if answer.failure is not None:
            self.kill()
            raise WorkerError(answer.failure.why)
        self._loaded = settings
        self.engine = answer.engine

    def run(self, claimed: ClaimedJob) -> Analysed | Failure | Nothing | PutOff:
        """Run a job to its end.

        Raises
        ------
        WorkerError
            The process crashed, was killed, answered nonsense, or took longer than the time limit.
        """
        self.start()
        line = self._line
        if line is None:
            raise WorkerError("the worker process is not there")
        line.settimeout(self._time_limit)
        with suppress(OSError):  # it died while idle, or does not read: the answer tells how
            send(line, claimed)
        answer = self._answer(line, "analysing", self._time_limit)
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
        process = self._process
        if process is not None and process.is_alive():
            process.kill()
            process.join(10)

    def _answer(self, line: socket.socket, doing: str, limit: float) -> Answer:
        try:
            return receive(line, Answer, limit)
        except TimeoutError:
            self.kill()
            raise WorkerError(f"{doing} took longer than {limit:g} s: the worker process was ended") from None
        except GarbledError:
            raise self._garbled(doing) from None
        except (EOFError, OSError):
            raise WorkerError(f"the worker process ended while {doing} ({self._how_it_ended()})") from None

    def _garbled(self, doing: str) -> WorkerError:
        self.kill()
        return WorkerError(f"the worker process answered nonsense while {doing}, and was ended")

    def _how_it_ended(self) -> str:
        if self._process is None:
            return "unknown"
        self._process.join(2)
        if self._process.is_alive():  # it closed its end and lives on
            self.kill()
            return "it hung up"
        code = self._process.exitcode
        if code is None or code >= 0:
            return f"exit code {code}"
        name = signal.Signals(-code).name
        known = {"SIGKILL": "by hand, or by the kernel for want of memory", "SIGTERM": "by hand"}
        return f"signal {name}: {known.get(name, 'a crash in native code')}"


def _serve(line: socket.socket, settings: WorkerSettings) -> None:
    """Answer jobs until the node is gone, however it ends."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's to handle
    os.nice(GIVES_WAY)
    os.umask(0o077)
    line.set_inheritable(False)
    log_to_stderr("WARNING")
    import torch

    from scarnode.pipeline.segment import Segmenter

    try:
        torch.set_num_threads(settings.threads)
        segmenter = Segmenter(settings.weights, settings.device)
        if settings.sha256 not in ("", segmenter.identity.sha256):
            raise WeightsError("the weights were changed while the node ran", str(settings.weights), "restart the node")
        bound_this_process(settings.memory)
    except Exception as error:  # a device that is not there, too little memory ...: the node must hear why
        why = str(error) if isinstance(error, ScarnodeError) else f"{type(error).__name__}: {error}"
        send(line, Answer(failure=Failure(f"the network can not be loaded: {why}", permanent=False)))
        return
    with suppress(OSError, EOFError):  # the node is gone
        send(line, Answer(engine=segmenter.engine))
        while True:
            if not select.select([line], [], [], REST)[0]:
                give_back_freed()
            claimed = receive(line, ClaimedJob)
            outcome = _attempt(claimed, segmenter, settings)
            send(line, _named(claimed, outcome))


def _named(claimed: ClaimedJob, outcome: Analysed | Failure | Nothing | PutOff) -> Answer:
    field = {Analysed: "analysed", Failure: "failure", Nothing: "nothing", PutOff: "put_off"}[type(outcome)]
    named: dict[str, Any] = {field: outcome}
    return Answer(job=claimed.id, attempt=claimed.attempt, **named)


def _attempt(
    claimed: ClaimedJob, segmenter: Segmenter, settings: WorkerSettings
) -> Analysed | Failure | Nothing | PutOff:
    """Run one job; whatever goes wrong becomes a `Failure` with a reason for a person."""
    spare = spare_descriptors()
    try:
        return run_job(claimed, segmenter, settings)
    except Exception as error:  # the node lives on, and the ledger says why
        fault = system_fault(error)
        if fault is not None and fault.number == EMFILE and spare_descriptors() < spare // 2:
            fault = None  # the job has taken them
        if _wants_memory(error):  # where the machine has what a worker may take, the job asks for more than that
            fault = None if bound_can_be_had() else SystemFaultError("no memory")
        if fault is not None:
            why = (
                "no disk space for the results" if fault.number in DISK_FULL else f"{fault.why} (a fault of the system)"
            )
            return PutOff(f"{why}: it will be analysed again", fault.number)
        if isinstance(error, InputError):
            return Failure(str(error), permanent=True)
        return Failure(_in_words(error, settings), permanent=False)


def _wants_memory(error: Exception) -> bool:
    """Return whether an error says that there is no memory: Python's own, or torch's on the CPU."""
    place = (traceback.extract_tb(error.__traceback__) or [None])[-1]
    of_network = place is not None and any(part in place.filename for part in ("/torch/", "/scarnode/segment/"))
    fault = system_fault(error)
    return (fault is not None and not fault.number) or (of_network and "allocate memory" in str(error))


def _in_words(error: Exception, settings: WorkerSettings) -> str:
    """Describe what an unexpected error was, without its text where that may quote a header's values."""
    text = (str(error).splitlines() or [""])[0][:300]
    place = (traceback.extract_tb(error.__traceback__) or [None])[-1]
    of_network = place is not None and any(part in place.filename for part in ("/torch/", "/scarnode/segment/"))
    if _wants_memory(error):
        bound = f" than {settings.memory:.3g} GB ([segment] memory_limit_gigabytes)" if settings.memory else ""
        return f"it needs more memory{bound}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"
    if of_network:
        return f"{type(error).__name__}: {text}"
    own = Path(scarnode.__file__).parent
    ours = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).is_relative_to(own)]
    where = f" in scarnode/{Path(ours[-1].filename).relative_to(own)}, line {ours[-1].lineno}" if ours else ""
    return f"an unexpected {type(error).__name__}{where}: please report it"


def run_job(claimed: ClaimedJob, segmenter: Segmenter, settings: WorkerSettings) -> Analysed | Nothing:
    """Analyse a claimed job's stack, or measure its correction, and write the result objects.

    Returns
    -------
    Analysed
        The objects lie durably in a folder named after the job key; running the same job again writes the
        same files.
    Nothing
        The correction is what the network found.
    """
    from scarnode.cases.correction import write_case
    from scarnode.pipeline.analyse import analyse, analyse_correction

    start = time.monotonic()
    provenance = provenance_of(claimed)
    stack = anchored(claimed.stack, settings.spool)
    if claimed.correction is None:
        analysis = analyse(stack, segmenter, provenance, settings.kinds)
    else:
        seg, again = settings.spool / claimed.correction.path, claimed.revises_correction
        corrected = analyse_correction(stack, seg, segmenter, provenance, settings.kinds, even_if_unchanged=again)
        if corrected is None:
            return Nothing("the corrected SEG holds what the network found: nothing was corrected")
        analysis = corrected
    if not settings.results.is_dir():  # its disk is away: another folder in its place would hide what is written
        raise FileNotFoundError(ENOENT, "the results folder is not there")
    if analysis.correction is not None:
        write_case(
            stack,
            analysis.volume,
            *analysis.correction,
            provenance.input_digest,
            provenance.made_at,
            settings.results,
        )
    if not settings.floor.usage(settings.results).for_work:  # what came meanwhile may have taken it
        raise OSError(ENOSPC, "below the floor of free disk space")
    return Analysed(
        files=write_results(analysis.objects, settings.results, claimed.key),
        measurements=analysis.measurements,
        flags=analysis.flags,
        seconds=time.monotonic() - start,
    )
