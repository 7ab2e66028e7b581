"""The program that analyses studies for `scarnode segment`, one at a time (`scarnode.batch.process`).

Each question is JSON: the fields of `BatchOptions`, the threads of the network and the study's files. Each answer is
JSON: ``outcome``, or ``weights`` (the parts of a `WeightsError`), or ``why`` it failed.
"""

from __future__ import annotations

import functools
import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scarnode.batch.study import analyse_study
from scarnode.pipeline.report import USUAL
from scarnode.util.child import serve_parent
from scarnode.util.errors import ScarnodeError, WeightsError, system_fault
from scarnode.util.logs import keep_quiet_about_patients
from scarnode.util.memory import bound_this_process, share_of_memory

if TYPE_CHECKING:
    from scarnode.pipeline.segment.predict import Segmenter


def main() -> None:
    """Answer until the parent is gone."""
    parent = serve_parent()
    keep_quiet_about_patients()
    with suppress(OSError, EOFError):  # it is gone
        while True:
            parent.send(json.dumps(_answer(json.loads(parent.receive()))).encode())


def _answer(question: dict[str, Any]) -> dict[str, Any]:
    try:
        weights = Path(question["weights"]) if question["weights"] else None
        network = functools.partial(_segmenter, weights, question["device"], question["threads"], question["workers"])
        kinds = tuple(dict.fromkeys((*USUAL, *question["kinds"])))
        files = [Path(file) for file in question["files"]]
        return {"outcome": asdict(analyse_study(files, Path(question["output"]), network, kinds=kinds))}
    except WeightsError as error:
        return {"weights": [error.what, error.where, error.todo]}
    except Exception as error:  # the other studies go on
        fault = system_fault(error)
        return {"why": str(fault) if fault else f"an unexpected {type(error).__name__}: please report it"}


@functools.cache
def _segmenter(weights: Path | None, device: str, threads: int, workers: int) -> Segmenter:
    """Load the network when the first study needs it, and bound what studies may take besides."""
    try:
        import torch  # where no study has a stack, nobody waits for it

        from scarnode.pipeline.segment.predict import Segmenter

        torch.set_num_threads(threads)
        segmenter = Segmenter(weights, device)
    except ScarnodeError as error:
        raise WeightsError(error.what, error.where, error.todo) from None
    except Exception as error:  # e.g. a device that is not there
        why = f"{type(error).__name__}: {str(error).splitlines()[0]}"
        raise WeightsError(f"the network can not be loaded on {device}: {why}", todo="Try --device cpu") from None
    bound_this_process(share_of_memory(workers))
    return segmenter


if __name__ == "__main__":
    main()
