"""The phantom's true labels as a DICOM Segmentation."""

from __future__ import annotations

from pathlib import Path

import highdicom as hd
import numpy as np
from pydicom import Dataset, dcmread
from pydicom.sr.coding import Code
from pydicom.uid import MRImageStorage

from scarnode import __version__
from scarnode.dicom.uids import derived_uid
from scarnode.phantom.instance import slice_position
from scarnode.phantom.model import Phantom
from scarnode.util.errors import InputError

_TISSUE = Code("85756007", "SCT", "Tissue")
_SEGMENTS = (
    ("LV blood pool", _TISSUE, Code("87612001", "SCT", "Blood"), (220, 60, 60)),
    (
        "LV myocardium without scar",
        Code("91723000", "SCT", "Anatomical Structure"),
        Code("49848007", "SCT", "Myocardium of left ventricle"),
        (70, 160, 90),
    ),
    ("Scar", _TISSUE, Code("12402003", "SCT", "Scar tissue"), (245, 200, 40)),
)
"""Label, category, type and display colour, in the order of `scarnode.pipeline.segment.model.Tissue` from 1."""


def truth_segmentation(phantom: Phantom, sources: list[Path]) -> Dataset:
    """Return the true labels as a binary SEG that references the source instances. See `dicom.write_truth`."""
    images = [dcmread(source) for source in sources]
    images = [image for image in images if image.SOPClassUID == MRImageStorage]
    places = {tuple(np.round(slice_position(phantom, i), 3)): i for i in range(len(phantom.image))}
    found: dict[int, Dataset] = {}
    for image in images:  # the phantom's own component comes first
        index = places.get(tuple(round(float(x), 3) for x in image.ImagePositionPatient))
        if index is not None:
            found.setdefault(index, image)
    if not found:
        raise InputError(
            "no source is a classic MR instance of this phantom", "write_truth", "give the files of write_dicom"
        )
    order = sorted(found)
    labels = phantom.label[order]
    algorithm = hd.AlgorithmIdentificationSequence(
        name="Digital phantom truth", version=__version__, family=Code("123109", "DCM", "Manual Processing")
    )
    key = ("phantom truth", *(str(found[i].SOPInstanceUID) for i in order))
    descriptions = [
        hd.seg.SegmentDescription(
            segment_number=number,
            segment_label=label,
            segmented_property_category=category,
            segmented_property_type=kind,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=algorithm,
            tracking_uid=derived_uid(*key, label),
            tracking_id=f"{label} (synthetic truth)",
            anatomic_regions=[Code("87878005", "SCT", "Left ventricle")],
            display_color=hd.color.CIELabColor.from_rgb(*color),
        )
        for number, (label, category, kind, color) in enumerate(_SEGMENTS, start=1)
    ]
    sources_of_seg = [found[i] for i in order]
    series = [str(image.SeriesInstanceUID) for image in sources_of_seg]
    for source in sources_of_seg:  # highdicom wants one series; the references are put right below
        source.SeriesInstanceUID = series[0]
    seg: Dataset = hd.seg.Segmentation(
        source_images=sources_of_seg,
        pixel_array=labels,
        segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
        segment_descriptions=descriptions,
        series_instance_uid=derived_uid(*key, "series"),
        series_number=900,
        sop_instance_uid=derived_uid(*key, "instance"),
        instance_number=1,
        manufacturer="scarnode",
        manufacturer_model_name="scarnode digital phantom",
        software_versions=__version__,
        device_serial_number="0",
        content_label="TRUTH",
        content_description="True labels of a synthetic phantom",
        content_creator_name="scarnode^",
        series_description="Synthetic truth",
        omit_empty_frames=False,
    )
    seg.ReferencedSeriesSequence = _series_references(sources_of_seg, series)
    # The same phantom writes the same file.
    seg.ContentDate = seg.InstanceCreationDate = seg.SeriesDate = "20240101"
    seg.ContentTime = seg.InstanceCreationTime = seg.SeriesTime = "101500"
    return seg


def _series_references(images: list[Dataset], series: list[str]) -> list[Dataset]:
    references: dict[str, Dataset] = {}
    for image, uid in zip(images, series, strict=True):
        reference = references.setdefault(uid, Dataset())
        reference.SeriesInstanceUID = uid
        instance = Dataset()
        instance.ReferencedSOPClassUID = image.SOPClassUID
        instance.ReferencedSOPInstanceUID = image.SOPInstanceUID
        reference.ReferencedInstanceSequence = [*reference.get("ReferencedInstanceSequence", []), instance]
    return list(references.values())
