"""Stacks of real (not cardiac) Enhanced MR files, only for their headers: the labels are made up."""

import warnings
from pathlib import Path

import numpy as np
from pydicom import dcmread

from scarnode.pipeline.measure import measure
from scarnode.pipeline.report import Provenance
from scarnode.pipeline.segment.model import Segmentation, Tissue
from scarnode.pipeline.stack.model import Component, SourceFrame, Stack
from tests.pipeline.report.sources import MADE_AT, MODEL


def enhanced_stacks(folder: Path):
    """Give (stack, other arguments of build_results) for each Enhanced MR file: three frames of it."""
    for path in sorted(folder.rglob("*.dcm")):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            source = dcmread(path, stop_before_pixels=True)
        if "PerFrameFunctionalGroupsSequence" not in source or "SharedFunctionalGroupsSequence" not in source:
            continue
        stack = _stack(path, source)
        if stack is None:
            continue
        labels = np.zeros((len(stack.frames), stack.rows, stack.columns), np.uint8)
        labels[:, 20:40, 20:40] = Tissue.MYOCARDIUM
        labels[:, 25:35, 25:35] = Tissue.BLOOD
        labels[0, 22:24, 22:30] = Tissue.SCAR
        segmentation = Segmentation(labels, None, MODEL)
        volume = np.random.default_rng(1).random(labels.shape).astype(np.float32)
        provenance = Provenance(stack.frames[0].sop_instance_uid, "0", "0.1.0", MADE_AT)
        yield stack, (volume, segmentation, measure(stack, volume, segmentation), provenance)


def _stack(path, source):
    shared, first = source.SharedFunctionalGroupsSequence[0], source.PerFrameFunctionalGroupsSequence[0]

    def group(name):
        return (shared if name in shared else first)[name][0]

    positions = {}
    for number, item in enumerate(source.PerFrameFunctionalGroupsSequence, 1):
        if "PlanePositionSequence" in item:
            position = tuple(float(v) for v in item.PlanePositionSequence[0].ImagePositionPatient)
            positions.setdefault(position, number)
    if len(positions) < 2:
        return None
    orientation = tuple(float(v) for v in group("PlaneOrientationSequence").ImageOrientationPatient)
    normal = np.cross(orientation[:3], orientation[3:])
    chosen = sorted(positions.items(), key=lambda pair: float(np.dot(normal, pair[0])))[:3]
    return Stack(
        source.StudyInstanceUID,
        source.get("FrameOfReferenceUID", ""),
        Component.MAGNITUDE,
        "",
        source.Rows,
        source.Columns,
        tuple(float(v) for v in group("PixelMeasuresSequence").PixelSpacing),
        orientation,
        8.0,
        None,
        tuple(
            SourceFrame(path, source.SOPClassUID, source.SOPInstanceUID, source.SeriesInstanceUID, number, position)
            for position, number in chosen
        ),
    )
