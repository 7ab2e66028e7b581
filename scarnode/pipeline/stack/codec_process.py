"""The process that decodes compressed frames, run by `scarnode.pipeline.stack.decode` as ``python -m``.

The codecs are C++. On damaged bytes some abort or never end, which in this process harms nothing else.

Standard input holds JSON, ``[[path, frame index], ...]``. Standard output gets for each, in that order: ``+`` and the
frame as .npy; or ``-`` and the name of the error in a line; or ``!`` and an errno where the file could not be read.
"""

import io
import json
import os
import sys
import warnings
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from scarnode.dicom.part10 import read
from scarnode.pipeline.stack.bits import stored_values
from scarnode.util.errors import name_of, system_fault

SECONDS_TO_START, SECONDS_A_FRAME = 60, 5
"""What a request may take, and of the processor's time the process itself."""

_MAX_MEMORY = 4 << 30
"""Address space in bytes: a compressed stream can claim any size."""


def main() -> None:
    """Decode what standard input names."""
    # Codecs print to standard output as they like: keep the real one for the frames.
    with os.fdopen(os.dup(1), "wb") as out:
        os.dup2(2, 1)
        _limit_memory()
        warnings.simplefilter("ignore")
        known, dataset = None, Dataset()
        wanted = json.load(sys.stdin)
        _limit_time(len(wanted))
        for path, index in wanted:
            encoded = io.BytesIO()
            try:
                known, dataset = (path, read(Path(path), pixels=True)) if path != known else (known, dataset)
                np.save(encoded, stored_values(dataset, index), allow_pickle=False)
            except MemoryError:  # this process is bound: it is the stream that asks for too much
                out.write(b"-more memory than a frame may take\n")
            except Exception as error:  # all that a codec may meet; the parent names the instance
                fault = system_fault(error)
                out.write(f"!{fault.number}\n".encode() if fault else f"-{name_of(error)}\n".encode())
            else:
                out.write(b"+" + encoded.getvalue())
            out.flush()


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # not a POSIX system
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def _limit_time(frames: int) -> None:
    """End a codec that runs for ever also where the process that waits for it was killed."""
    try:
        import resource
    except ImportError:
        return
    seconds = SECONDS_TO_START + SECONDS_A_FRAME * frames
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))


if __name__ == "__main__":
    main()
