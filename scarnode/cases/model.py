"""Images with an expert's contours, in one type, whatever they were stored as."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch

from scarnode.pipeline.segment.grid import Grid
from scarnode.pipeline.segment.model import Tissue
from scarnode.util.durable import replace_durably
from scarnode.util.errors import InputError


@dataclass(frozen=True)
class Case:
    """One patient's stack with its labels.

    Attributes
    ----------
    image : numpy.ndarray
        float32, (slices, rows, columns), any scale, base to apex (or apex to base where the set does not state it).
    label : numpy.ndarray
        uint8, same shape, values of `scarnode.pipeline.segment.Tissue`.
    pixel_spacing : tuple of float
        (between rows, between columns), mm.
    slice_distance : float
        Centre to centre, mm.
    name : str
        Unique within its source.
    source : str
        Name of the set.
    right_ventricle : numpy.ndarray or None
        bool, same shape, where the set outlines it (used to place synthetic scar at the insertion points).
    vendor, site : str
        Manufacturer of the scanner and where it stands, for the tables of the evaluation; empty where unknown.
    patient : str
        Cases of one patient are trained on or held out together; empty: the case is the patient.
    pixel_size_known : bool
        False where the set does not state it, and `pixel_spacing` is an estimate. Then no volume can be computed.
    """

    image: np.ndarray
    label: np.ndarray
    pixel_spacing: tuple[float, float]
    slice_distance: float
    name: str
    source: str
    right_ventricle: np.ndarray | None = None
    vendor: str = ""
    site: str = ""
    patient: str = ""
    pixel_size_known: bool = True

    def __post_init__(self) -> None:
        if self.image.ndim != 3 or self.image.shape != self.label.shape:
            raise InputError(
                f"image {self.image.shape} and label {self.label.shape} must be (slices, rows, columns) and alike",
                f"case {self.source}/{self.name}",
                "check how the case was exported",
            )

    @property
    def has_scar(self) -> bool:
        """Return whether any voxel is scar."""
        return bool((self.label == Tissue.SCAR).any())

    @property
    def scar_fraction(self) -> float:
        """%LGE / 100: scar over scar and normal myocardium; 0 where there is no myocardium."""
        scar, normal = (self.label == Tissue.SCAR).sum(), (self.label == Tissue.MYOCARDIUM).sum()
        return float(scar / (scar + normal)) if scar + normal else 0.0


def read_emidec(folder: Path) -> list[Case]:
    """Read the EMIDEC training set (Lalande et al., Data 2020;5:89) from npz files; no-reflow counts as scar.

    The files carry no pixel spacing: it is set so that the heart is of plausible size (`plausible_spacing`).
    """
    lookup = np.array([0, Tissue.BLOOD, Tissue.MYOCARDIUM, Tissue.SCAR, Tissue.SCAR], np.uint8)
    cases = []
    for path in _npz_files(folder):
        with np.load(path) as stored:
            image, label = stored["image"].astype(np.float32), lookup[stored["label"]]
        spacing = plausible_spacing(label, low=1.37, high=1.88)
        case = Case(image, label, (spacing, spacing), 10.0, path.stem, "emidec", pixel_size_known=False)
        cases.append(case)
    return cases


def read_acdc(folder: Path) -> list[Case]:
    """Read ACDC's end-diastolic cine volumes (Bernard et al., IEEE TMI 2018;37:2514) from npz files: no scar."""
    lookup = np.array([0, 0, Tissue.MYOCARDIUM, Tissue.BLOOD], np.uint8)
    cases = []
    for path in _npz_files(folder):
        with np.load(path) as stored:
            image, label = stored["image"].astype(np.float32), stored["label"]
        spacing = plausible_spacing(lookup[label], low=1.34, high=1.95)
        size = (spacing, spacing)
        cases.append(Case(image, lookup[label], size, 10.0, path.stem, "acdc", label == 1, pixel_size_known=False))
    return cases


def read_npz(folder: Path, source: str | None = None) -> list[Case]:
    """Read npz files with `image`, `label` (values of `Tissue`), `pixel_spacing` and `slice_distance`.

    `right_ventricle`, `vendor`, `site`, `patient` and `pixel_size_known` may be there.
    """
    return [read_npz_file(path, source or folder.name) for path in _npz_files(folder)]


def read_npz_file(path: Path, source: str) -> Case:
    """Read one file of `read_npz`.

    Raises
    ------
    InputError
        The file is damaged, or an array is missing.
    """
    try:
        with np.load(path) as stored:
            arrays = {key: stored[key] for key in stored.files}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError("is not a readable npz file", str(path), "write the case with `write_npz`") from error
    missing = {"image", "label", "pixel_spacing", "slice_distance"} - set(arrays)
    if missing:
        raise InputError(f"{', '.join(sorted(missing))} missing", str(path), "write the case with `write_npz`")
    between_rows, between_columns = (float(s) for s in arrays["pixel_spacing"])
    right = arrays["right_ventricle"].astype(bool) if "right_ventricle" in arrays else None
    vendor, site, patient = (str(arrays.get(key, "")) for key in ("vendor", "site", "patient"))
    return Case(
        arrays["image"].astype(np.float32),
        arrays["label"].astype(np.uint8),
        (between_rows, between_columns),
        float(arrays["slice_distance"]),
        path.stem,
        source,
        right,
        vendor,
        site,
        patient,
        bool(arrays.get("pixel_size_known", True)),
    )


