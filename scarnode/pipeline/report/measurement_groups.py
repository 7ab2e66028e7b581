"""The measurement groups of a report: TID 1411 for the segments of the SEG, TID 1501 for everything else (PS3.16).

Every group has a number with an outline on a source image, because OHIF can not open a report that has a group without
one, and jumps to the outline where there is one.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    CoordinatesForMeasurement,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementProperties,
    MeasurementsAndQualitativeEvaluations,
    NumContentItem,
    QualitativeEvaluation,
    ReferencedSegment,
    RelationshipTypeValues,
    SourceImageForMeasurementGroup,
    SourceImageForRegion,
    SourceImageForSegmentation,
    SourceSeriesForSegmentation,
    TextContentItem,
    TrackingIdentifier,
    VolumetricROIMeasurementsAndQualitativeEvaluations,
)
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from scarnode import RESEARCH_USE
from scarnode.pipeline.measure.model import AhaSegment, Measurements, SliceMeasurements, ThresholdMeasurement
from scarnode.pipeline.report import codes, common, observers
from scarnode.pipeline.report.contours import outlines, region, slice_region
from scarnode.pipeline.report.model import Provenance
from scarnode.pipeline.report.source import is_multi_frame
from scarnode.pipeline.segment.model import ModelIdentity, Tissue
from scarnode.pipeline.stack.grid import on_own_image
from scarnode.pipeline.stack.model import SourceFrame, Stack

SPACING_RULE = "Pixel area x centre-to-centre slice distance from ImagePositionPatient (half of it to each neighbour)"
INTERVAL_RULE = "the interval of the model card's calibration"

Group = VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


class Groups:
    """Builds the measurement groups of one report.

    Parameters
    ----------
    stack : Stack
    labels : numpy.ndarray
        uint8, shape (slices, rows, columns), values of `Tissue`: where the outlines come from.
    model : ModelIdentity
    provenance : Provenance
    segments : numpy.ndarray or None
        Same shape: number of the wall segment at every place (`scarnode.pipeline.measure.segment_map`).
    """

    def __init__(
        self,
        stack: Stack,
        labels: np.ndarray,
        model: ModelIdentity,
        provenance: Provenance,
        segments: np.ndarray | None = None,
    ) -> None:
        self.stack, self.labels, self.model, self.provenance = stack, labels, model, provenance
        self._segments = segments
        self._taken: set[int] = set()
        self._algorithm = observers.algorithm(model, provenance)

    def tissues(self, measurements: Measurements, enhancement: Code, seg: Dataset) -> list[Group]:
        """TID 1411 of scar, normal myocardium and blood pool; TID 1501 of the myocardium as a whole.

        Parameters
        ----------
        measurements : Measurements
        enhancement : Code
            Late enhancement present, absent or undetermined.
        seg : pydicom.Dataset
            The SEG that the groups refer to: ours, or the person's that was measured.
        """
        lge = self._number(codes.LGE_PERCENT, measurements.lge_percent, codes.PERCENT, codes.VOLUME_RATIO)
        evaluations: list[QualitativeEvaluation | TextContentItem] = [
            QualitativeEvaluation(codes.LATE_ENHANCEMENT, enhancement)
        ]
        if measurements.burden is not None:
            evaluations.append(QualitativeEvaluation(codes.BURDEN, codes.BURDENS[measurements.burden]))
        if lge is not None and measurements.lge_percent is not None and measurements.lge_interval is not None:
            lower, upper = measurements.lge_interval
            lge[0].ContentSequence.extend(_uncertainty(measurements.lge_percent, lower, upper))
            evaluations.append(_text(codes.INTERVAL, f"{lower:.1f} to {upper:.1f} %, {INTERVAL_RULE}"))
        scar = [
            self._number(codes.VOLUME, measurements.scar_volume, codes.CM3, codes.VOXEL_SUM),
            self._number(codes.MASS, measurements.scar_mass, codes.GRAM, codes.VOLUME_TIMES_DENSITY),
            lge,
        ]
        normal = self._number(codes.VOLUME, measurements.normal_volume, codes.CM3, codes.VOXEL_SUM)
        blood = self._number(codes.VOLUME, measurements.blood_volume, codes.CM3, codes.VOXEL_SUM)
        whole = [
            self._number(codes.VOLUME, measurements.myocardium_volume, codes.CM3, codes.VOXEL_SUM),
            self._number(codes.LV_MASS, measurements.myocardium_mass, codes.GRAM, codes.VOLUME_TIMES_DENSITY),
        ]
        return [
            self._segment(Tissue.SCAR, seg, scar, evaluations),
            self._segment(Tissue.MYOCARDIUM, seg, [normal]),
            self._segment(Tissue.BLOOD, seg, [blood]),
            self._group("LV myocardium, scar included", codes.LV_MYOCARDIUM, whole, self._place(None)),
        ]

    def slice(self, item: SliceMeasurements) -> Group:
        """TID 1501 of one slice."""
        numbers = [
            self._number(codes.SLICE_SCAR_VOLUME, item.scar_volume, codes.CM3, codes.VOXEL_SUM, alone=False),
            self._number(codes.SLICE_NORMAL_VOLUME, item.normal_volume, codes.CM3, codes.VOXEL_SUM, alone=False),
            self._number(codes.LGE_PERCENT, item.lge_percent, codes.PERCENT, codes.VOLUME_RATIO, alone=False),
        ]
        name = f"Slice {item.index + 1} of {len(self.stack.frames)}, base to apex"
        place = item.index, slice_region(self.labels[item.index])
        group = self._group(name, codes.LV_MYOCARDIUM, numbers, place, algorithm=self._algorithm)
        frame = self.stack.frames[item.index]
        group[0].ContentSequence.append(
            SourceImageForMeasurementGroup(
                frame.sop_class_uid, frame.sop_instance_uid, referenced_frame_numbers=_frame_number(frame)
            )
        )
        return group

    def wall_segment(self, item: AhaSegment) -> Group:
        """TID 1501 of one of the 17 segments: volume, %LGE, transmurality."""
        site = codes.AHA_SEGMENTS[item.number - 1]
        numbers = [
            self._number(codes.VOLUME, item.volume, codes.CM3, codes.VOXEL_SUM, alone=False),
            self._number(codes.LGE_PERCENT, item.lge_percent, codes.PERCENT, codes.VOLUME_RATIO, alone=False),
        ]
        evaluations = (
            [QualitativeEvaluation(codes.TRANSMURALITY, codes.TRANSMURALITIES[item.transmurality])]
            if item.transmurality is not None
            else []
        )
        where = site.meaning.lower().removeprefix("left ventricle ").removesuffix(" segment")
        name = f"AHA segment {item.number}, {where}"
        return self._group(
            name, codes.LV_MYOCARDIUM, numbers, self._wall(item.number), evaluations, self._algorithm, site
        )

    def threshold(self, item: ThresholdMeasurement) -> Group:
        """TID 1501 of the scar that an intensity threshold finds in the network's myocardium, for comparison."""
        method = codes.THRESHOLDS[item.method]
        algorithm = AlgorithmIdentification(
            name=f"{item.method} threshold",
            version=self.provenance.software_version,
            parameters=[f"within the myocardium outlined by {observers.outlined_by(self.model, self.provenance)}"],
        )
        numbers = [
            self._number(codes.VOLUME, item.scar_volume, codes.CM3, method, alone=False),
            self._number(codes.LGE_PERCENT, item.lge_percent, codes.PERCENT, method, alone=False),
        ]
        name = f"Scar by {item.method} threshold, for comparison"
        return self._group(name, codes.SCAR_TISSUE, numbers, self._place(None), algorithm=algorithm)

    def run(self, status: Code, flags: str, measurements: Measurements | None = None, reason: str = "") -> Group:
        """TID 1501 of the run: its status, what it was made from and by.

        Parameters
        ----------
        status : Code
            Of Summary of Analyses.
        flags : str
            Quality flags.
        measurements : Measurements or None
            None where nothing could be measured.
        reason : str
            Why the analysis failed; empty where it did not.
        """
        stack, model, provenance = self.stack, self.model, self.provenance
        count = len(stack.frames)
        texts = {
            codes.INTENDED_USE: RESEARCH_USE,
            codes.FAILURE_REASON: reason,
            codes.QUALITY_FLAGS: flags,
            codes.SLICES_USED: _slices_used(stack) if measurements else f"none of {count}",
            codes.IMAGE_COMPONENT: stack.component.value,
            codes.SPACING_RULE: SPACING_RULE if measurements else "",
            **observers.run_texts(model, provenance),
            codes.INPUT_DIGEST: provenance.input_digest,
            codes.SOFTWARE_VERSION: f"scarnode {provenance.software_version}",
        }
        numbers = [self._number(codes.NUMBER_OF_FRAMES, count, codes.COUNT, codes.FRAME_COUNT)]
        if measurements is not None:
            scar, myocardium = measurements.scar_volume_by_thickness, measurements.myocardium_volume_by_thickness
            numbers += [
                self._number(codes.SCAR_VOLUME_BY_THICKNESS, scar, codes.CM3, codes.VOXEL_SUM),
                self._number(codes.LV_VOLUME_BY_THICKNESS, myocardium, codes.CM3, codes.VOXEL_SUM),
            ]
        evaluations = [QualitativeEvaluation(codes.SUMMARY_OF_ANALYSES, status), *observers.run_evaluations(provenance)]
        group = self._group("Run", codes.ANALYSIS, numbers, self._place(None), evaluations)
        group[0].ContentSequence.extend(_text(name, text) for name, text in texts.items() if text)
        return group

    def _number(
        self, name: Code, value: float | None, unit: Code, method: Code, *, alone: bool = True
    ) -> Measurement | None:
        """One NUM with its method and, where it stands `alone`, its algorithm; None where there is no number."""
        if value is None:
            return None
        return Measurement(
            name=_concept(name),
            value=round(float(value), 4),
            unit=_concept(unit),
            method=_concept(method),
            algorithm_id=self._algorithm if alone else None,
        )

    def _segment(
        self,
        tissue: Tissue,
        seg: Dataset,
        numbers: Sequence[Measurement | None],
        evaluations: Sequence[QualitativeEvaluation | TextContentItem] = (),
    ) -> Group:
        """TID 1411 for one segment of the SEG; TID 1501 where a corrected SEG has no such segment."""
        segment = codes.SEGMENTS[tissue]
        segment_number = observers.segment_number(tissue, self.provenance)
        if segment_number is None:
            return self._group(segment.label, segment.type, numbers, self._place(tissue), evaluations)
        series = self.stack.series_instance_uids
        source: dict[str, Any] = (
            {"source_series": SourceSeriesForSegmentation(series[0])}
            if len(series) == 1
            else {
                "source_images": [
                    SourceImageForSegmentation(frame.sop_class_uid, frame.sop_instance_uid, _frame_number(frame))
                    for frame in self.stack.frames
                ]
            }
        )
        present = [number for number in numbers if number is not None]
        group = VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(common.tracking_uid(self.stack, segment.label), segment.label),
            referenced_segment=ReferencedSegment(
                seg.SOPClassUID, seg.SOPInstanceUID, segment_number=segment_number, **source
            ),
            finding_category=_concept(segment.category),
            finding_type=_concept(segment.type),
            finding_sites=[FindingSite(_concept(codes.LEFT_VENTRICLE))],
            measurements=present,
        )
        group[0].ContentSequence.extend(_items(evaluations))
        self._show(present, self._place(tissue))
        return group

    def _group(
        self,
        name: str,
        finding: Code,
        numbers: Sequence[Measurement | None],
        place: tuple[int, np.ndarray],
        evaluations: Sequence[QualitativeEvaluation | TextContentItem] = (),
        algorithm: AlgorithmIdentification | None = None,
        site: Code = codes.LEFT_VENTRICLE,
    ) -> Group:
        """TID 1501."""
        present = [number for number in numbers if number is not None]
        group = MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(common.tracking_uid(self.stack, name), name),
            finding_type=_concept(finding),
            finding_sites=[FindingSite(_concept(site))],
            algorithm_id=algorithm,
            measurements=present,
        )
        group[0].ContentSequence.extend(_items(evaluations))
        self._show(present, place)
        return group

    def _place(self, tissue: Tissue | None) -> tuple[int, np.ndarray]:
        """Choose where to show a number of the whole stack: a slice of its own while there are any."""
        index, outline = region(self.labels, tissue, self._taken)
        self._taken.add(index)
        return index, outline

    def _wall(self, number: int) -> tuple[int, np.ndarray]:
        """Choose where to show a wall segment: where it is largest; one that is in no image, in the middle of all."""
        if self._segments is not None and (self._segments == number).any():
            index = int(np.count_nonzero(self._segments == number, axis=(1, 2)).argmax())
            return index, outlines(self._segments[index] == number)[0]
        return region(self.labels, None)

    def _show(self, numbers: Sequence[Measurement], place: tuple[int, np.ndarray]) -> None:
        """Append to every number the outline that a viewer draws and jumps to.

        Done after the group is built: highdicom refuses coordinates in TID 1411 measurements, which OHIF needs.
        """
        index, outline = place
        frame = self.stack.frames[index]
        outline = on_own_image(outline, self.stack, frame)
        # one item for all numbers of the group: to make one takes longer than all else of a number
        coordinates = CoordinatesForMeasurement(
            graphic_type=GraphicTypeValues.POLYLINE,
            graphic_data=_corners(outline),
            source_image=SourceImageForRegion(frame.sop_class_uid, frame.sop_instance_uid, _frame_number(frame)),
        )
        for number in numbers:
            number[0].ContentSequence.append(coordinates)


