"""The contact sheet of docs/phantom.png: ``python -m scarnode.lab.phantom.sheet docs/phantom.png``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from scarnode.lab.phantom.make import make_phantom
from scarnode.lab.phantom.model import Phantom, PhantomSettings

TILE = 180
"""Pixels per tile."""
FIELD = 190.0
"""mm shown around the left ventricle."""
COLORS = {1: (220, 60, 60), 2: (90, 190, 110), 3: (250, 205, 50)}
"""Outline per label: blood pool, myocardium, scar."""


def tile_of(phantom: Phantom, outlined: bool) -> np.ndarray:
    """Give the slice with the most scar (else the middle one), cropped around the heart, uint8 (TILE, TILE, 3)."""
    scar = phantom.slice_scar_volumes
    area = phantom.slice_myocardium_volumes
    index = int(scar.argmax()) if scar.any() else int(np.flatnonzero(area)[len(np.flatnonzero(area)) // 2])
    center = np.argwhere(phantom.label[index] > 0).mean(axis=0)
    steps = (np.arange(TILE) / (TILE - 1) - 0.5) * FIELD / phantom.pixel_spacing[0]
    at = np.stack(np.meshgrid(center[0] + steps, center[1] + steps, indexing="ij"))
    image = ndimage.map_coordinates(phantom.image[index], at, order=1)
    low, high = np.percentile(image, [1, 99.5])
    grey = np.clip((image - low) / max(high - low, 1) * 255, 0, 255)
    tile = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    if outlined:
        label = ndimage.map_coordinates(phantom.label[index], at, order=0)
        for value, color in COLORS.items():
            mask = label == value
            tile[mask & ~ndimage.binary_erosion(mask)] = color
    return tile


def write_sheet(path: Path, columns: int = 8, rows: int = 3, first_seed: int = 0) -> None:
    """Write phantoms with scar, magnitude and PSIR as drawn, each row above the same row with its true outlines."""
    bands = []
    for row in range(rows):
        seeds = range(first_seed + row * columns, first_seed + (row + 1) * columns)
        phantoms = [make_phantom(seed, PhantomSettings(scar_probability=1.0)) for seed in seeds]
        bands += [np.concatenate([tile_of(p, outlined) for p in phantoms], axis=1) for outlined in (False, True)]
    Image.fromarray(np.concatenate(bands)).save(path, optimize=True)


if __name__ == "__main__":
    write_sheet(Path(sys.argv[1]))
