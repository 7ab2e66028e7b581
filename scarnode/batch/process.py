"""The worker process of `scarnode segment`. A study that crashes it fails alone."""

from __future__ import annotations

import functools
import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scarnode.batch.study import FAILED, Outcome, RejectedSeries, analyse_study
from scarnode.pipeline.report import USUAL
from scarnode.util.child import end_with_parent
from scarnode.util.errors import ScarnodeError, WeightsError, system_fault
from scarnode.util.logs import keep_quiet_about_patients

if TYPE_CHECKING:
    from scarnode.pipeline.segment import Segmenter

TIME_LIMIT = 1800.0
"""Most seconds of a study."""


@dataclass(frozen=True)
class BatchOptions:
    """Options of the analysis of every study.

    Attributes
    ----------
    output : Path
        Gets one sub-folder per stack, the journal and the table.
    weights : Path or None
        None: the shipped ones.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    kinds : tuple of str
        Which of `scarnode.pipeline.report.KINDS` are made besides the usual ones.
    workers : int
        Processes. Each holds the network; they share the CPU's cores.
    """

    output: Path
    weights: Path | None = None
    device: str = "auto"
    kinds: tuple[str, ...] = USUAL
    workers: int = 1


class StudyProcess:
    """A process that analyses one study at a time. It is started when first needed, and again after a crash.

    Parameters
    ----------
    options : BatchOptions
    threads : int
        CPU threads of the network.
    """

    def __init__(self, options: BatchOptions, threads: int) -> None:
        self._order, self._threads = options, threads
        self._pool: ProcessPoolExecutor | None = None
        self._pid = 0

    def analyse(self, study_uid: str, files: Sequence[Path]) -> Outcome:
        """Analyse a study. A crash or a timeout of the process gives an outcome with a reason.

        Raises
        ------
        WeightsError
            The network can not be loaded, so no study can be analysed.
        """
        try:
            if self._pool is None:
                self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _begin)
                self._pid = self._pool.submit(os.getpid).result()
            return self._pool.submit(_analyse, files, self._order, self._threads).result(TIME_LIMIT)
        except WeightsError:
            raise
        except BrokenProcessPool:
            why = "its process ended: killed, out of memory, or a crash in native code"
        except TimeoutError:
            why = f"it took longer than {TIME_LIMIT:.0f} s"
        except Exception as error:
            fault = system_fault(error)
            why = str(fault) if fault else f"an unexpected {type(error).__name__}: please report it"
        self.end()
        return Outcome((), (RejectedSeries(study_uid, FAILED, why, study_uid),))

    def end(self) -> None:
        """Kill the process."""
        if self._pool is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)
            self._pool.shutdown(cancel_futures=True)
            self._pool = None


def _begin() -> None:
    """Initialise the worker process."""
    keep_quiet_about_patients()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    end_with_parent()


def _analyse(files: Sequence[Path], options: BatchOptions, threads: int) -> Outcome:
    kinds = tuple(dict.fromkeys((*USUAL, *options.kinds)))
    return analyse_study(
        files, options.output, lambda: _segmenter(options.weights, options.device, threads), kinds=kinds
    )


@functools.cache
def _segmenter(weights: Path | None, device: str, threads: int) -> Segmenter:
    """Load the network, once in each process."""
    try:
        import torch

        from scarnode.pipeline.segment import Segmenter

        torch.set_num_threads(threads)
        return Segmenter(weights, device)
    except ScarnodeError as error:
        raise WeightsError(error.what, error.where, error.todo) from None
    except Exception as error:  # e.g. an absent device
        why = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise WeightsError(f"the network can not be loaded on {device}: {why}", todo="Try --device cpu") from None
