"""A process of its own for the studies of `scarnode segment`: what brings it down fails alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scarnode.batch.study import FAILED, Outcome, RejectedSeries, StackOutcome
from scarnode.pipeline.report import USUAL
from scarnode.util.child import ChildEndedError, ChildProcess, MessageError
from scarnode.util.errors import WeightsError, system_fault

PROGRAM = "scarnode.batch.study_process"

TIME_LIMIT = 1800.0
"""Seconds that a study may take."""


@dataclass(frozen=True)
class BatchOptions:
    """What is asked of every study.

    Attributes
    ----------
    output : Path
        Gets one sub-folder per stack, the journal and the table.
    weights : Path or None
        None: the shipped ones.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    kinds : tuple of str
        Which of `scarnode.pipeline.report.KINDS` are asked for besides the usual ones.
    workers : int
        Processes, each of which holds the network and shares the CPU's cores with the others.
    """

    output: Path
    weights: Path | None = None
    device: str = "auto"
    kinds: tuple[str, ...] = USUAL
    workers: int = 1


class StudyProcess:
    """A process for one study at a time; started when first needed, and again after it died.

    Parameters
    ----------
    order : BatchOptions
    threads : int
        CPU threads of the network.
    """

    def __init__(self, order: BatchOptions, threads: int) -> None:
        self._order, self._threads = order, threads
        self._child: ChildProcess | None = None

    @property
    def pid(self) -> int | None:
        """The process id; None where no process runs."""
        return self._child.pid if self._child is not None and self._child.alive else None

    def analyse(self, study_uid: str, files: Sequence[Path]) -> Outcome:
        """Analyse a study; what brings the process down, or takes too long, is an outcome with a reason.

        Raises
        ------
        WeightsError
            The network can not be loaded: no study could be analysed.
        """
        try:
            if self._child is None:
                self._child = ChildProcess(PROGRAM)
            answer = json.loads(self._child.request(self._question(files), TIME_LIMIT))
            if "weights" in answer:
                raise WeightsError(*answer["weights"])
            if "outcome" in answer:
                return _outcome_of(answer["outcome"])
            why = str(answer["why"])
        except ChildEndedError as end:
            why = f"its process ended ({end})"
        except TimeoutError:
            why = f"it took longer than {TIME_LIMIT:.0f} s"
        except OSError as error:
            fault = system_fault(error)
            why = str(fault or error)
        except (MessageError, ValueError, KeyError, TypeError):
            why = "its process answered nonsense"
        self.end()
        return Outcome((), (RejectedSeries(study_uid, FAILED, why, study_uid),))

    def end(self) -> None:
        """End the process, whatever it does."""
        if self._child is not None:
            self._child.close()
            self._child = None

    def _question(self, files: Sequence[Path]) -> bytes:
        order = {**asdict(self._order), "threads": self._threads, "files": list(files)}
        return json.dumps(order, default=str).encode()


def _outcome_of(told: dict[str, Any]) -> Outcome:
    stacks = [StackOutcome(**{**stack, **_tuples(stack, "series_uids", "flags")}) for stack in told["stacks"]]
    return Outcome(tuple(stacks), tuple(RejectedSeries(**series) for series in told["rejected"]), told["notice"])


def _tuples(values: dict[str, Any], *names: str) -> dict[str, tuple[Any, ...]]:
    """Return what JSON made lists of."""
    return {name: tuple(values[name]) for name in names}
