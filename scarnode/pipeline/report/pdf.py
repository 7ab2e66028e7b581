"""The report page as an Encapsulated PDF: a picture of the page, its text is not selectable."""

from __future__ import annotations

from io import BytesIO

from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import EncapsulatedPDFStorage, ExplicitVRLittleEndian

from scarnode import RESEARCH_USE
from scarnode.pipeline.report import common
from scarnode.pipeline.report.model import Provenance
from scarnode.pipeline.report.source import instances, reference_to
from scarnode.pipeline.segment.model import ModelIdentity
from scarnode.pipeline.stack.model import Stack

A4 = (210 / 25.4, 297 / 25.4)
"""Inches; the page is never larger."""
TITLE = "LGE scar analysis: " + RESEARCH_USE


def encapsulate(
    page: Image.Image, stack: Stack, model: ModelIdentity, header: Dataset, provenance: Provenance
) -> Dataset:
    """Write a page as Encapsulated PDF in the study of the images.

    Parameters
    ----------
    page : PIL.Image.Image
        RGB, of `scarnode.pipeline.report.pictures.draw_sheet` or `draw_failure`.
    stack : Stack
    model : ModelIdentity
    header : pydicom.Dataset
        From `scarnode.pipeline.report.source.read_header`.
    provenance : Provenance

    Returns
    -------
    pydicom.Dataset
        Encapsulated PDF Storage (PS3.3 section A.45.1), explicit VR little endian, BurnedInAnnotation YES.
    """
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = EncapsulatedPDFStorage
    dataset.SOPInstanceUID = common.instance_uid(common.PDF, provenance)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    dataset.StudyInstanceUID = stack.study_instance_uid
    dataset.SeriesInstanceUID = common.series_uid(common.PDF, provenance)
    dataset.SeriesNumber, dataset.InstanceNumber = common.PDF.series_number, 1
    dataset.Modality, dataset.ConversionType = "DOC", "WSD"
    equipment = common.equipment(model, provenance)
    dataset.Manufacturer = equipment["manufacturer"]
    dataset.ManufacturerModelName = equipment["manufacturer_model_name"]
    dataset.SoftwareVersions = equipment["software_versions"]
    dataset.DeviceSerialNumber = equipment["device_serial_number"]
    dataset.AcquisitionDateTime = None
    dataset.BurnedInAnnotation = "YES"
    dataset.DocumentTitle = TITLE
    dataset.ConceptNameCodeSequence = []
    dataset.SourceInstanceSequence = [reference_to(frame) for frame in instances(stack)]
    dataset.MIMETypeOfEncapsulatedDocument = "application/pdf"
    written = write_pdf(page, provenance)
    dataset.EncapsulatedDocumentLength = len(written)
    dataset.EncapsulatedDocument = written + b"\0" * (len(written) % 2)
    return common.finish(dataset, common.PDF, header, stack, model, provenance)


def write_pdf(page: Image.Image, provenance: Provenance) -> bytes:
    """Write one page as PDF, at most A4; the same page and provenance give the same bytes."""
    made = provenance.made_at.timetuple()
    buffer = BytesIO()
    page.save(
        buffer,
        "PDF",
        resolution=max(page.width / A4[0], page.height / A4[1]),
        title=TITLE,
        producer=f"scarnode {provenance.software_version}",
        creationDate=made,
        modDate=made,
        quality=92,
        subsampling=0,
        optimize=True,
    )
    return buffer.getvalue()
