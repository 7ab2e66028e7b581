"""What a phantom is made to, and what it is: the types of this package."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

ComponentName = Literal["magnitude", "psir"]

PHENOTYPES: dict[str, float] = {
    "septal": 0.60,
    "apical": 0.10,
    "concentric": 0.08,
    "midcavity": 0.05,
    "normal": 0.12,
    "thinned": 0.05,
}
"""Shape of the left ventricle and how often it is drawn."""

PATTERNS: dict[str, float] = {
    "insertion": 0.30,
    "midwall": 0.40,
    "confluent": 0.10,
    "diffuse": 0.10,
    "apical": 0.05,
    "papillary": 0.05,
}
"""Where the scar of hypertrophic cardiomyopathy lies, and how often. ``infarct`` may be asked for beside these."""


@dataclass(frozen=True)
class PhantomSettings:
    """What to draw. ``None`` means: drawn at random from the phantom's distribution.

    Attributes
    ----------
    training : bool
        False: the test distribution (half of the hearts have scar; median 2.4 %LGE among them). True: more
        and larger scar, infarcts among it, and wider variation of contrast.
    matrix : tuple of int or None
        (rows, columns) of the image.
    pixel_spacing : float or None
        mm, 0.7 to 2.2 when drawn. Pixels are square.
    slices : int or None
        Number of slices; drawn so that the stack covers the ventricle.
    slice_thickness, slice_distance : float or None
        mm; distance is centre to centre.
    phenotype : str or None
        One of `PHENOTYPES`.
    pattern : str or None
        One of `PATTERNS`, or ``infarct``.
    scar_probability : float or None
        Probability that a heart has scar at all.
    scar_fraction : float or None
        Scar volume / myocardium volume, 0 to 0.45; 0 for none. Overrides `scar_probability`.
    component : {"magnitude", "psir"} or None
        65 % magnitude when drawn. Everything else of a seed stays the same, so that a seed's magnitude and
        PSIR images belong to one acquisition.
    snr : float or None
        Signal of dense scar at the null of myocardium / SD of the noise; 8 to 40 when drawn.
    random_contrast : float or None
        Probability of random tissue brightness in place of the physics (scar stays brighter than myocardium);
        None: 0.3 for training, else 0.
    corruption : bool
        False: no coil shading, shifts, ghosts, wrap or noise, for tests of geometry and contrast.
    """

    training: bool = False
    matrix: tuple[int, int] | None = None
    pixel_spacing: float | None = None
    slices: int | None = None
    slice_thickness: float | None = None
    slice_distance: float | None = None
    phenotype: str | None = None
    pattern: str | None = None
    scar_probability: float | None = None
    scar_fraction: float | None = None
    component: ComponentName | None = None
    snr: float | None = None
    random_contrast: float | None = None
    corruption: bool = True


@dataclass(frozen=True)
class Phantom:
    """A synthetic short-axis LGE stack with its truth.

    Attributes
    ----------
    seed : int
    settings : PhantomSettings
    image : numpy.ndarray
        float32, shape (slices, rows, columns), slices base to apex. Whole numbers within 0..4095, as a
        scanner stores them; a PSIR image has an offset, so that negative signal lies below it.
    label : numpy.ndarray
        uint8, same shape, values of `scarnode.pipeline.segment.model.Tissue`: 0 background, 1 blood pool of the left
        ventricle with its papillary muscles and trabeculae, 2 normal myocardium, 3 scar (no-reflow counts as scar).
        A voxel takes the tissue that fills most of it through the slice's thickness.
    right_ventricle : numpy.ndarray
        bool, same shape: cavity of the right ventricle.
    pixel_spacing : tuple of float
        Distance between rows and between columns, mm.
    slice_distance, slice_thickness : float
        mm; distance is centre to centre.
    component : {"magnitude", "psir"}
    phenotype, pattern : str
        `pattern` is ``none`` without scar.
    insertion_angles : tuple of float
        Direction from the left ventricle's axis to the anterior and the inferior insertion of the right
        ventricle, radian, atan2(row, column) on the image.
    inversion_time, repetition_time, echo_time, flip_angle, rr_interval : float
        ms, ms, ms, degree, ms: what the header would say. repetition_time is the spacing of the readout's pulses.
    true_scar_volume, true_myocardium_volume : float
        cm3 of the continuous anatomy (myocardium includes scar), before it was cut into voxels.
    """

    seed: int
    settings: PhantomSettings
    image: np.ndarray
    label: np.ndarray
    right_ventricle: np.ndarray
    pixel_spacing: tuple[float, float]
    slice_distance: float
    slice_thickness: float
    component: ComponentName
    phenotype: str
    pattern: str
    insertion_angles: tuple[float, float]
    inversion_time: float
    repetition_time: float
    echo_time: float
    flip_angle: float
    rr_interval: float
    true_scar_volume: float
    true_myocardium_volume: float

    @property
    def voxel_volume(self) -> float:
        """cm3: pixel area x centre-to-centre slice distance."""
        return self.pixel_spacing[0] * self.pixel_spacing[1] * self.slice_distance / 1000

    @property
    def slice_scar_volumes(self) -> np.ndarray:
        """cm3 of scar per slice by voxel count, shape (slices,)."""
        return (self.label == 3).sum(axis=(1, 2)) * self.voxel_volume

    @property
    def slice_myocardium_volumes(self) -> np.ndarray:
        """cm3 of myocardium with scar per slice by voxel count, shape (slices,)."""
        return (self.label >= 2).sum(axis=(1, 2)) * self.voxel_volume

    @property
    def lge_percent(self) -> float:
        """100 x scar / (scar + normal myocardium) by voxel count: what a perfect reader of the stack would measure."""
        return float(100 * self.slice_scar_volumes.sum() / max(self.slice_myocardium_volumes.sum(), 1e-9))

    @property
    def true_lge_percent(self) -> float:
        """100 x scar / (scar + normal myocardium) of the continuous anatomy."""
        return 100 * self.true_scar_volume / self.true_myocardium_volume
