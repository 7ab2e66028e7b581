"""How well readers (networks, intensity methods) outline cases whose contours are known: per case, and in sum."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

from scarnode.cases.model import Case, is_synthetic
from scarnode.pipeline.segment.certainty import dice, lge_percent
from scarnode.pipeline.segment.heart import ventricle_center
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.thresholds import Method, call_scar

if TYPE_CHECKING:
    from scarnode.pipeline.segment.predict import Segmenter

LOST = 30.0
"""mm: a heart whose centre is found farther away than this counts as lost."""
EXPERT = "expert"
"""Name of the expert's contour."""


@dataclass(frozen=True)
class CaseResult:
    """One case as one reader outlined it.

    Attributes
    ----------
    name, source, vendor, site : str
        As the case's.
    synthetic : bool
        The case is a phantom.
    reader : str
        A network, which found the heart itself; or an intensity method.
    contour : str
        Empty: the reader's own. Else whose myocardium an intensity method was given: `EXPERT` or a network's name.
    look : str
        Name of the domain shift (`scarnode.evaluation.domain_shifts`); empty: the case as it is.
    has_scar : bool
        By the expert.
    dice_blood, dice_myocardium : float
        Over the whole volume; myocardium includes scar.
    dice_scar : float or None
        None where neither the expert nor the reader calls scar.
    hd95_myocardium : float or None
        mm; the larger of both directions' 95th percentiles of the distance between the surfaces of the myocardium
        (with scar), in space. None where one has none.
    lge_expert, lge_reader : float
        %LGE = scar / (scar + normal myocardium), percent.
    lge_interval : tuple of float or None
        Lower and upper bound that the network gives, percent; None where it gives none.
    scar_expert, scar_reader, myocardium_expert, myocardium_reader, false_scar : float or None
        mL = voxels x pixel area x centre-to-centre slice distance; myocardium includes scar; false scar is what the
        reader calls scar and the expert does not. None where the pixel size is unknown.
    center_error : float or None
        Distance of the found centre of the ventricle from the expert's, mm in the plane; None where none was found.
    seconds : float
    flags : tuple of str
    """

    name: str
    source: str
    vendor: str
    site: str
    synthetic: bool
    reader: str
    contour: str
    look: str
    has_scar: bool
    dice_blood: float
    dice_myocardium: float
    dice_scar: float | None
    hd95_myocardium: float | None
    lge_expert: float
    lge_reader: float
    lge_interval: tuple[float, float] | None
    scar_expert: float | None
    scar_reader: float | None
    myocardium_expert: float | None
    myocardium_reader: float | None
    false_scar: float | None
    center_error: float | None
    seconds: float
    flags: tuple[str, ...]

    @property
    def lost(self) -> bool:
        """Return whether no heart was found, or far from where it is."""
        return self.center_error is None or self.center_error > LOST


def evaluate(
    cases: Iterable[Case],
    segmenter: Segmenter,
    reader: str | None = None,
    look: Callable[[Case], Case] | None = None,
    methods: Mapping[str, Method] | None = None,
) -> list[CaseResult]:
    """Outline each case from its image alone and compare with the expert's labels.

    Parameters
    ----------
    cases : iterable of Case
    segmenter : Segmenter
    reader : str, optional
        The segmenter's name in the results; the weights' name and version by default.
    look : callable, optional
        One of `scarnode.evaluation.domain_shifts.SHIFTS`: applied to each case first.
    methods : mapping, optional
        Intensity methods (`scarnode.evaluation.comparators.METHODS`) to be run inside the network's myocardium.
    """
    reader = reader or f"{segmenter.identity.name} {segmenter.identity.version}"
    results = []
    for original in cases:
        case = original if look is None else replace(look(original), source=original.source)
        name = look.__name__ if look is not None else ""
        began = time.monotonic()
        found = segmenter.segment(case.image, case.pixel_spacing)
        seconds = time.monotonic() - began
        details: dict[str, Any] = {"flags": found.flags, "center": found.heart_center, "interval": found.lge_interval}
        results.append(compare(case, found.labels, reader, look=name, seconds=seconds, **details))
        if methods:
            results += _inside(case, found.labels, reader, methods, name)
    return results


def evaluate_methods(cases: Iterable[Case], methods: Mapping[str, Method]) -> list[CaseResult]:
    """Run intensity methods inside the expert's myocardium of each case."""
    return [result for case in cases for result in _inside(case, case.label, EXPERT, methods)]


