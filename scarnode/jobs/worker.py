"""A process that runs the network, one job at a time; its death costs one attempt of one job."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
import warnings
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scarnode.errors import ScarnodeError
from scarnode.jobs.model import Analysed, ClaimedJob
from scarnode.jobs.results import anchored, provenance_of, write_results
from scarnode.report import USUAL

if TYPE_CHECKING:
    from scarnode.segment import Segmenter

log = logging.getLogger(__name__)


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
        Which of `scarnode.report.KINDS` to make.
    """

    weights: Path | None
    device: str
    threads: int
    spool: Path
    results: Path
    kinds: tuple[str, ...] = USUAL


@dataclass(frozen=True)
class Failure:
    """An attempt that failed while the worker lived on."""

    why: str
    permanent: bool


@dataclass(frozen=True)
class Nothing:
    """A correction that corrects nothing."""

    why: str


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
        Seconds a job may take; after that the process is killed.
    """

    def __init__(self, settings: WorkerSettings, time_limit: float) -> None:
        self._settings = settings
        self._time_limit = time_limit
        self._process: multiprocessing.process.BaseProcess | None = None
        self._pipe: Connection | None = None

    def start(self) -> None:
        """Start the process and wait until the network is loaded.

        Raises
        ------
        WorkerError
            It could not load the network.
        """
        if self._process is not None and self._process.is_alive():
            return
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(theirs, self._settings), name="scarnode-worker", daemon=True
        )
        self._process.start()
        theirs.close()  # so that a dead process reads as end of file
        failure = self._answer("loading the network")
        if failure is not None:
            self.kill()
            raise WorkerError(failure.why)

    def run(self, claimed: ClaimedJob) -> Analysed | Failure | Nothing:
        """Run a job to its end.

        Raises
        ------
        WorkerError
            The process crashed, was killed, or took longer than the time limit.
        """
        self.start()
        assert self._pipe is not None
        with suppress(OSError):  # it died while idle: the answer tells how
            self._pipe.send(claimed)
        return self._answer("analysing")

    def kill(self) -> None:
        """End the process at once; safe to call from another thread and more than once."""
        process = self._process
        if process is not None and process.is_alive():
            process.kill()
            process.join(10)

    def _answer(self, doing: str) -> Any:
        assert self._pipe is not None
        assert self._process is not None
        try:
            if self._pipe.poll(self._time_limit):
                return self._pipe.recv()
            self.kill()
            raise WorkerError(f"{doing} took longer than {self._time_limit:g} s")
        except (EOFError, OSError):
            self._process.join(10)
            code = self._process.exitcode
            how = f"signal {signal.Signals(-code).name}" if code is not None and code < 0 else f"exit code {code}"
            raise WorkerError(f"the worker process ended while {doing} ({how})") from None


def _serve(pipe: Connection, settings: WorkerSettings) -> None:
    """Answer jobs until the node is gone: its end of the pipe closes even when it is killed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the node's to handle
    os.umask(0o077)
    warnings.simplefilter("ignore")  # they quote header values: patient data has no place in a log
    import torch

    from scarnode.segment import Segmenter

    try:
        torch.set_num_threads(settings.threads)
        segmenter = Segmenter(settings.weights, settings.device)
    except Exception as error:  # a device that is not there, too little memory ...: the node must hear why
        why = str(error) if isinstance(error, ScarnodeError) else f"{type(error).__name__}: {error}"
        pipe.send(Failure(f"the network can not be loaded: {why}", permanent=False))
        return
    pipe.send(None)
    while True:
        try:
            claimed = pipe.recv()
        except EOFError:
            return
        pipe.send(_attempt(claimed, segmenter, settings))


def _attempt(claimed: ClaimedJob, segmenter: Segmenter, settings: WorkerSettings) -> Analysed | Failure | Nothing:
    """Run one job; whatever goes wrong becomes a `Failure` with a reason for a person."""
    from scarnode.errors import InputError

    try:
        return run_job(claimed, segmenter, settings)
    except InputError as error:
        return Failure(str(error), permanent=True)
    except Exception as error:  # the node lives on, and the ledger says why
        log.error("job %d: %s", claimed.id, type(error).__name__)
        return Failure(f"{type(error).__name__}: {error}", permanent=False)


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
    from scarnode.analyse import analyse, analyse_correction

    start = time.monotonic()
    provenance = provenance_of(claimed)
    stack = anchored(claimed.stack, settings.spool)
    if claimed.correction is None:
        analysis = analyse(stack, segmenter, provenance, settings.kinds)
    else:
        seg, again = settings.spool / claimed.correction.path, claimed.revises_correction
        analysis = analyse_correction(
            stack, seg, segmenter, provenance, settings.results, settings.kinds, even_if_unchanged=again
        )
        if analysis is None:
            return Nothing("the corrected SEG holds what the network found: nothing was corrected")
    return Analysed(
        files=write_results(analysis.objects, settings.results, claimed.key),
        measurements=analysis.measurements,
        flags=analysis.flags,
        seconds=time.monotonic() - start,
    )
