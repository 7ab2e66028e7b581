"""Cartoon hearts: cases that a tiny network learns in seconds."""

import numpy as np

from scarnode.cases.model import Case
from scarnode.pipeline.segment.model import Tissue


def toy_case(seed: int, scar: bool = False, slices: int = 5, shape: tuple[int, int] = (180, 190)) -> Case:
    """Ring of dark wall around bright blood in grey, 2 mm pixels, 8 mm slices; scar as a bright sector."""
    rng = np.random.default_rng(seed)
    rows, columns = np.indices(shape)
    row, column = np.array(shape) / 2 + rng.uniform(-8, 8, 2)
    distance = np.hypot(rows - row, columns - column)
    angle = np.arctan2(rows - row, columns - column)
    label = np.zeros((slices, *shape), np.uint8)
    for i in range(slices):
        outer = rng.uniform(15, 18)
        label[i][distance < outer] = Tissue.MYOCARDIUM
        label[i][distance < outer - 6] = Tissue.BLOOD
    if scar:
        label[(label == Tissue.MYOCARDIUM) & (np.abs(angle) < 0.6)] = Tissue.SCAR
    # Black and white patches all around, so that every piece of the image has the same extremes.
    patches = np.kron(rng.choice([0, 120, 255], p=[0.1, 0.8, 0.1], size=(slices, 18, 19)), np.ones((10, 10)))
    image = np.where(label == Tissue.BACKGROUND, patches, np.array([0, 180, 60, 225])[label])
    image = image + rng.normal(0, 5, label.shape)
    return Case(image.astype(np.float32), label, (2.0, 2.0), 8.0, f"toy{seed}", "toy")
