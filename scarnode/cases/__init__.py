"""Reads a folder of cases into `Case` objects: npz, NIfTI pairs, or DICOM with SEG.

It imports numpy and torch only. The readers of NIfTI (nibabel) and DICOM (pydicom) are loaded when a folder needs them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path

from scarnode.cases.labels import LEGEND, read_legend
from scarnode.cases.model import Case
from scarnode.util.errors import InputError

__all__ = ["read_cases"]

log = logging.getLogger(__name__)

Reader = Callable[[], list[Case]]


def read_cases(folder: Path, source: str | None = None) -> list[Case]:
    """Read a folder of images with an expert's contours.

    The folder holds one of

    - ``NAME.npz``, as `scarnode.cases.model.write_npz` writes them;
    - NIfTI: ``NAME.nii.gz`` with ``NAME_label.nii.gz`` (or ``_seg``, ``_mask``, ``_gt``) beside it, in sub-folders too;
      or files of the same name in ``imagesTr`` and ``labelsTr`` (nnU-Net), ``images`` and ``labels``, ``Images`` and
      ``Contours``;
    - DICOM: a sub-folder for each patient, with the late-enhancement series and one or several Segmentation objects.
      The stack is found and read as the node does it.

    ``labels.json`` in the folder may say what label values, or the names of a SEG's segments, mean:
    ``{"1": "blood", "2": "myocardium", "3": "scar", "4": "no-reflow", "5": "right ventricle"}``. Without it, values are
    those of `scarnode.pipeline.segment.Tissue`, or of nnU-Net's ``dataset.json``. Segments are identified by their
    coded property type and their name. Where no blood is labelled, the area inside the wall counts as blood.

    Parameters
    ----------
    folder : Path
    source : str, optional
        Name of the set; the folder's name by default.

    Returns
    -------
    list of Case
        Sorted by name. A case that can not be used is left out, and a warning in the log says which and why.

    Raises
    ------
    InputError
        There is no such folder, no case in it, or none that can be used; labels.json is not understood; nibabel is
        missing.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise InputError("there is no such folder", str(folder), "give the folder that holds the cases")
    source = source or folder.resolve().name
    readers = _readers(folder, source, read_legend(folder))
    cases: list[Case] = []
    reasons: list[str] = []
    for name, read in sorted(readers.items()):
        try:
            cases += read()
        except InputError as error:
            reasons.append(f"{name}: {error}")
            log.warning("left out %s/%s: %s", source, name, error)
    if not cases:
        first = f"; the first: {reasons[0]}" if reasons else ""
        raise InputError(
            f"none of {len(reasons)} cases can be used{first}",
            str(folder),
            "give a folder of npz files, of NIfTI images with their labels, or of sub-folders with a DICOM series "
            "and its SEG (docs/training.md)",
        )
    return cases


def _readers(folder: Path, source: str, legend: Mapping[str, int]) -> dict[str, Reader]:
    """One function for each case the folder seems to hold, by the case's name."""
    npz = sorted(folder.glob("*.npz"))
    nifti = sorted(path for pattern in ("*.nii", "*.nii.gz") for path in folder.rglob(pattern))
    if npz and nifti:
        raise InputError("npz and NIfTI files lie in one folder", str(folder), "put them into a folder each")
    if npz:
        from scarnode.cases.labels import read_npz_case

        def reader(path: Path) -> Reader:
            return lambda: [read_npz_case(path, source, legend)]

        return {path.stem: reader(path) for path in npz}
    if nifti:
        from scarnode.cases.nifti import nifti_readers

        return nifti_readers(folder, nifti, source, legend)
    from scarnode.cases.dicom import dicom_readers

    return dicom_readers(folder, source, legend, ignore={LEGEND})
