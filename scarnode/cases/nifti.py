"""NIfTI images with label files -> cases. Needs nibabel."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np

from scarnode.cases.labels import finish, translate, vendor_name
from scarnode.cases.model import Case
from scarnode.util.errors import InputError

APEX_TO_BASE = np.array([-0.634, 0.645, 0.426])
"""Mean direction in LPS, as `scarnode.pipeline.stack.Rules` has it."""
_LABEL = re.compile(r"^(.+?)[_-](label|labels|seg|segmentation|mask|masks|gt|truth|manual|contours?)$", re.IGNORECASE)
_IMAGE = re.compile(r"^(.+?)[_-](image|img|lge|0000)$", re.IGNORECASE)
_LABEL_FOLDERS = {"labels", "labelstr", "labelsts", "contours", "masks", "label", "segmentations"}
_IMAGE_FOLDERS = {"images", "imagestr", "imagests", "image"}


def nifti_readers(
    folder: Path, files: Sequence[Path], source: str, legend: Mapping[str, int]
) -> dict[str, Callable[[], list[Case]]]:
    """One function for each image or label file found, by case name.

    Raises
    ------
    InputError
        nibabel is missing.
    """
    try:
        import nibabel
    except ModuleNotFoundError as error:
        raise InputError("reading NIfTI needs nibabel", str(folder), "pip install scarnode[lab]") from error
    images: dict[tuple[Path, str], list[Path]] = {}
    labels: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        is_label, key = _role(path)
        (labels if is_label else images).setdefault(key, []).append(path)
    # nnU-Net's test images come without labels.
    wanted = [key for key in images if key in labels or images[key][0].parent.name.lower() != "imagests"]
    readers: dict[str, Callable[[], list[Case]]] = {}
    keys = dict.fromkeys([*wanted, *labels])
    stems = Counter(stem for _, stem in keys)
    for key in keys:
        place = key[0].relative_to(folder)
        own_folder = place != Path() and key[1].startswith(place.name)  # patient001/patient001_frame01
        short = place == Path() or (own_folder and stems[key[1]] == 1)
        name = key[1] if short else "-".join([*place.parts, key[1]])
        pair = (images.get(key, []), labels.get(key, []))
        readers[name] = partial(_read_one, nibabel, pair, name, source, legend, place.name if own_folder else "")
    return readers


def _role(path: Path) -> tuple[bool, tuple[Path, str]]:
    """Return whether a file is a label, and the key that it shares with its partner."""
    stem = re.sub(r"\.nii(\.gz)?$", "", path.name)
    parent = path.parent.name.lower()
    if parent in _LABEL_FOLDERS or parent in _IMAGE_FOLDERS:
        is_label = parent in _LABEL_FOLDERS
        match = None if is_label else re.match(r"^(.+)_\d{4}$", stem)
        return is_label, (path.parent.parent, match[1] if match else stem)
    match = _LABEL.match(stem)
    if match:
        return True, (path.parent, match[1])
    match = _IMAGE.match(stem)
    return False, (path.parent, match[1] if match else stem)


def _read_one(
    nibabel: ModuleType,
    pair: tuple[list[Path], list[Path]],
    name: str,
    source: str,
    legend: Mapping[str, int],
    patient: str,
) -> list[Case]:
    images, labels = pair
    for files, kind, todo in (
        (images, "image", "put NAME.nii.gz beside it"),
        (labels, "label file", "put NAME_label.nii.gz beside the image"),
    ):
        if not files:
            raise InputError(f"there is no {kind}", "", todo)
        if len(files) > 1:
            names = ", ".join(path.name for path in files)
            raise InputError(f"several files claim to be its {kind}", names, "keep the late-enhancement one")
    image, affine, in_patient = _load(nibabel, images[0])
    values, its_affine, _ = _load(nibabel, labels[0])
    if values.shape != image.shape:
        raise InputError(
            f"the label's shape is {values.shape}, the image's {image.shape}",
            labels[0].name,
            "save the label on the image's own grid",
        )
    if not np.allclose(affine, its_affine, rtol=1e-3, atol=0.1):
        raise InputError(
            "the label's affine is not the image's", labels[0].name, "save the label on the image's own grid"
        )
    marked = translate(values, legend, labels[0].name)
    order = _slices_first(affine)
    image, marked = image.transpose(order), marked.transpose(order)
    steps = affine[:3, :3][:, order] * np.array([[-1.0], [-1.0], [1.0]])  # RAS to LPS; columns: along slices, rows, ...
    if in_patient:
        image, marked, steps = _as_seen(image, marked, steps)
    sizes = np.linalg.norm(steps, axis=0)
    if not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise InputError("the header gives no voxel size", images[0].name, "have it exported with its geometry")
    vendor, site = _sidecar(images[0])
    case = Case(
        np.ascontiguousarray(image, np.float32),
        np.ascontiguousarray(marked),
        (float(sizes[1]), float(sizes[2])),
        float(sizes[0]),
        name,
        source,
        None,
        vendor,
        site,
        patient,
    )
    return [finish(case)]


def _load(nibabel: ModuleType, path: Path) -> tuple[np.ndarray, np.ndarray, bool]:
    """Voxels (three axes), affine (RAS, mm), and whether the header places the volume in the patient."""
    try:
        stored = nibabel.load(path)
        voxels = np.asarray(stored.dataobj)
        header = stored.header
        placed = int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0
        affine = np.asarray(stored.affine, float)
    except Exception as error:  # nibabel, zlib and numpy each raise their own kinds
        what = f"can not be read as NIfTI ({type(error).__name__})"
        raise InputError(what, path.name, "export the file again") from error
    while voxels.ndim > 3 and voxels.shape[-1] == 1:
        voxels = voxels[..., 0]
    if voxels.ndim != 3:
        raise InputError(f"the volume has the shape {voxels.shape}", path.name, "give one three-dimensional volume")
    if np.issubdtype(voxels.dtype, np.complexfloating) or voxels.dtype.fields:
        raise InputError(f"the voxels are {voxels.dtype}", path.name, "give one number for each voxel")
    voxels = np.nan_to_num(voxels.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    directions = affine[:3, :3] / np.maximum(np.linalg.norm(affine[:3, :3], axis=0), 1e-9)
    oblique = (np.abs(directions).max(axis=0) < 0.999).any()  # no short axis lies along the scanner's axes
    return voxels, affine, placed and bool(oblique)


def _slices_first(affine: np.ndarray) -> tuple[int, int, int]:
    """Axes in the order slices, rows, columns: slices are the axis of the largest step, the third where none is."""
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    across = int(np.argmax(sizes))
    if sizes[across] < 1.5 * np.median(sizes):
        across = 2
    first, second = (axis for axis in range(3) if axis != across)
    return across, second, first


def _as_seen(image: np.ndarray, marked: np.ndarray, steps: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reorder axes as in a scanner's DICOM: base first, rows towards the feet, columns towards the left (or back).

    Slices stay as stored where their normal is more than 45 degrees off a usual short axis.
    """
    directions = steps / np.linalg.norm(steps, axis=0)
    if abs(directions[2, 2]) > abs(directions[2, 1]):  # the "column" axis runs more along the body than the "row" axis
        image, marked, steps = image.swapaxes(1, 2), marked.swapaxes(1, 2), steps[:, [0, 2, 1]]
        directions = directions[:, [0, 2, 1]]
    cosine = float(directions[:, 0] @ APEX_TO_BASE / np.linalg.norm(APEX_TO_BASE))
    backwards = (
        cosine > np.cos(np.pi / 4),
        directions[2, 1] > 0,
        (directions[0, 2] if abs(directions[0, 2]) > 0.3 else directions[1, 2]) < 0,
    )
    flip = tuple(slice(None, None, -1 if back else 1) for back in backwards)
    return image[flip], marked[flip], steps * np.where(backwards, -1.0, 1.0)


def _sidecar(path: Path) -> tuple[str, str]:
    """Vendor and site from the JSON file that dcm2niix writes beside an image (BIDS); empty where there is none."""
    sidecar = path.with_name(re.sub(r"\.nii(\.gz)?$", ".json", path.name))
    try:
        metadata = json.loads(sidecar.read_text(encoding="utf-8"))
        site = metadata.get("InstitutionName") or metadata.get("StationName") or ""
        return vendor_name(str(metadata.get("Manufacturer", ""))), str(site)
    except (OSError, ValueError, AttributeError):
        return "", ""
