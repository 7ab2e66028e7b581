"""From a corrected SEG to labels on its stack, and to a case to learn from."""

from __future__ import annotations

from datetime import datetime
from io import BytesIO
from pathlib import Path

import numpy as np

from scarnode.correct.model import Corrected, Origin
from scarnode.correct.outline import paint, read_seg
from scarnode.correct.recognise import read_origin, tissue_of
from scarnode.durable import make_folder, replace_durably
from scarnode.errors import InputError
from scarnode.part10 import read
from scarnode.segment.model import Segmentation, Tissue
from scarnode.stack import Stack

CASES = "corrections"
"""Folder of the cases, below the results folder."""


def read_correction(path: Path, stack: Stack) -> Corrected:
    """Read a SEG that `recognise` took for a correction of a stack.

    Frames are placed by the image they name; a slice without a frame has nothing outlined.

    Raises
    ------
    InputError
        Its pixels can not be decoded, or it outlines no myocardium.
    """
    masks = read_seg(path, tissue_of).on(stack)
    labels = paint(masks)
    if not (labels >= Tissue.MYOCARDIUM).any():
        raise InputError("the corrected SEG outlines no myocardium", "", "outline it, or send nothing")
    flags = () if Tissue.SCAR in masks else ("NO_SCAR_SEGMENT",)
    return Corrected(labels, read_origin(read(path)), flags)


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
        The npz file: what `scarnode.lab.cases.read_npz` takes, and `network_label`, `network` (name, version, SHA-256)
        and `corrected_on` (YYYY-MM-DD).
    """
    from scarnode.lab.cases import Case, npz_arrays  # loads torch: the worker has it, the node has not

    vendor, site, patient = _scanner(stack)
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


def _scanner(stack: Stack) -> tuple[str, str, str]:
    """Vendor, site and a digest of the patient, as the lab's reader of DICOM tells them."""
    from scarnode.lab.readers.dicom import scanner_of

    return scanner_of(stack.frames[0].path)
