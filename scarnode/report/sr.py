"""The measurements as a DICOM Comprehensive 3D SR, template TID 1500 (PS3.16)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    CoordinatesForMeasurement,
    DeviceObserverIdentifyingAttributes,
    FindingSite,
    GraphicTypeValues,
    Measurement,
    MeasurementReport,
    MeasurementsAndQualitativeEvaluations,
    ObservationContext,
    ObserverContext,
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
from pydicom.sr.codedict import codes as dicom_codes
from pydicom.sr.coding import Code
from pydicom.uid import Comprehensive3DSRStorage, ExplicitVRLittleEndian

from scarnode import RESEARCH_USE
from scarnode.measure.model import Measurements, SliceMeasurements
from scarnode.report import codes, stamp
from scarnode.report.contours import region, slice_region
from scarnode.report.model import Provenance
from scarnode.report.source import evidence, is_multi_frame
from scarnode.segment.model import ModelIdentity, Segmentation, Tissue
from scarnode.stack.model import Flag, SourceFrame, Stack

INCOMPLETE_FLAGS = frozenset({Flag.MISSING_SLICE, Flag.FEW_SLICES, Flag.CONFLICTING_CONTENT})
"""With one of these the numbers speak of a part of the ventricle only."""

SPACING_RULE = "Pixel area x centre-to-centre slice distance from ImagePositionPatient (half of it to each neighbour)"

Group = VolumetricROIMeasurementsAndQualitativeEvaluations | MeasurementsAndQualitativeEvaluations


def build_sr(
    stack: Stack,
    segmentation: Segmentation,
    measurements: Measurements,
    seg: Dataset,
    header: Dataset,
    provenance: Provenance,
) -> Dataset:
    """Write the measurements as one measurement report.

    One TID 1411 group per segment; TID 1501 groups for the myocardium as a whole, for every slice, and for the
    run (status and provenance). Every group has a number with an outline on a source image, because OHIF can not open
    a report that has a group without one, and jumps to the outline where there is one.

    Parameters
    ----------
    stack : Stack
    segmentation : Segmentation
    measurements : Measurements
    seg : pydicom.Dataset
        From `scarnode.report.seg.build_seg`.
    header : pydicom.Dataset
        From `scarnode.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Comprehensive 3D SR Storage, explicit VR little endian.
    """
    model = segmentation.model
    make = _Groups(stack, segmentation, model, seg, provenance)
    status = run_status(stack, measurements)
    groups: list[Group] = [
        make.scar(measurements),
        make.normal_myocardium(measurements),
        make.blood_pool(measurements),
        make.whole_myocardium(measurements),
        *(make.slice(item) for item in measurements.slices),
        make.run(measurements, status),
    ]
    # highdicom copies and searches the whole tree several times: it gets the first group, the others join below
    report = MeasurementReport(
        observation_context=_observer(model, provenance),
        procedure_reported=codes.PROCEDURE,
        imaging_measurements=groups[:1],
        title=codes.IMAGING_MEASUREMENT_REPORT,
    )
    dataset = Comprehensive3DSR(
        evidence=[*evidence(stack, header), seg],
        content=report,
        series_instance_uid=stamp.series_uid(stamp.SR, provenance),
        series_number=stamp.SR.series_number,
        sop_instance_uid=stamp.instance_uid(stamp.SR, provenance),
        instance_number=1,
        is_complete=status == codes.SUCCEEDED,
        previous_versions=_predecessors(stack, provenance),
        transfer_syntax_uid=ExplicitVRLittleEndian,
        specific_character_set="ISO_IR 192",
        coding_schemes=[codes.private_scheme()],
        **stamp.equipment(model, provenance),
    )
    container = dataset.ContentSequence[-1]
    container.ContentSequence.extend(group[0] for group in groups[1:])
    if status != codes.SUCCEEDED:
        dataset.CompletionFlagDescription = _flags(stack, segmentation)[:64]
    return stamp.finish(dataset, stamp.SR, header, stack, model, provenance)


def run_status(stack: Stack, measurements: Measurements) -> Code:
    """Judge the analysis: failed without myocardium, partial where part of the ventricle is not in the images."""
    if measurements.lge_percent is None:
        return codes.FAILED
    return codes.PARTIALLY_SUCCEEDED if INCOMPLETE_FLAGS & set(stack.flags) else codes.SUCCEEDED


def late_enhancement(measurements: Measurements) -> Code:
    """Late enhancement present or absent; undetermined where no myocardium was found."""
    if measurements.lge_percent is None:
        return codes.UNDETERMINED
    return codes.PRESENT if measurements.scar_volume > 0 else codes.ABSENT


class _Groups:
    """The measurement groups of one report."""

    def __init__(
        self, stack: Stack, segmentation: Segmentation, model: ModelIdentity, seg: Dataset, provenance: Provenance
    ) -> None:
        self.stack, self.segmentation, self.model, self.seg = stack, segmentation, model, seg
        self.provenance = provenance
        self.taken: set[int] = set()
        self.algorithm = AlgorithmIdentification(
            name=model.name, version=model.version, parameters=[f"model_sha256={model.sha256}"]
        )

    def scar(self, measurements: Measurements) -> Group:
        """TID 1411 of the scar: volume, mass, %LGE, late enhancement present or absent."""
        numbers = [
            self._number(codes.VOLUME, measurements.scar_volume, codes.CM3, codes.VOXEL_SUM),
            self._number(codes.MASS, measurements.scar_mass, codes.GRAM, codes.VOLUME_TIMES_DENSITY),
            self._number(codes.LGE_PERCENT, measurements.lge_percent, codes.PERCENT, codes.VOLUME_RATIO),
        ]
        finding = QualitativeEvaluation(codes.LATE_ENHANCEMENT, late_enhancement(measurements))
        return self._segment(Tissue.SCAR, numbers, [finding])

    def normal_myocardium(self, measurements: Measurements) -> Group:
        """TID 1411 of the myocardium without scar."""
        volume = self._number(codes.VOLUME, measurements.normal_volume, codes.CM3, codes.VOXEL_SUM)
        return self._segment(Tissue.MYOCARDIUM, [volume])

    def blood_pool(self, measurements: Measurements) -> Group:
        """TID 1411 of the blood pool."""
        volume = self._number(codes.VOLUME, measurements.blood_volume, codes.CM3, codes.VOXEL_SUM)
        return self._segment(Tissue.BLOOD, [volume])

    def whole_myocardium(self, measurements: Measurements) -> Group:
        """TID 1501 of scar and normal myocardium together: volume and mass."""
        numbers = [
            self._number(codes.VOLUME, measurements.myocardium_volume, codes.CM3, codes.VOXEL_SUM),
            self._number(codes.LV_MASS, measurements.myocardium_mass, codes.GRAM, codes.VOLUME_TIMES_DENSITY),
        ]
        return self._group("LV myocardium, scar included", codes.LV_MYOCARDIUM, numbers, *self._place(None))

    def slice(self, item: SliceMeasurements) -> Group:
        """TID 1501 of one slice."""
        numbers = [
            self._number(codes.SLICE_SCAR_VOLUME, item.scar_volume, codes.CM3, codes.VOXEL_SUM, alone=False),
            self._number(codes.SLICE_NORMAL_VOLUME, item.normal_volume, codes.CM3, codes.VOXEL_SUM, alone=False),
            self._number(codes.LGE_PERCENT, item.lge_percent, codes.PERCENT, codes.VOLUME_RATIO, alone=False),
        ]
        name = f"Slice {item.index + 1} of {len(self.stack.frames)}, base to apex"
        outline = slice_region(self.segmentation.labels[item.index])
        group = self._group(name, codes.LV_MYOCARDIUM, numbers, item.index, outline, algorithm=self.algorithm)
        frame = self.stack.frames[item.index]
        group[0].ContentSequence.append(
            SourceImageForMeasurementGroup(
                frame.sop_class_uid, frame.sop_instance_uid, referenced_frame_numbers=_frame_number(frame)
            )
        )
        return group

    def run(self, measurements: Measurements, status: Code) -> Group:
        """TID 1501 of the run: its status, what it was made from and by."""
        stack, model, provenance = self.stack, self.model, self.provenance
        texts = {
            codes.INTENDED_USE: RESEARCH_USE,
            codes.QUALITY_FLAGS: _flags(stack, self.segmentation),
            codes.SLICES_USED: f"all {len(stack.frames)} of the stack, base to apex",
            codes.IMAGE_COMPONENT: stack.component.value,
            codes.SPACING_RULE: SPACING_RULE,
            codes.MODEL_DIGEST: model.sha256,
            codes.TRAINING_DATA: model.training_data,
            codes.INPUT_DIGEST: provenance.input_digest,
            codes.SOFTWARE_VERSION: f"scarnode {provenance.software_version}",
        }
        scar, myocardium = measurements.scar_volume_by_thickness, measurements.myocardium_volume_by_thickness
        numbers = [
            self._number(codes.NUMBER_OF_FRAMES, len(stack.frames), codes.COUNT, codes.FRAME_COUNT),
            self._number(codes.SCAR_VOLUME_BY_THICKNESS, scar, codes.CM3, codes.VOXEL_SUM),
            self._number(codes.LV_VOLUME_BY_THICKNESS, myocardium, codes.CM3, codes.VOXEL_SUM),
        ]
        evaluation = QualitativeEvaluation(codes.SUMMARY_OF_ANALYSES, status)
        group = self._group("Run", codes.ANALYSIS, numbers, *self._place(None), [evaluation])
        for name, text in texts.items():
            if text:
                group[0].ContentSequence.append(
                    TextContentItem(_concept(name), text, relationship_type=RelationshipTypeValues.CONTAINS)
                )
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
            algorithm_id=self.algorithm if alone else None,
        )

    def _segment(
        self,
        tissue: Tissue,
        numbers: Sequence[Measurement | None],
        evaluations: Sequence[QualitativeEvaluation] = (),
    ) -> Group:
        """TID 1411 for one segment of the SEG."""
        segment = codes.SEGMENTS[tissue]
        series = self.stack.series_instance_uids
        source: dict[str, object] = (
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
            tracking_identifier=TrackingIdentifier(stamp.tracking_uid(self.stack, segment.label), segment.label),
            referenced_segment=ReferencedSegment(
                self.seg.SOPClassUID, self.seg.SOPInstanceUID, segment_number=int(tissue), **source
            ),
            finding_category=_concept(segment.category),
            finding_type=_concept(segment.type),
            finding_sites=[FindingSite(_concept(codes.LEFT_VENTRICLE))],
            measurements=present,
            qualitative_evaluations=evaluations or None,
        )
        self._show(present, *self._place(tissue))
        return group

    def _group(
        self,
        name: str,
        finding: Code,
        numbers: Sequence[Measurement | None],
        index: int,
        outline: np.ndarray,
        evaluations: Sequence[QualitativeEvaluation] = (),
        algorithm: AlgorithmIdentification | None = None,
    ) -> Group:
        """TID 1501."""
        present = [number for number in numbers if number is not None]
        group = MeasurementsAndQualitativeEvaluations(
            tracking_identifier=TrackingIdentifier(stamp.tracking_uid(self.stack, name), name),
            finding_type=_concept(finding),
            finding_sites=[FindingSite(_concept(codes.LEFT_VENTRICLE))],
            algorithm_id=algorithm,
            measurements=present,
            qualitative_evaluations=evaluations or None,
        )
        self._show(present, index, outline)
        return group

    def _place(self, tissue: Tissue | None) -> tuple[int, np.ndarray]:
        """Choose where to show a number of the whole stack: a slice of its own while there are any."""
        index, outline = region(self.segmentation.labels, tissue, self.taken)
        self.taken.add(index)
        return index, outline

    def _show(self, numbers: Iterable[Measurement], index: int, outline: np.ndarray) -> None:
        """Append to every number the outline that a viewer draws and jumps to.

        Done after the group is built: highdicom refuses coordinates in TID 1411 measurements, which OHIF needs.
        """
        frame = self.stack.frames[index]
        for number in numbers:
            number[0].ContentSequence.append(
                CoordinatesForMeasurement(
                    graphic_type=GraphicTypeValues.POLYLINE,
                    graphic_data=outline,
                    source_image=SourceImageForRegion(
                        frame.sop_class_uid, frame.sop_instance_uid, _frame_number(frame)
                    ),
                )
            )


def _observer(model: ModelIdentity, provenance: Provenance) -> ObservationContext:
    """Name the algorithm as the device that observed."""
    return ObservationContext(
        observer_device_context=ObserverContext(
            observer_type=dicom_codes.DCM.Device,
            observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
                uid=stamp.device_uid(model, provenance),
                name="scarnode",
                manufacturer_name=stamp.MANUFACTURER,
                model_name=f"{model.name} {model.version}",
                serial_number=model.sha256[:16],
            ),
        )
    )


def _predecessors(stack: Stack, provenance: Provenance) -> list[Dataset] | None:
    """Give the report that this one revises, for PredecessorDocumentsSequence."""
    if provenance.predecessor is None:
        return None
    dataset = Dataset()
    dataset.SOPClassUID = Comprehensive3DSRStorage
    dataset.StudyInstanceUID = stack.study_instance_uid
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID = provenance.predecessor
    return [dataset]


def _flags(stack: Stack, segmentation: Segmentation) -> str:
    """List the flags of stack and segmentation."""
    return ", ".join([*(flag.value for flag in stack.flags), *segmentation.flags]) or "none"


def _frame_number(frame: SourceFrame) -> list[int] | None:
    return [frame.frame_number] if is_multi_frame(frame) else None


@cache
def _concept(code: Code) -> CodedConcept:
    """Give the code as an item; one for all places that use it, which saves a tenth of the time."""
    return CodedConcept.from_code(code)
