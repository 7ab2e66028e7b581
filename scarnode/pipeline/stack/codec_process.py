"""The process that decodes compressed frames, started by `scarnode.pipeline.stack.decode`.

The codecs are C++, and some abort or run for ever on damaged bytes; here they take nothing else along.

The question is JSON, ``[[path, frame index], ...]``. For each in turn an answer comes back: ``+`` and the frame as
.npy, or ``-`` and the name of the error, or ``!`` and an errno: the file could not be read.
"""

import io
import json
import resource
import warnings
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from scarnode.dicom.part10 import read
from scarnode.pipeline.stack.bits import stored_values
from scarnode.util.child import serve_parent
from scarnode.util.errors import name_of, system_fault
from scarnode.util.memory import bound_this_process

SECONDS_TO_START, SECONDS_A_FRAME = 60, 5
"""What a request may take, and of the processor's time the process itself."""

MEMORY = 4.0
"""Gigabytes that a request may take: a compressed stream can claim any size."""

LONGEST = 1 << 30
"""Bytes of one frame."""


def main() -> None:
    """Decode what the parent names."""
    parent = serve_parent()
    bound_this_process(MEMORY)
    warnings.simplefilter("ignore")
    known, dataset = None, Dataset()
    wanted = json.loads(parent.receive())
    # The kernel ends a codec that runs for ever, also where the parent is gone and the codec does not let go of Python.
    seconds = SECONDS_TO_START + SECONDS_A_FRAME * len(wanted)
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    for path, index in wanted:
        encoded = io.BytesIO(b"+")
        encoded.seek(1)
        try:
            known, dataset = (path, read(Path(path), pixels=True)) if path != known else (known, dataset)
            np.save(encoded, stored_values(dataset, index), allow_pickle=False)
        except MemoryError:  # this process is bound: it is the stream that asks for too much
            parent.send(b"-more memory than a frame may take")
        except Exception as error:  # all that a codec may meet; the parent names the instance
            fault = system_fault(error)
            parent.send(f"!{fault.number}".encode() if fault else f"-{name_of(error)}".encode())
        else:
            parent.send(encoded.getvalue())


if __name__ == "__main__":
    main()
