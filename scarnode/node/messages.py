"""What the node and a worker process send each other, as JSON (`scarnode.util.child` carries it)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, TypeAdapter

from scarnode.ledger.model import Analysed, ClaimedJob
from scarnode.pipeline.report import USUAL
from scarnode.util.disk import NO_LIMIT, FreeSpaceLimit


@dataclass(frozen=True)
class WorkerSettings:
    """What a worker process needs to know; the first message it gets.

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
    floor : FreeSpaceLimit
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


@dataclass(frozen=True)
class Failure:
    """An attempt that failed while the worker lived on."""

    why: str
    permanent: bool


@dataclass(frozen=True)
class Nothing:
    """A correction that corrects nothing."""

    why: str


@dataclass(frozen=True)
class PutOff:
    """The machine could not do it now, e.g. for want of disk space; the job can be tried again.

    `number` is the errno, 0 where there was no memory.
    """

    why: str
    number: int


class Answer(BaseModel):
    """What a worker answers: on what it computes, or what became of one attempt of one job."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    engine: str = ""
    job: int | None = None
    attempt: int | None = None
    analysed: Analysed | None = None
    failure: Failure | None = None
    nothing: Nothing | None = None
    put_off: PutOff | None = None

    @property
    def outcome(self) -> Analysed | Failure | Nothing | PutOff | None:
        """The one that was given."""
        return self.analysed or self.failure or self.nothing or self.put_off


CLAIMED = TypeAdapter(ClaimedJob)
SETTINGS = TypeAdapter(WorkerSettings)
