"""Domain shifts: a real case as another scanner or protocol would show it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from scipy import ndimage

from scarnode.cases.model import Case
from scarnode.pipeline.segment.model import Tissue


def darkened(case: Case) -> Case:
    """Gamma 2: myocardium sinks towards black."""
    return replace(case, image=_unit(case.image) ** 2, source=f"{case.source}-darkened")


def rectified(case: Case) -> Case:
    """Magnitude instead of phase-sensitive: normal myocardium nulled, what lies below folded up."""
    image = _unit(case.image)
    muscle = case.label == Tissue.MYOCARDIUM
    null = float(np.median(image[muscle])) if muscle.any() else 0.0
    return replace(case, image=np.abs(image - null), source=f"{case.source}-rectified")


def finer(case: Case, spacing: float = 0.75) -> Case:
    """Interpolated to small pixels, as scanners that fill k-space with zeros send it."""
    zoom = (1.0, case.pixel_spacing[0] / spacing, case.pixel_spacing[1] / spacing)
    image = ndimage.zoom(case.image, zoom, order=1, grid_mode=True, mode="nearest")
    label = ndimage.zoom(case.label, zoom, order=0, grid_mode=True, mode="nearest")
    sizes = tuple(
        s * old / new for s, old, new in zip(case.pixel_spacing, case.image.shape[1:], image.shape[1:], strict=True)
    )
    right = case.right_ventricle
    if right is not None:
        right = ndimage.zoom(right, zoom, order=0, grid_mode=True, mode="nearest")
    source = f"{case.source}-finer"
    return replace(case, image=image, label=label, pixel_spacing=sizes, right_ventricle=right, source=source)


def sparser(case: Case) -> Case:
    """Every second slice only."""
    return replace(
        case,
        image=case.image[::2],
        label=case.label[::2],
        right_ventricle=None if case.right_ventricle is None else case.right_ventricle[::2],
        slice_distance=2 * case.slice_distance,
        source=f"{case.source}-sparser",
    )


def other_center(case: Case) -> Case:
    """Another centre's protocol: few, distant slices of a noisy magnitude image, shaded by the coil, in small pixels.

    Normal myocardium is nulled, receive coils shade by up to a third, Rician noise is added (an eighth of the blood's
    brightness), pixels are interpolated to 0.73 mm, and of the slices that show the heart at most six are left, at
    least 12 mm apart. Drawn anew for each case, the same whenever the case comes again.
    """
    rng = np.random.default_rng(list(case.name.encode()))
    image, border = _unit(case.image), ndimage.binary_dilation(case.image <= case.image.min(), np.ones((1, 3, 3)))
    # Slice by slice: some sets scale each slice on its own; what nulls one slice's myocardium nulls another's blood.
    null, blood = (_level(image, case.label == tissue) for tissue in (Tissue.MYOCARDIUM, Tissue.BLOOD))
    signal = np.where(border, 0.0, image - null)
    rows, columns = (np.linspace(-1, 1, n) for n in image.shape[1:])
    slope, bend = rng.uniform(-0.3, 0.3, 2), rng.uniform(-0.3, 0.0)
    shading = 1 + slope[0] * rows[:, None] + slope[1] * columns + bend * (rows[:, None] ** 2 + columns**2)
    noise = np.abs(blood - null) / 8 * rng.standard_normal((2, *image.shape))
    magnitude = np.hypot(signal * shading + noise[0], noise[1]).astype(np.float32)
    small = finer(replace(case, image=magnitude), 0.73)
    shown = np.flatnonzero((case.label != Tissue.BACKGROUND).any(axis=(1, 2)))
    first, last = (int(shown[0]), int(shown[-1])) if len(shown) else (0, len(image) - 1)
    every = max(1, int(np.ceil(12.0 / case.slice_distance)))
    kept = np.arange(first, last + 1, every)
    kept = kept[max(0, (len(kept) - 6) // 2) :][:6]
    return replace(
        small,
        image=small.image[kept],
        label=small.label[kept],
        right_ventricle=None if small.right_ventricle is None else small.right_ventricle[kept],
        slice_distance=every * case.slice_distance,
        source=f"{case.source}-other-center",
    )


def inverted(case: Case) -> Case:
    """White for black, as a header that lies about its photometric interpretation gives it."""
    return replace(case, image=1 - _unit(case.image), source=f"{case.source}-inverted")


def bordered(case: Case) -> Case:
    """Return an eighth of the rows black at either edge, as on rectangular fields of view."""
    image = case.image.copy()
    edge = image.shape[1] // 8
    image[:, :edge] = image[:, -edge:] = image.min()
    return replace(case, image=image, source=f"{case.source}-bordered")


def off_center(case: Case) -> Case:
    """Return the heart a fifth of the field of view farther to one side; what leaves the image comes in on the
    other.
    """

    def roll(volume: np.ndarray) -> np.ndarray:
        return np.roll(volume, case.image.shape[2] // 5, axis=2)

    return replace(
        case,
        image=roll(case.image),
        label=roll(case.label),
        right_ventricle=None if case.right_ventricle is None else roll(case.right_ventricle),
        source=f"{case.source}-off-center",
    )


def folded(case: Case) -> Case:
    """Wrap: an eighth of the columns at either edge folded over the opposite one."""
    image, edge = case.image.copy(), case.image.shape[2] // 8
    image[..., edge : 2 * edge] += case.image[..., -edge:]
    image[..., -2 * edge : -edge] += case.image[..., :edge]
    return replace(case, image=image, source=f"{case.source}-folded")


def _level(image: np.ndarray, tissue: np.ndarray) -> np.ndarray:
    """Median of a tissue in each slice, of the whole volume where a slice has none; (slices, 1, 1)."""
    overall = float(np.median(image[tissue])) if tissue.any() else 0.0
    levels = [
        float(np.median(pixels[own])) if own.any() else overall for pixels, own in zip(image, tissue, strict=True)
    ]
    return np.array(levels, np.float32)[:, None, None]


def _unit(image: np.ndarray) -> np.ndarray:
    low, high = np.percentile(image, (0.5, 99.5))
    return np.clip((image - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


SHIFTS: tuple[Callable[[Case], Case], ...] = (darkened, rectified, finer, sparser, other_center)
"""Shifts in the report's table of domain shifts."""

FINDER_SHIFTS: tuple[Callable[[Case], Case], ...] = (*SHIFTS, inverted, bordered, off_center, folded)
"""Shifts under which the heart must be found."""