def compare(
    case: Case,
    labels: np.ndarray,
    reader: str,
    *,
    contour: str = "",
    look: str = "",
    seconds: float = 0.0,
    flags: tuple[str, ...] = (),
    center: tuple[float, float] | None = None,
    interval: tuple[float, float] | None = None,
) -> CaseResult:
    """Measure a reader's labels against the expert's.

    Parameters
    ----------
    labels : numpy.ndarray
        uint8, the case's shape, values of `Tissue`.
    center : tuple of float, optional
        (row, column) of the ventricle as the reader found it, pixels.
    interval : tuple of float, optional
        Bounds of %LGE that the reader gives.
    """
    truth = case.label
    wall, own_wall = truth >= Tissue.MYOCARDIUM, labels >= Tissue.MYOCARDIUM
    scar, own_scar = truth == Tissue.SCAR, labels == Tissue.SCAR
    voxel = float(np.prod(case.pixel_spacing)) * case.slice_distance / 1000
    masks = (scar, own_scar, wall, own_wall, own_scar & ~scar)
    scar_volume, own_scar_volume, wall_volume, own_wall_volume, false_scar = (
        float(mask.sum()) * voxel if case.pixel_size_known else None for mask in masks
    )
    true_center, error = ventricle_center(truth), None
    if true_center is not None and center is not None:
        error = float(np.hypot(*np.multiply(np.subtract(center, true_center), case.pixel_spacing)))
    return CaseResult(
        case.name,
        case.source,
        case.vendor,
        case.site,
        is_synthetic(case),
        reader,
        contour,
        look,
        case.has_scar,
        dice(truth == Tissue.BLOOD, labels == Tissue.BLOOD) or 0.0,
        dice(wall, own_wall) or 0.0,
        dice(scar, own_scar),
        hd95(wall, own_wall, (case.slice_distance, *case.pixel_spacing)),
        lge_percent(truth),
        lge_percent(labels),
        interval,
        scar_volume,
        own_scar_volume,
        wall_volume,
        own_wall_volume,
        false_scar,
        error,
        seconds,
        flags,
    )


def summarise(results: Sequence[CaseResult]) -> dict[str, float | int | None]:
    """Means over cases, as a flat table.

    Scar Dice counts cases with scar by the expert only (as the publication does); false scar is the reader's %LGE in
    cases without; %LGE bias is the mean of reader minus expert over all cases.
    """
    if not results:
        raise ValueError("no case was evaluated")
    scarred = [r for r in results if r.has_scar]
    free = [r.lge_reader for r in results if not r.has_scar]
    errors = [r.center_error for r in results]
    found = any(error is not None for error in errors)
    difference = [r.lge_reader - r.lge_expert for r in results]
    pair = np.array([(r.lge_expert, r.lge_reader) for r in results])
    varied = len(results) > 2 and bool((pair.std(axis=0) > 0).all())
    return {
        "cases": len(results),
        "dice_blood": statistics.fmean(r.dice_blood for r in results),
        "dice_myocardium": statistics.fmean(r.dice_myocardium for r in results),
        "dice_myocardium_lowest": min(r.dice_myocardium for r in results),
        "dice_scar": statistics.fmean(r.dice_scar or 0.0 for r in scarred) if scarred else None,
        "cases_with_scar": len(scarred),
        "lge_bias_points": statistics.fmean(difference),
        "lge_difference_sd": statistics.pstdev(difference),
        "lge_pearson_r": float(np.corrcoef(pair.T)[0, 1]) if varied else None,
        "false_scar_percent_median": statistics.median(free) if free else None,
        "false_scar_percent_highest": max(free) if free else None,
        "hearts_lost": sum(r.lost for r in results),
        "center_error_mm_median": statistics.median(e for e in errors if e is not None) if found else None,
        "center_error_mm_highest": max((e for e in errors if e is not None), default=None),
        "seconds_median": statistics.median(r.seconds for r in results),
    }


def as_rows(results: Sequence[CaseResult]) -> list[dict]:
    """Results as plain dictionaries, for JSON or a table."""
    return [asdict(result) for result in results]


def hd95(a: np.ndarray, b: np.ndarray, spacing: Sequence[float]) -> float | None:
    """Robust Hausdorff distance of two volumes' surfaces, mm; None where one is empty.

    The larger of both directions' 95th percentiles of the distance from each surface voxel to the other surface. A
    surface voxel has a face neighbour outside in its own slice: top and bottom slices are not surface as a whole.

    Parameters
    ----------
    a, b : numpy.ndarray
        bool, (slices, rows, columns).
    spacing : sequence of float
        (slice distance, between rows, between columns), mm.
    """
    if not a.any() or not b.any():
        return None
    both = np.argwhere(a | b)
    box = tuple(slice(max(low - 1, 0), high + 2) for low, high in zip(both.min(0), both.max(0), strict=True))
    in_plane = ndimage.generate_binary_structure(2, 1)[None]
    edges = [mask[box] & ~ndimage.binary_erosion(mask[box], in_plane) for mask in (a, b)]
    away = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    return float(max(np.percentile(away[1][edges[0]], 95), np.percentile(away[0][edges[1]], 95)))


def _inside(
    case: Case, labels: np.ndarray, contour: str, methods: Mapping[str, Method], look: str = ""
) -> list[CaseResult]:
    """Results of intensity methods inside the myocardium of `labels`, whose blood pool they keep."""
    wall = labels >= Tissue.MYOCARDIUM
    results = []
    for name, method in methods.items():
        own = np.where(wall, call_scar(case.image, wall, method, case.pixel_spacing), labels)
        results.append(compare(case, own, name, contour=contour, look=look))
    return results
