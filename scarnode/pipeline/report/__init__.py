"""From a measured stack to DICOM SEG, SR and a picture."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from scarnode.dicom.result_kinds import KINDS, USUAL
from scarnode.pipeline.report.model import Provenance, ResultObjects
from scarnode.util.durable import replace_durably

if TYPE_CHECKING:
    from pathlib import Path

    import numpy as np
    from PIL import Image
    from pydicom.dataset import Dataset

    from scarnode.pipeline.measure.model import Measurements
    from scarnode.pipeline.segment.model import ModelIdentity, Segmentation
    from scarnode.pipeline.stack.model import Stack

__all__ = ["KINDS", "USUAL", "Provenance", "ResultObjects", "build_failure", "build_results", "save_page"]


def build_results(
    stack: Stack,
    volume: np.ndarray,
    segmentation: Segmentation,
    measurements: Measurements,
    provenance: Provenance,
    kinds: Collection[str] = USUAL,
) -> ResultObjects:
    """Build the DICOM objects of one result, in the study of the source images.

    A correction makes no SEG of any kind: its SR refers to the person's. The same arguments always give the same bytes.

    Parameters
    ----------
    stack : Stack
        Its first frame's file is read for patient and study; no file is changed.
    volume : numpy.ndarray
        float32, shape (slices, rows, columns): the images, for the picture.
    segmentation : Segmentation
        Labels of the same shape.
    measurements : Measurements
        From `scarnode.pipeline.measure.measure`.
    provenance : Provenance
        Every UID derives from its job_key, every date from its made_at.
    kinds : collection of str
        Which of `KINDS` are asked for; those of `USUAL` are made in any case.

    Returns
    -------
    ResultObjects

    Raises
    ------
    InputError
        A source image can not be read any more.
    """
    # highdicom takes half a second to import: not for those who only need the types
    from scarnode.pipeline.report.observers import referenced_seg
    from scarnode.pipeline.report.pictures import draw_sheet
    from scarnode.pipeline.report.seg import build_labelmap, build_probability, build_seg
    from scarnode.pipeline.report.source import read_header
    from scarnode.pipeline.report.sr import build_sr

    header = read_header(stack)
    seg = None
    if provenance.correction:
        source = referenced_seg(provenance.correction, header)
    else:
        source = seg = build_seg(stack, segmentation, header, provenance)
    sr = build_sr(stack, segmentation, measurements, source, header, provenance)
    page = draw_sheet(stack, volume, segmentation, measurements, header, provenance)
    sc, pdf = _pages(page, stack, segmentation.model, header, provenance, kinds)
    labelmap = probability = None
    if "labelmap" in kinds and not provenance.correction:
        labelmap = build_labelmap(stack, segmentation, header, provenance)
    if "probability" in kinds and segmentation.scar_probability is not None:  # a mask drawn by hand has none
        probability = build_probability(stack, segmentation, header, provenance)
    return ResultObjects(seg=seg, sr=sr, sc=sc, pdf=pdf, labelmap=labelmap, probability=probability)


def build_failure(
    stack: Stack, reason: str, model: ModelIdentity, provenance: Provenance, kinds: Collection[str] = USUAL
) -> ResultObjects:
    """Build the report of a stack that could not be analysed: an SR and a page that say so, and no SEG.

    Their UIDs are not those of a result: `build_results` with the same provenance makes other objects. The same
    arguments always give the same bytes.

    Parameters
    ----------
    stack : Stack
        Its first frame's header is read for patient and study; no pixel data is.
    reason : str
        For a person; without patient data.
    model : ModelIdentity
        Which network was to analyse it.
    provenance : Provenance
    kinds : collection of str
        With ``pdf`` among them the page is made as PDF too.

    Returns
    -------
    ResultObjects
        ``seg`` is None.

    Raises
    ------
    InputError
        A source image can not be read any more.
    """
    from scarnode.pipeline.report.pictures import draw_failure
    from scarnode.pipeline.report.source import read_header
    from scarnode.pipeline.report.sr import build_failure_sr

    provenance = replace(provenance, job_key=f"{provenance.job_key} failed")
    header = read_header(stack)
    sr = build_failure_sr(stack, reason, model, header, provenance)
    page = draw_failure(stack, header, provenance, reason)
    sc, pdf = _pages(page, stack, model, header, provenance, kinds)
    return ResultObjects(seg=None, sr=sr, sc=sc, pdf=pdf)


def save_page(capture: Dataset, path: Path, root: Path | None = None) -> None:
    """Save the page of a Secondary Capture, which bears the patient's name, as a PNG that its owner alone may read.

    Parameters
    ----------
    capture : Dataset
    path : Path
    root : Path, optional
        As of `scarnode.util.durable.replace_durably`.
    """
    from PIL import Image

    pixels, picture = capture.pixel_array, BytesIO()
    Image.fromarray(pixels if pixels.ndim == 3 else pixels[0]).save(picture, "PNG")
    replace_durably(path, [picture.getvalue()], root)


def _pages(
    page: Image.Image,
    stack: Stack,
    model: ModelIdentity,
    header: Dataset,
    provenance: Provenance,
    kinds: Collection[str],
) -> tuple[Dataset, Dataset | None]:
    """Write a page as Secondary Capture, and as PDF where that is asked for."""
    from scarnode.pipeline.report.pdf import encapsulate
    from scarnode.pipeline.report.pictures import capture

    pdf = encapsulate(page, stack, model, header, provenance) if "pdf" in kinds else None
    return capture(page, stack, model, header, provenance), pdf
