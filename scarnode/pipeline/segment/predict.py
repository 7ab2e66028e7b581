"""From a stack's images to labels on its own grid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage

from scarnode.pipeline.segment.card import shipped_weights
from scarnode.pipeline.segment.certainty import MIRRORS, agreement, lge_interval, lge_percent, most_likely, readings
from scarnode.pipeline.segment.engine import Engine, best_dtype
from scarnode.pipeline.segment.fragments import drop_fragments
from scarnode.pipeline.segment.grid import Grid
from scarnode.pipeline.segment.heart import find_heart, ventricle_center
from scarnode.pipeline.segment.islands import SMALLEST_ISLAND, drop_islands
from scarnode.pipeline.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.pipeline.segment.quality import NO_HEART, NO_MYOCARDIUM, quality_flags
from scarnode.pipeline.segment.weights import read_weights
from scarnode.pipeline.segment.windows import DEPTH, blood_is_darker, brighten, merge, normalise, predict_windows
from scarnode.util.errors import InputError

WINDOW = 128
"""Rows and columns of a window, as published."""

MIDDLE = 14.0
"""Network pixels (about 20 mm) from the window's middle at which a voxel counts for exp(-1/2) in the choice of the body
that is the heart: the finder is rarely farther off than 15 mm (docs/accuracy.md)."""


class Segmenter:
    """The trained networks, ready to outline stacks.

    Parameters
    ----------
    weights : Path, optional
        A safetensors file with its card beside it; the shipped ones by default.
    device : str
        ``"auto"``: a GPU when there is one, else the CPU; or any torch device.
    scar_merge : str
        How overlapping windows are merged for scar: ``"mean"``, or ``"max"`` as published (calls more scar).
    dtype : torch.dtype, optional
        What the networks compute in; the fastest that the device knows by default.

    Raises
    ------
    WeightsError
        The weights are missing or are not those the card describes.
    """

    def __init__(
        self,
        weights: Path | None = None,
        device: str = "auto",
        scar_merge: str = "mean",
        dtype: torch.dtype | None = None,
    ) -> None:
        loaded = read_weights(Path(weights) if weights is not None else shipped_weights())
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        where = torch.device(device)
        self._finder = Engine(loaded.finder, where, 1, dtype or best_dtype(where))
        self._outline = Engine(loaded.outline, where, DEPTH, dtype or best_dtype(where))
        self._finder_spacing, self._spacing = loaded.finder_spacing, loaded.outline_spacing
        self._scar_merge, self._calibration = scar_merge, loaded.calibration
        self.identity: ModelIdentity = loaded.identity
        self.engine = self._finder.in_words()
        """What the networks compute on and in, for a person."""

    @torch.inference_mode()
    def segment(self, volume: np.ndarray, pixel_spacing: tuple[float, float]) -> Segmentation:
        """Outline one stack.

        The heart is found and cropped at the network's pixel size, windows of three slices are outlined and merged (as
        they are, and turned by half with dark myocardium brightened), the mean probabilities are brought back to
        the stack's grid, and the largest wins.

        Parameters
        ----------
        volume : numpy.ndarray
            (slices, rows, columns), any numeric type and scale; not-a-number counts as the smallest value.
        pixel_spacing : tuple of float
            Between rows and between columns, mm.

        Returns
        -------
        Segmentation
            On the volume's own grid.

        Raises
        ------
        InputError
            The volume is not three-dimensional or empty, or the pixel spacing is not positive.
        """
        stack = _checked(volume, pixel_spacing)
        spacing = (float(pixel_spacing[0]), float(pixel_spacing[1]))
        none = np.zeros(stack.shape, np.uint8)
        nothing = Segmentation(none, None, self.identity, (NO_HEART, NO_MYOCARDIUM), scar_probability=none)
        heart = find_heart(self._finder, stack, spacing, self._finder_spacing) if stack.any() else None
        if heart is None:
            return nothing
        guess = heart.center
        # A first outline says where the heart is better than the finder can: outline again around it where it is off.
        for _ in range(2):
            grid = Grid(guess, (stack.shape[1], stack.shape[2]), spacing, self._spacing, (WINDOW, WINDOW))
            images = normalise(grid.to_network(stack[:, None])[:, 0])
            first, outline = self._first(images)
            coarse = ventricle_center(outline)
            if coarse is None:
                return nothing
            down, right = ((c - (WINDOW - 1) / 2) * self._spacing for c in coarse)
            if np.hypot(down, right) < 8.0:
                break
            guess = (guess[0] + down / spacing[0], guess[1] + right / spacing[1])
        turned = blood_is_darker(images, torch.from_numpy(outline))
        if turned:
            images = normalise(-images)
            first, outline = self._first(images)
        again = brighten(images, torch.from_numpy(outline == Tissue.MYOCARDIUM))
        windows = [first, *(self._windows(again, mirror) for mirror in MIRRORS[1:])]
        merged = torch.stack([merge(*one, len(stack), self._scar_merge) for one in windows]).mean(dim=0)
        probabilities = drop_fragments(keep_heart(merged))
        labels, scar_probability = self._labels(probabilities, grid)
        center = ventricle_center(labels)
        if center is None:
            return nothing
        found = agreement(torch.cat([readings(one, len(stack)) for one, _ in windows]), probabilities)
        return Segmentation(
            labels,
            center,
            self.identity,
            quality_flags(labels, spacing, stack.numpy(), found, self._calibration, badly_nulled=turned),
            heart.right_ventricle,
            found,
            lge_interval(lge_percent(labels), found.lge_percent, self._calibration),
            scar_probability,
        )

    def _first(self, images: torch.Tensor) -> tuple[tuple[torch.Tensor, list[list[int]]], np.ndarray]:
        """Windows of (slices, rows, columns) as they are, and the outline that they give on the network's grid."""
        windows = self._windows(images, ())
        return windows, most_likely(keep_heart(merge(*windows, len(images))), 1)

    def _windows(self, images: torch.Tensor, mirror: tuple[int, ...]) -> tuple[torch.Tensor, list[list[int]]]:
        """Class probabilities of every window of (slices, rows, columns), mirrored and mirrored back; on the CPU."""
        windows, indices = predict_windows(self._outline, images.flip(mirror))
        return windows.flip(mirror).cpu(), indices

    def _labels(self, probabilities: torch.Tensor, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Labels, and 255 times the probability of scar, on the source's grid."""
        on_source = grid.to_source(probabilities)
        scar = (on_source[:, Tissue.SCAR] * 255).round().clamp(0, 255).to(torch.uint8).numpy()
        # Outside the patch all probabilities are zero, and the largest of zeros is the first: background.
        labels = most_likely(on_source, 1)
        largest = SMALLEST_ISLAND * grid.spacing**2 / (grid.pixel_spacing[0] * grid.pixel_spacing[1])
        on_source[:, Tissue.SCAR] = -1
        without_scar = most_likely(on_source, 1)
        return drop_islands(labels, without_scar, largest), scar


def keep_heart(probabilities: torch.Tensor) -> torch.Tensor:
    """Make everything background that is not part of the one body that fills most of the middle.

    The finder, or a first outline, located the heart there, so a body far from the middle is no heart, however large.
    Thin bridges, for example to the liver, are cut first. Bodies are connected where they overlap in neighbouring
    slices.

    Parameters
    ----------
    probabilities : torch.Tensor
        (slices, classes, rows, columns), on the network's grid.
    """
    foreground = most_likely(probabilities, 1) != Tissue.BACKGROUND
    boxes = ndimage.find_objects(foreground.astype(np.uint8))
    if not boxes:
        return probabilities
    heart = foreground[boxes[0]]  # beyond this box there is nothing: a third of the work
    rows, columns = np.indices((7, 7)) - 3
    disc = (np.hypot(rows, columns) <= 3.2)[None]
    core = ndimage.binary_opening(heart, disc)
    bodies, count = ndimage.label(core, structure=np.ones((3, 3, 3)))
    if count == 0:
        return probabilities
    down, across = (np.arange(length) - (length - 1) / 2 for length in foreground.shape[1:])
    middle = np.exp(-(down[:, None] ** 2 + across**2) / (2 * MIDDLE**2))
    inside = np.broadcast_to(middle, foreground.shape)[boxes[0]]
    sizes = np.bincount(bodies.ravel(), weights=inside.ravel())
    sizes[0] = 0
    body = bodies == sizes.argmax()
    # What the cut took from the body's rim, and tips too small for the disc in the slices beside it, stay.
    near = ndimage.binary_dilation(ndimage.binary_dilation(body, disc), np.ones((3, 3, 3)))
    foreground[boxes[0]] = heart & ~near
    stray = torch.from_numpy(foreground)
    kept = probabilities.masked_fill(stray[:, None], 0.0)
    kept[:, Tissue.BACKGROUND][stray] = 1.0
    return kept


def _checked(volume: np.ndarray, pixel_spacing: tuple[float, float]) -> torch.Tensor:
    """Volume as float32 from 0 to 1, finite."""
    volume = np.asarray(volume)
    if volume.ndim != 3 or 0 in volume.shape:
        raise InputError(
            f"the volume has the shape {volume.shape}", "segment", "give (slices, rows, columns), each at least one"
        )
    if not all(np.isfinite(s) and s > 0 for s in pixel_spacing):
        raise InputError(f"the pixel spacing is {pixel_spacing}", "segment", "give two positive sizes in mm")
    values = volume.astype(np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 0.0)
    scaled = (np.where(finite, values, low) - low) / (high - low if high > low else 1.0)
    return torch.from_numpy(scaled.astype(np.float32))
