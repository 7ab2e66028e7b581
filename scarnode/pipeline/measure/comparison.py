"""Scar by the intensity methods of the clinic, inside the network's myocardium, beside the network's own."""

from __future__ import annotations

from functools import partial

import numpy as np

from scarnode.pipeline.measure.model import ThresholdMeasurement
from scarnode.pipeline.segment.model import Tissue
from scarnode.pipeline.segment.thresholds import Method, above_remote, call_scar, find_remote, full_width_half_maximum
from scarnode.pipeline.stack.model import Component, Stack


def by_threshold(stack: Stack, image: np.ndarray, labels: np.ndarray) -> tuple[ThresholdMeasurement, ...]:
    """Scar volume and %LGE by 5 SD, 6 SD and FWHM within the outlined myocardium.

    The n-SD methods: brighter than mean + n SD of the slice's remote myocardium (the darkest 60 degree sector,
    `find_remote`). FWHM: brighter than half of the brightest enhanced pixel, counted from zero signal; in a
    phase-sensitive image, whose zero is arbitrary, half way between that pixel and the slice's remote mean. Islands of
    7.8 mm2 or less are dropped, as the network drops them. Sources stand beside each method in
    `scarnode.pipeline.segment.thresholds`.

    Parameters
    ----------
    stack : Stack
        Gives pixel spacing and slice extents, mm, and which component the images show.
    image : numpy.ndarray
        (slices, rows, columns), any scale; a part of the stack's rows and columns will do.
    labels : numpy.ndarray
        Same shape, values of `Tissue`: scar and normal myocardium together are the wall.

    Returns
    -------
    tuple of ThresholdMeasurement
        Empty where there is no myocardium.
    """
    wall = labels >= Tissue.MYOCARDIUM
    if not wall.any():
        return ()
    methods: dict[str, Method] = {
        "5 SD": partial(above_remote, deviations=5),
        "6 SD": partial(above_remote, deviations=6),
        "FWHM": partial(full_width_half_maximum, above_baseline=stack.component is Component.PSIR),
    }
    voxels = stack.pixel_spacing[0] * stack.pixel_spacing[1] * stack.slice_extents / 1000  # cm3, by slice
    myocardium = float(wall.sum(axis=(1, 2)) @ voxels)
    remote = find_remote(image, wall)
    found = []
    for name, method in methods.items():
        called = call_scar(image, wall, method, stack.pixel_spacing, remote) == Tissue.SCAR
        scar = float(called.sum(axis=(1, 2)) @ voxels)
        found.append(ThresholdMeasurement(name, scar, 100 * scar / myocardium))
    return tuple(found)
