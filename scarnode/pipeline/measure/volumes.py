"""Volumes, mass and %LGE by counting voxels."""

from __future__ import annotations

import numpy as np

from scarnode.pipeline.measure.comparison import by_threshold
from scarnode.pipeline.measure.model import EXTENSIVE, Burden, Measurements, SliceMeasurements
from scarnode.pipeline.measure.segments import aha_segments
from scarnode.pipeline.segment.model import Segmentation, Tissue
from scarnode.pipeline.segment.quality import UNSURE_SCAR
from scarnode.pipeline.stack.model import Stack
from scarnode.util.errors import InputError

DENSITY = 1.05
"""Density of myocardium, g/mL (Schulz-Menger et al., J Cardiovasc Magn Reson 2020, 22:19)."""

MM3_PER_CM3 = 1000.0


def measure(stack: Stack, volume: np.ndarray, segmentation: Segmentation) -> Measurements:
    """Measure a segmentation in the geometry of its stack.

    The volume of a voxel is its pixel area times the centre-to-centre distance of the slices
    (`Stack.slice_extents`), so that the gaps between slices are counted. %LGE is scar over scar plus
    normal myocardium, by volume.

    Parameters
    ----------
    stack : Stack
        Gives pixel area, slice distances and slice thickness, all mm.
    volume : numpy.ndarray
        The images, (slices, rows, columns), any scale; only the intensity methods look at them.
    segmentation : Segmentation
        Labels of shape (slices, rows, columns), slices base to apex, on the stack's own grid.

    Returns
    -------
    Measurements
        Volumes in cm3, masses in g, percentages 0 to 100; None where a ratio has no denominator or the
        slice thickness is not stated.

    Raises
    ------
    InputError
        The labels or the images do not fit the stack, or the stack can not tell how deep a slice is (a single slice
        whose header states neither SpacingBetweenSlices nor SliceThickness).
    """
    expected = (len(stack.frames), stack.rows, stack.columns)
    for name, shape in (("labels", segmentation.labels.shape), ("images", np.shape(volume))):
        if shape != expected:
            raise InputError(
                f"the {name} have shape {shape}, the stack has {expected} (slices, rows, columns)",
                "segmentation",
                "segment the same stack that is measured",
            )
    extents = stack.slice_extents
    if not np.all(extents > 0):
        raise InputError(
            "the depth of a slice is unknown, so no volume can be given",
            "SpacingBetweenSlices, SliceThickness",
            "send the whole stack, or images whose header states one of the two",
        )

    pixel_area = stack.pixel_spacing[0] * stack.pixel_spacing[1]
    pixels = {
        tissue: np.count_nonzero(segmentation.labels == tissue, axis=(1, 2))
        for tissue in (Tissue.SCAR, Tissue.MYOCARDIUM, Tissue.BLOOD)
    }
    volumes = {tissue: counts * pixel_area * extents / MM3_PER_CM3 for tissue, counts in pixels.items()}
    scar, normal, blood = (float(volumes[tissue].sum()) for tissue in (Tissue.SCAR, Tissue.MYOCARDIUM, Tissue.BLOOD))

    scar_by_thickness = myocardium_by_thickness = None
    if stack.slice_thickness:
        voxel = pixel_area * stack.slice_thickness / MM3_PER_CM3
        scar_pixels, normal_pixels = int(pixels[Tissue.SCAR].sum()), int(pixels[Tissue.MYOCARDIUM].sum())
        scar_by_thickness = scar_pixels * voxel
        myocardium_by_thickness = (scar_pixels + normal_pixels) * voxel

    lge_percent = _percent(scar, normal)
    inside = _around_heart(segmentation.labels)
    labels, image = segmentation.labels[inside], volume[inside]
    return Measurements(
        scar_volume=scar,
        normal_volume=normal,
        blood_volume=blood,
        myocardium_volume=scar + normal,
        scar_mass=scar * DENSITY,
        myocardium_mass=(scar + normal) * DENSITY,
        lge_percent=lge_percent,
        scar_volume_by_thickness=scar_by_thickness,
        myocardium_volume_by_thickness=myocardium_by_thickness,
        slices=tuple(
            SliceMeasurements(index, float(s), float(n), float(b), _percent(float(s), float(n)))
            for index, (s, n, b) in enumerate(
                zip(volumes[Tissue.SCAR], volumes[Tissue.MYOCARDIUM], volumes[Tissue.BLOOD], strict=True)
            )
        ),
        lge_interval=segmentation.lge_interval,
        burden=_burden(lge_percent, segmentation.lge_interval, UNSURE_SCAR in segmentation.flags),
        segments=aha_segments(stack, labels, segmentation.right_ventricle),
        by_threshold=by_threshold(stack, image, labels),
    )


def _around_heart(labels: np.ndarray) -> tuple[slice, slice, slice]:
    """Return the rows and columns that hold all labels: the rest of the image costs time and says nothing."""
    held = labels != Tissue.BACKGROUND
    sides = []
    for along in (held.any(axis=(0, 2)), held.any(axis=(0, 1))):
        places = np.flatnonzero(along)
        sides.append(slice(places[0], places[-1] + 1) if len(places) else slice(0, 0))
    return slice(None), sides[0], sides[1]


def _burden(lge_percent: float | None, interval: tuple[float, float] | None, unsure: bool) -> Burden | None:
    """Above or below 15 %, as far as the interval says; without an interval as the value says.

    Where the readings outline the scar differently, the result is indeterminate: the interval has its coverage over all
    patients, but not over these.
    """
    if lge_percent is None:
        return None
    if unsure:
        return Burden.INDETERMINATE
    lower, upper = interval or (lge_percent, lge_percent)
    if lower >= EXTENSIVE:
        return Burden.ABOVE
    return Burden.BELOW if upper < EXTENSIVE else Burden.INDETERMINATE


def _percent(scar: float, normal: float) -> float | None:
    """Return 100 x scar / (scar + normal), None where there is neither."""
    myocardium = scar + normal
    return 100.0 * (scar / myocardium) if myocardium > 0 else None