def _slices_used(stack: Stack) -> str:
    """Describe how many slices were measured, and which of them not on their own pixels."""
    resampled = [str(number) for number, frame in enumerate(stack.frames, 1) if frame.grid is not None]
    more = f"; resampled to one pixel grid: {', '.join(resampled)}" if resampled else ""
    return f"all {len(stack.frames)} of the stack, base to apex{more}"


def _uncertainty(value: float, lower: float, upper: float) -> MeasurementProperties:
    """TID 310: how far the interval reaches above and below a value in percent.

    highdicom writes these as pure numbers; they have the unit of the value they belong to.
    """
    properties = MeasurementProperties()
    for name, reach in ((codes.UPPER_UNCERTAINTY, upper - value), (codes.LOWER_UNCERTAINTY, value - lower)):
        properties.append(
            NumContentItem(
                name=_concept(name),
                value=round(max(0.0, float(reach)), 4),
                unit=_concept(codes.PERCENT),
                relationship_type=RelationshipTypeValues.HAS_PROPERTIES,
            )
        )
    return properties


def _items(evaluations: Sequence[QualitativeEvaluation | TextContentItem]) -> list[Dataset]:
    """Return the content items of evaluations: each CODE comes as a sequence of one."""
    return [item if isinstance(item, Dataset) else item[0] for item in evaluations]


def _text(name: Code, text: str) -> TextContentItem:
    return TextContentItem(_concept(name), text, relationship_type=RelationshipTypeValues.CONTAINS)


def _corners(outline: np.ndarray) -> np.ndarray:
    """Drop the points that lie on a straight line between their neighbours: the same outline, shorter to write."""
    step = np.diff(outline, axis=0)
    is_corner = step[:-1, 0] * step[1:, 1] != step[:-1, 1] * step[1:, 0]
    return outline[np.concatenate([[True], is_corner, [True]])]


def _frame_number(frame: SourceFrame) -> list[int] | None:
    return [frame.frame_number] if is_multi_frame(frame) else None


@cache
def _concept(code: Code) -> CodedConcept:
    """Return the code as an item; one for all places that use it, which saves a tenth of the time."""
    return CodedConcept.from_code(code)
