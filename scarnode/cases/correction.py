"""Keep a person's correction as a case to learn from."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np

from scarnode.cases.dicom import scanner_of
from scarnode.cases.model import Case, npz_arrays
from scarnode.pipeline.correct.model import Corrected
from scarnode.pipeline.report.model import Origin
from scarnode.pipeline.segment.model import Segmentation
from scarnode.pipeline.stack import Stack
from scarnode.util.durable import make_folder, replace_durably

CASES = "corrections"
"""Folder of the cases, below the results folder."""


def write_case(
    stack: Stack,
    volume: np.ndarray,
    corrected: Corrected,
    found: Segmentation,
    input_digest: str,
    made_at: datetime,
    results: Path,
) -> Path:
    """Keep a correction as a case that `scarnode train` and `scarnode evaluate` read.

    One file for a stack: its next correction replaces it. It holds no name, date of birth or UID.

    Parameters
    ----------
    volume : numpy.ndarray
        float32, (slices, rows, columns).
    corrected : Corrected
    found : Segmentation
        The network's.
    input_digest : str
        Names the file.
    made_at : datetime
        When the correction came, where the SEG does not say when it was saved.
    results : Path
        Results folder.

    Returns
    -------
    Path
        The npz file: what `scarnode.cases.model.read_npz` takes, and `network_label`, `network` (name, version,
        SHA-256)
        and `corrected_on` (YYYY-MM-DD).
    """
    vendor, site, patient = scanner_of(stack.frames[0].path)
    case = Case(
        volume,
        corrected.labels,
        stack.pixel_spacing,
        float(np.median(stack.slice_extents)),
        input_digest[:16],
        CASES,
        None,
        vendor,
        site,
        patient,
    )
    model = found.model
    buffer = BytesIO()
    arrays = npz_arrays(case) | {
        "network_label": found.labels,
        "network": np.array([model.name, model.version, model.sha256]),
        "corrected_on": _day(corrected.origin, made_at),
    }
    np.savez_compressed(buffer, **arrays)
    folder = results / CASES
    make_folder(folder, results)
    path = folder / f"{case.name}.npz"
    replace_durably(path, (buffer.getvalue(),), results)
    return path


def _day(origin: Origin, made_at: datetime) -> str:
    try:
        return datetime.strptime(origin.saved_on, "%Y%m%d").date().isoformat()
    except ValueError:
        return made_at.date().isoformat()
