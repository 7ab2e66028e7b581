"""The origin of a report's outlines, in the report: the network, or a person's SEG."""

from __future__ import annotations

from highdicom.sr import (
    AlgorithmIdentification,
    DeviceObserverIdentifyingAttributes,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    QualitativeEvaluation,
)
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes as dicom_codes
from pydicom.sr.coding import Code
from pydicom.valuerep import PersonName

from scarnode.pipeline.report import codes, common
from scarnode.pipeline.report.model import Origin, Provenance
from scarnode.pipeline.segment.model import ModelIdentity, Tissue


def referenced_seg(origin: Origin, header: Dataset) -> Dataset:
    """Return the attributes of the corrected SEG that an SR needs to reference it."""
    seg = Dataset()
    seg.update({element.tag: element for element in header})
    seg.SOPClassUID, seg.SOPInstanceUID = origin.sop_class_uid, origin.sop_instance_uid
    seg.SeriesInstanceUID, seg.Modality = origin.series_instance_uid, "SEG"
    return seg


def segment_number(tissue: Tissue, provenance: Provenance) -> int | None:
    """Return the segment of a tissue in the SEG that the report refers to; None where it has none."""
    return int(tissue) if provenance.correction is None else provenance.correction.segments.get(tissue)


def algorithm(model: ModelIdentity, provenance: Provenance) -> AlgorithmIdentification:
    """Name what made the numbers: the network; for a correction the program that counted the person's voxels."""
    if provenance.correction is None:
        parameters = [f"model_sha256={model.sha256}"]
        return AlgorithmIdentification(name=model.name, version=model.version, parameters=parameters)
    return AlgorithmIdentification(
        name="scarnode measurement of a corrected SEG",
        version=provenance.software_version,
        parameters=[f"SegmentAlgorithmType={algorithm_type(provenance)}"],
    )


def outlined_by(model: ModelIdentity, provenance: Provenance) -> str:
    """Describe who outlined the heart."""
    return f"{model.name} {model.version}" if provenance.correction is None else "a person (corrected SEG)"


def algorithm_type(provenance: Provenance) -> str:
    """Return SegmentAlgorithmType: AUTOMATIC, SEMIAUTOMATIC or MANUAL."""
    if provenance.correction is None:
        return "AUTOMATIC"
    return "MANUAL" if provenance.correction.by_hand else "SEMIAUTOMATIC"


def observers(model: ModelIdentity, provenance: Provenance) -> ObservationContext:
    """Name who observed: the algorithm as a device; in a correction also the person whom the SEG names."""
    network = provenance.correction is None
    device = ObserverContext(
        observer_type=dicom_codes.DCM.Device,
        observer_identifying_attributes=DeviceObserverIdentifyingAttributes(
            uid=common.device_uid(model, provenance),
            name="scarnode",
            manufacturer_name=common.MANUFACTURER,
            model_name=f"{model.name} {model.version}" if network else f"scarnode {provenance.software_version}",
            serial_number=model.sha256[:16] if network else None,
        ),
    )
    person = None
    if provenance.correction is not None and provenance.correction.creator.strip("^= "):
        person = ObserverContext(
            observer_type=dicom_codes.DCM.Person,
            observer_identifying_attributes=PersonObserverIdentifyingAttributes(
                name=PersonName(provenance.correction.creator)  # type: ignore[arg-type]  # highdicom's hint is too narrow
            ),
        )
    return ObservationContext(observer_person_context=person, observer_device_context=device)


def run_texts(model: ModelIdentity, provenance: Provenance) -> dict[Code, str]:
    """Describe in the Run group where the outlines come from."""
    if provenance.correction is None:
        return {codes.MODEL_DIGEST: model.sha256, codes.TRAINING_DATA: model.training_data}
    origin = provenance.correction
    return {
        codes.CORRECTED_SEG: f"{origin.sop_instance_uid} ({algorithm_type(provenance)})",
        codes.CORRECTED_MODEL: f"{model.name} {model.version}, sha256 {model.sha256}",
    }


def run_evaluations(provenance: Provenance) -> list[QualitativeEvaluation]:
    """State by code that a person outlined it."""
    if provenance.correction is None:
        return []
    return [QualitativeEvaluation(codes.SEGMENTATION_ORIGIN, codes.MANUAL)]
