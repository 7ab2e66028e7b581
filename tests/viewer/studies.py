"""Studies of the phantom with the results that the node makes of them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import numpy as np
from pydicom import dcmread

from scarnode import __version__
from scarnode.phantom import PhantomSettings, make_phantom
from scarnode.phantom.dicom import write_dicom
from scarnode.pipeline.analyse import write_objects
from scarnode.pipeline.measure import measure
from scarnode.pipeline.report import Provenance, ResultObjects, build_failure, build_results
from scarnode.pipeline.segment import Segmentation, Tissue
from scarnode.pipeline.segment.predict import Segmenter
from scarnode.pipeline.stack import Stack, find_stacks, read_volume


@dataclass(frozen=True)
class Study:
    """A study on disk.

    Attributes
    ----------
    files : tuple of Path
        Source images and result objects.
    heart, scar : bool
        Whether the segmentation has any.
    """

    uid: str
    files: tuple[Path, ...]
    stack: Stack
    heart: bool
    scar: bool
    segmentation: Segmentation
    results: ResultObjects

    @property
    def images(self) -> list[tuple[str, int]]:
        """SOP Instance UID and frame number of every slice, base to apex."""
        return [(frame.sop_instance_uid, frame.frame_number) for frame in self.stack.frames]


def make_study(
    folder: Path,
    segmenter: Segmenter,
    seed: int,
    *,
    matrix: tuple[int, int] = (192, 192),
    scar: bool = True,
    heart: bool = True,
    enhanced: bool = False,
    fails: bool = False,
) -> Study:
    """Write a phantom as DICOM, analyse it as the node does, and write the results beside it."""
    settings = PhantomSettings(matrix=matrix, slices=6, component="magnitude", scar_fraction=0.15)
    phantom = make_phantom(seed, settings)
    files = write_dicom(phantom, folder, enhanced=enhanced)
    if not heart:
        for path in files:
            _blank(path)
    [stack] = find_stacks(files).stacks
    volume = read_volume(stack)
    segmentation = segmenter.segment(volume, stack.pixel_spacing)
    if not scar:
        labels = np.where(segmentation.labels == Tissue.SCAR, Tissue.MYOCARDIUM, segmentation.labels)
        segmentation = replace(segmentation, labels=labels.astype(np.uint8))
    key = hashlib.sha256(str(folder).encode()).hexdigest()
    provenance = Provenance(key, "feed" * 16, __version__, datetime(2026, 3, 14, 15, 9, 26))
    if fails:
        results = build_failure(stack, "PixelData can not be decoded", segmenter.identity, provenance)
    else:
        measurements = measure(stack, volume, segmentation)
        results = build_results(stack, volume, segmentation, measurements, provenance, ("labelmap", "probability"))
    written = write_objects(results, folder / "results")
    return Study(
        stack.study_instance_uid, (*files, *written.values()), stack, heart, scar and heart, segmentation, results
    )


def _blank(path: Path) -> None:
    """Replace an image by one grey: the network finds no heart in it."""
    dataset = dcmread(path)
    dataset.PixelData = np.full_like(dataset.pixel_array, 60).tobytes()
    dataset.save_as(path)
