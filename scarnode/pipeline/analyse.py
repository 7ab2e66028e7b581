"""From a stack to its result objects: segment, measure, report in one function, for node and command line alike."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from scarnode import __version__
from scarnode.pipeline.measure import Measurements, measure
from scarnode.pipeline.report import USUAL, Provenance, ResultObjects, build_results
from scarnode.pipeline.stack import Stack, input_digest, read_volume
from scarnode.util.durable import make_folder, replace_durably

if TYPE_CHECKING:  # lazy: the node's main process must not load torch
    from scarnode.pipeline.correct.model import Corrected
    from scarnode.pipeline.segment import Segmentation
    from scarnode.pipeline.segment.predict import Segmenter


@dataclass(frozen=True)
class Analysis:
    """The results of one stack.

    Attributes
    ----------
    volume : numpy.ndarray
        float32, shape (slices, rows, columns), base to apex.
    flags : tuple of str
        The stack's and the segmentation's, in that order.
    correction : tuple of (Corrected, Segmentation) or None
        The person's segmentation that was measured, and the network's.
    """

    stack: Stack
    volume: np.ndarray
    segmentation: Segmentation
    measurements: Measurements
    objects: ResultObjects
    flags: tuple[str, ...]
    correction: tuple[Corrected, Segmentation] | None = None


def analyse(stack: Stack, segmenter: Segmenter, provenance: Provenance, kinds: Collection[str] = USUAL) -> Analysis:
    """Segment, measure and report one stack.

    Parameters
    ----------
    stack : Stack
    segmenter : Segmenter
    provenance : Provenance
    kinds : collection of str
        Which of `scarnode.pipeline.report.KINDS` are made.

    Returns
    -------
    Analysis

    Raises
    ------
    InputError
        The pixel data can not be decoded.
    """
    volume = read_volume(stack)
    segmentation = segmenter.segment(volume, stack.pixel_spacing)
    return _report(stack, volume, segmentation, provenance, kinds)


def analyse_correction(
    stack: Stack,
    seg: Path,
    segmenter: Segmenter,
    provenance: Provenance,
    kinds: Collection[str] = USUAL,
    *,
    even_if_unchanged: bool = False,
) -> Analysis | None:
    """Measure and report a person's segmentation of a stack.

    The network is run again. Its labels are compared with the correction, and its direction of the right ventricle
    orients the segments. Its interval and its flags do not apply to the correction.

    Parameters
    ----------
    stack : Stack
    seg : Path
        The corrected SEG, for which `find_corrected_stack` returned this stack.
    segmenter : Segmenter
    provenance : Provenance
        Its `correction` is read from the SEG here.
    kinds : collection of str
        As of `analyse`.
    even_if_unchanged : bool
        Also report labels that equal the network's: they revert an earlier correction.

    Returns
    -------
    Analysis or None
        Its objects hold no SEG; `correction` is set. None where the labels are the network's.

    Raises
    ------
    InputError
        The pixel data of images or SEG can not be decoded, or no myocardium is outlined.
    """
    from scarnode.pipeline.correct.read import read_correction
    from scarnode.pipeline.segment import Segmentation
    from scarnode.pipeline.segment.heart import ventricle_center

    corrected = read_correction(seg, stack)
    volume = read_volume(stack)
    found = segmenter.segment(volume, stack.pixel_spacing)
    if np.array_equal(corrected.labels, found.labels) and not even_if_unchanged:
        return None
    center = ventricle_center(corrected.labels)
    segmentation = Segmentation(corrected.labels, center, found.model, corrected.flags, found.right_ventricle)
    analysis = _report(stack, volume, segmentation, replace(provenance, correction=corrected.origin), kinds)
    return replace(analysis, correction=(corrected, found))


def _report(
    stack: Stack, volume: np.ndarray, segmentation: Segmentation, provenance: Provenance, kinds: Collection[str]
) -> Analysis:
    """Measure a segmentation and build its objects."""
    measurements = measure(stack, volume, segmentation)
    objects = build_results(stack, volume, segmentation, measurements, provenance, kinds)
    flags = tuple(dict.fromkeys([*(flag.value for flag in stack.flags), *segmentation.flags]))
    return Analysis(stack, volume, segmentation, measurements, objects, flags)


def provenance_now(stack: Stack, model_sha256: str, settings_digest: str) -> Provenance:
    """Return the provenance of an analysis that no ledger knows of, made now."""
    digest = input_digest(stack)
    key = job_key(digest, model_sha256, settings_digest)
    return Provenance(key, digest, __version__, datetime.now(timezone.utc))


def job_key(input_sha256: str, model_sha256: str, settings_digest: str) -> str:
    """Return the digest that names an analysis: the same input, model, settings and version make the same objects."""
    parts = (input_sha256, model_sha256, settings_digest, __version__)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def write_objects(objects: ResultObjects, folder: Path, root: Path | None = None) -> dict[str, Path]:
    """Write the result objects durably: a file is whole or absent, also after a crash.

    Parameters
    ----------
    objects : ResultObjects
    folder : Path
        Created where absent.
    root : Path, optional
        As of `scarnode.util.durable.replace_durably`; default: the folder above.

    Returns
    -------
    dict of str to Path
        Kind of every object with its file.
    """
    root = folder.parent if root is None else root
    make_folder(folder, root)
    files = {}
    for kind, dataset in objects.items():
        encoded = BytesIO()
        dataset.save_as(encoded, enforce_file_format=True)
        files[kind] = folder / f"{kind}.dcm"
        replace_durably(files[kind], (encoded.getvalue(),), root)
    return files
