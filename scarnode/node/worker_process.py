"""The program of a worker process: it holds the network and runs one job at a time (`scarnode.node.worker`)."""

from __future__ import annotations

import os
import time
import traceback
from contextlib import suppress
from errno import EMFILE, ENOENT, ENOSPC
from pathlib import Path
from typing import Any

import torch

import scarnode
from scarnode.cases.correction import write_case
from scarnode.ledger.model import Analysed, ClaimedJob
from scarnode.ledger.results import anchored, provenance_of, write_results
from scarnode.node.messages import CLAIMED, SETTINGS, Answer, Failure, Nothing, PutOff, WorkerSettings
from scarnode.pipeline.analyse import analyse, analyse_correction
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.util.child import serve_parent
from scarnode.util.disk import DISK_FULL
from scarnode.util.errors import InputError, ScarnodeError, SystemFaultError, WeightsError, system_fault
from scarnode.util.logs import log_to_stderr
from scarnode.util.memory import bound_can_be_had, bound_this_process, give_back_freed, spare_descriptors

NICENESS = 5
"""Niceness of a worker over the node's: where they share cores, scanners and archives do not wait for the network."""

REST = 10.0
"""Seconds without a job after which a worker gives back memory: the next job takes 50 ms longer, and no more."""


def main() -> None:
    """Load the network as the first message says, then answer jobs until the node is gone, however it ends."""
    node = serve_parent()
    os.nice(NICENESS)
    os.umask(0o077)
    log_to_stderr("WARNING")
    with suppress(OSError, EOFError):  # the node is gone
        settings = SETTINGS.validate_json(node.receive())
        try:
            torch.set_num_threads(settings.threads)
            segmenter = Segmenter(settings.weights, settings.device)
            if settings.sha256 not in ("", segmenter.identity.sha256):
                where = str(settings.weights)
                raise WeightsError("the weights were changed while the node ran", where, "restart the node")
            bound_this_process(settings.memory)
        except Exception as error:  # a device that is not there, too little memory ...: the node must hear why
            why = str(error) if isinstance(error, ScarnodeError) else f"{type(error).__name__}: {error}"
            failure = Failure(f"the network can not be loaded: {why}", permanent=False)
            node.send(Answer(failure=failure).model_dump_json().encode())
            return
        node.send(Answer(engine=segmenter.engine).model_dump_json().encode())
        while True:
            if not node.wait(REST):
                give_back_freed()
            claimed = CLAIMED.validate_json(node.receive())
            node.send(_named(claimed, _attempt(claimed, segmenter, settings)).model_dump_json().encode())


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
    fault = system_fault(error)
    return (fault is not None and not fault.number) or (_of_network(error) and "allocate memory" in str(error))


def _of_network(error: Exception) -> bool:
    """Return whether an error was raised by the network's code: its text quotes no header."""
    place = (traceback.extract_tb(error.__traceback__) or [None])[-1]
    return place is not None and any(part in place.filename for part in ("/torch/", "/scarnode/pipeline/segment/"))


def _in_words(error: Exception, settings: WorkerSettings) -> str:
    """Describe what an unexpected error was, without its text where that may quote a header's values."""
    text = (str(error).splitlines() or [""])[0][:300]
    if _wants_memory(error):
        bound = f" than {settings.memory:.3g} GB ([segment] memory_limit_gigabytes)" if settings.memory else ""
        return f"it needs more memory{bound}"
    if isinstance(error, OSError):
        return f"{type(error).__name__}: {error.strerror}"
    if _of_network(error):
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


if __name__ == "__main__":
    main()