def write_npz(case: Case, folder: Path) -> Path:
    """Write a case so that `read_npz` reads it, for its owner alone; returns the file."""
    path, buffer = folder / f"{case.name}.npz", BytesIO()
    np.savez_compressed(buffer, **npz_arrays(case))
    replace_durably(path, [buffer.getvalue()], folder, sync=False)
    return path


def npz_arrays(case: Case) -> dict[str, Any]:
    """Return what `read_npz_file` reads of a case; the image in half precision, scaled down where it is too bright."""
    right = {} if case.right_ventricle is None else {"right_ventricle": case.right_ventricle}
    brightest = float(np.abs(case.image).max(initial=0.0))
    scale = min(1.0, 60000.0 / brightest) if brightest else 1.0  # half precision ends at 65504
    return {
        **right,
        "image": (case.image * scale).astype(np.float16),
        "label": case.label,
        "pixel_spacing": np.array(case.pixel_spacing),
        "slice_distance": np.array(case.slice_distance),
        "vendor": case.vendor,
        "site": case.site,
        "patient": case.patient,
        "pixel_size_known": case.pixel_size_known,
    }


def plausible_spacing(label: np.ndarray, low: float, high: float, diameter: float = 74.0) -> float:
    """Pixel size (mm) of a set that does not state it.

    Half way (in the logarithm) between the middle of the set's known range and the size that gives the three
    largest slices an epicardial `diameter`: real hearts differ, so does the true pixel size.
    """
    area = np.sort((label != Tissue.BACKGROUND).sum(axis=(1, 2)))[-3:].mean()
    middle = np.sqrt(low * high)
    if area == 0:
        return float(middle)
    from_heart = np.clip(diameter / (2 * np.sqrt(area / np.pi)), low, high)
    return float(np.sqrt(middle * from_heart))


def is_synthetic(case: Case) -> bool:
    """Return whether a case is a phantom: by its set's name, or by the institution that the phantom's DICOM states."""
    source, site = case.source.lower(), case.site.lower()
    return "phantom" in source or "synthetic" in source or site.startswith("synthetic")


def split(cases: list[Case], seed: int = 0, held_out: float = 0.2) -> tuple[list[Case], list[Case]]:
    """Training and held-out cases, 4:1 by patient, stratified by source and by scar.

    The draw depends on the names and the seed only (order by a digest), so it survives another order of files.
    A patient with several cases has scar where one of them has.
    """
    patients: dict[tuple[str, str], list[Case]] = {}
    for case in cases:
        patients.setdefault((case.source, case.patient or case.name), []).append(case)
    groups: dict[tuple[str, bool], list[tuple[str, str]]] = {}
    for key, own in patients.items():
        groups.setdefault((key[0], any(case.has_scar for case in own)), []).append(key)
    training, held = [], []
    for _, group in sorted(groups.items()):
        ordered = sorted(group, key=lambda key: hashlib.sha256(f"{seed}/{key[0]}/{key[1]}".encode()).digest())
        count = round(held_out * len(ordered))
        held += [case for key in ordered[:count] for case in patients[key]]
        training += [case for key in ordered[count:] for case in patients[key]]
    return training, held


def on_grid(case: Case, spacing: float, size: int, center: tuple[float, float] | None = None) -> Case:
    """Resample a case to a square patch of `size` pixels of `spacing` mm around `center`.

    Parameters
    ----------
    center : tuple of float, optional
        (row, column) in source pixels; the left ventricle's centre by default, the image's where there is none.
    """
    inside = np.argwhere((case.label != Tissue.BACKGROUND).any(axis=0))
    if center is None:
        center = (
            tuple((inside.min(0) + inside.max(0)) / 2)
            if len(inside)
            else tuple((np.array(case.image.shape[1:]) - 1) / 2)
        )
    grid = Grid(center, case.image.shape[1:], case.pixel_spacing, spacing, (size, size))
    image = grid.to_network(torch.from_numpy(case.image)[:, None])[:, 0].numpy()
    onehot = torch.from_numpy(np.stack([case.label == tissue for tissue in Tissue], 1).astype(np.float32))
    onehot = grid.to_network(onehot)
    label = onehot.argmax(dim=1).to(torch.uint8).numpy()  # outside the source all are zero: background
    right = case.right_ventricle
    if right is not None:
        right = grid.to_network(torch.from_numpy(right.astype(np.float32))[:, None])[:, 0].numpy() > 0.5
    return replace(case, image=image, label=label, pixel_spacing=(spacing, spacing), right_ventricle=right)


def _npz_files(folder: Path) -> list[Path]:
    paths = sorted(Path(folder).glob("*.npz"))
    if not paths:
        raise InputError("no npz file found", str(folder), "give the folder that holds the cases")
    return paths
