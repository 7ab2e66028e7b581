"""Attributes that all result objects share: equipment, time, patient, UIDs."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from typing import Any

from highdicom import ContributingEquipment
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.uid import UID
from pydicom.valuerep import DT

from scarnode import RESEARCH_USE
from scarnode.dicom.uids import IMPLEMENTATION_CLASS_UID, derived_uid
from scarnode.dicom.values import PATIENT_AND_STUDY
from scarnode.pipeline.report import codes
from scarnode.pipeline.report.model import Provenance
from scarnode.pipeline.report.sequence_cache import encode_sequences
from scarnode.pipeline.segment.model import ModelIdentity
from scarnode.pipeline.stack.model import Component, Stack

MANUFACTURER = "scarnode"


@dataclass(frozen=True)
class Kind:
    """One of the objects of a result.

    Attributes
    ----------
    name : str
        SEG, SR, SC, ...: part of its UIDs and its SeriesDescription.
    series_number : int
        High, so that the results list after the images.
    """

    name: str
    series_number: int


SEG = Kind("SEG", 9001)
SR = Kind("SR", 9002)
SC = Kind("SC", 9003)
PDF = Kind("PDF", 9004)
LABELMAP = Kind("LABELMAP", 9005)
PROBABILITY = Kind("PROBABILITY", 9006)


def series_uid(kind: Kind, provenance: Provenance) -> UID:
    """SeriesInstanceUID of one object of a result: always the same for the same job."""
    return derived_uid(provenance.job_key, kind.name, "series")


def instance_uid(kind: Kind, provenance: Provenance) -> UID:
    """SOPInstanceUID of one object of a result: always the same for the same job."""
    return derived_uid(provenance.job_key, kind.name, "instance")


def device_uid(model: ModelIdentity, provenance: Provenance) -> UID:
    """UID of the algorithm: changes with the weights and with the software version."""
    return derived_uid("device", model.sha256, provenance.software_version)


def tracking_uid(stack: Stack, what: str) -> UID:
    """UID of a finding in these images: stays the same when they are analysed again by another model."""
    return derived_uid("tracking", stack.study_instance_uid, *stack.series_instance_uids, what)


def series_description(kind: Kind, stack: Stack, provenance: Provenance) -> str:
    """Name the object, the component where it is not the usual one, and that a person corrected it."""
    psir = " (PSIR)" if stack.component is Component.PSIR else ""
    return f"scarnode LGE {kind.name}{psir}{' (corrected)' if provenance.correction else ''}"


def equipment(model: ModelIdentity, provenance: Provenance) -> dict[str, Any]:
    """General Equipment arguments shared by highdicom's constructors: the network, or the program that measured."""
    network, software = provenance.correction is None, f"scarnode {provenance.software_version}"[:64]
    return {
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": model.name[:64] if network else "scarnode",
        "software_versions": [software, f"model {model.version}"[:64]] if network else [software],
        "device_serial_number": model.sha256[:16],
    }


def finish(
    dataset: Dataset, kind: Kind, header: Dataset, stack: Stack, model: ModelIdentity, provenance: Provenance
) -> Dataset:
    """Set the common attributes of a result object, and return it as it will be written.

    highdicom writes the present time and its own name. They are replaced by those of the provenance, so that the same
    input always gives the same bytes.
    """
    for keyword in PATIENT_AND_STUDY:
        if keyword in header:
            dataset[keyword] = header[keyword]
    dataset.SpecificCharacterSet = "ISO_IR 192"
    made_at = local_time(header, provenance)
    date, time = made_at.strftime("%Y%m%d"), made_at.strftime("%H%M%S.%f")
    dataset.InstanceCreationDate = dataset.ContentDate = dataset.SeriesDate = date
    dataset.InstanceCreationTime = dataset.ContentTime = dataset.SeriesTime = time
    dataset.SeriesDescription = series_description(kind, stack, provenance)
    if kind not in (SR, PDF):  # documents have neither; they say their intended use themselves
        dataset.BodyPartExamined = "HEART"
        dataset.ImageComments = RESEARCH_USE
    dataset.ContributingEquipmentSequence = _contributing_equipment(header, model, provenance)

    meta = dataset.file_meta
    meta.ImplementationClassUID = IMPLEMENTATION_CLASS_UID
    meta.ImplementationVersionName = f"SCARNODE_{provenance.software_version}"[:16]
    if kind is SR:
        encode_sequences(dataset)
    buffer = BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    buffer.seek(0)
    return dcmread(buffer)


def local_time(header: Dataset, provenance: Provenance) -> datetime:
    """Return when a result was made, in the time zone of its TimezoneOffsetFromUTC.

    Where the source states no offset, its time zone is unknown, and the time is in UTC.
    """
    offset = str(header.get("TimezoneOffsetFromUTC", "") or "")
    if not offset or provenance.made_at.tzinfo is None:
        return provenance.made_at
    return provenance.made_at.astimezone(datetime.strptime(offset, "%z").tzinfo)


def moment(header: Dataset, provenance: Provenance) -> str:
    """Return when a result was made as a DT, with its offset from UTC where that is known."""
    made_at = local_time(header, provenance)
    return made_at.strftime("%Y%m%d%H%M%S.%f%z")


def _contributing_equipment(
    header: Dataset, model: ModelIdentity, provenance: Provenance
) -> list[ContributingEquipment]:
    """Scanner, algorithm (with its Device UID, as IHE AI Results asks) and software library."""
    now = moment(header, provenance)
    items = []
    if header.get("Manufacturer"):
        items.append(ContributingEquipment.for_image_acquisition(_scanner(header)))
    shared = equipment(model, provenance)
    algorithm = ContributingEquipment(
        purpose_of_reference=codes.PROCESSING_EQUIPMENT,
        contribution_datetime=now,
        contribution_description=(
            "Measurement of a corrected LGE segmentation"
            if provenance.correction
            else "LGE scar segmentation and measurement"
        ),
        **shared,
    )
    algorithm.DeviceUID = device_uid(model, provenance)
    library = ContributingEquipment.for_highdicom()
    library.ContributionDateTime = DT(now)
    return [*items, algorithm, library]


def _scanner(header: Dataset) -> Dataset:
    """Return the equipment attributes the form that ContributingEquipment takes."""
    scanner = Dataset()
    scanner.update(header)
    scanner.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
    return scanner
