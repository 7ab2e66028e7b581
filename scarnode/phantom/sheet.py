"""Phantoms as a sheet, alone or beside real slices.

``python -m scarnode.phantom.sheet docs/phantom.png`` makes the sheet of the documentation: phantoms, each row above
the same row with its true outlines. ``... beside.png --emidec DIR`` puts 24 real slices beside 24 phantoms; such
a sheet shows patients' images under their own licence and is not for publication with the code.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image
from scipy import ndimage

from scarnode.cases.model import Case, read_emidec, read_npz
from scarnode.phantom.make import make_phantom
from scarnode.phantom.model import PhantomSettings
from scarnode.pipeline.segment.model import Tissue

TILE = 180
"""Pixels per tile."""
FIELD = 190.0
"""mm shown around the left ventricle."""
COLORS = {Tissue.BLOOD: (220, 60, 60), Tissue.MYOCARDIUM: (90, 190, 110), Tissue.SCAR: (250, 205, 50)}
"""Outline per label."""


def tile_of(case: Case, outlined: bool = False) -> np.ndarray:
    """Return the slice with the most scar (else the middle one), cropped around the heart, uint8 (TILE, TILE, 3)."""
    scar = (case.label == Tissue.SCAR).sum(axis=(1, 2))
    seen = np.flatnonzero((case.label >= Tissue.MYOCARDIUM).any(axis=(1, 2)))
    index = int(scar.argmax()) if scar.any() else int(seen[len(seen) // 2])
    center = np.argwhere(case.label[index] > 0).mean(axis=0)
    steps = (np.arange(TILE) / (TILE - 1) - 0.5) * FIELD / case.pixel_spacing[0]
    at = np.stack(np.meshgrid(center[0] + steps, center[1] + steps, indexing="ij"))
    image = ndimage.map_coordinates(case.image[index], at, order=1)
    low, high = np.percentile(image, [1, 99.5])
    grey = np.clip((image - low) / max(high - low, 1e-6) * 255, 0, 255)
    tile = np.repeat(grey[..., None], 3, axis=2).astype(np.uint8)
    if outlined:
        label = ndimage.map_coordinates(case.label[index], at, order=0)
        for value, color in COLORS.items():
            mask = label == value
            tile[mask & ~ndimage.binary_erosion(mask)] = color
    return tile


def write_sheet(path: Path, columns: int = 8, rows: int = 3, first_seed: int = 0) -> None:
    """Write phantoms with scar, magnitude and PSIR as drawn, each row above the same row with its true outlines."""
    cases = _phantoms(columns * rows, first_seed)
    bands = []
    for row in range(rows):
        own = cases[row * columns : (row + 1) * columns]
        bands += [np.concatenate([tile_of(case, outlined) for case in own], axis=1) for outlined in (False, True)]
    Image.fromarray(np.concatenate(bands)).save(path, optimize=True)


def write_beside(path: Path, real: Sequence[Case], columns: int = 4, rows: int = 6, first_seed: int = 0) -> None:
    """Write phantoms on the left and real cases on the right of a white line, `columns` x `rows` of each."""
    count = columns * rows
    spread = real[:: max(1, len(real) // count)][:count]  # sets are often sorted by diagnosis
    sides = [_grid([tile_of(case) for case in cases], columns) for cases in (_phantoms(count, first_seed), spread)]
    height = max(len(side) for side in sides)
    sides = [np.pad(side, ((0, height - len(side)), (0, 0), (0, 0))) for side in sides]
    line = np.full((height, 8, 3), 255, np.uint8)
    Image.fromarray(np.concatenate([sides[0], line, sides[1]], axis=1)).save(path, optimize=True)


def _phantoms(count: int, first_seed: int) -> list[Case]:
    made = (make_phantom(seed, PhantomSettings(scar_probability=1.0)) for seed in range(first_seed, first_seed + count))
    return [Case(p.image, p.label, p.pixel_spacing, p.slice_distance, str(p.seed), "phantoms") for p in made]


def _grid(tiles: Sequence[np.ndarray], columns: int) -> np.ndarray:
    tiles = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % columns)]
    return np.concatenate([np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)])


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", type=Path)
    parser.add_argument("--emidec", type=Path, help="folder of the EMIDEC training set")
    parser.add_argument("--real", type=Path, help="folder of npz cases")
    given = parser.parse_args()
    if given.emidec or given.real:
        write_beside(given.path, read_emidec(given.emidec) if given.emidec else read_npz(given.real))
    else:
        write_sheet(given.path)
