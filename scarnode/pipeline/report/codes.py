"""Every coded concept of the result objects, in one place.

Sources: DICOM PS3.16 (DCM), SNOMED CT (SCT), LOINC (LN), UCUM, as listed in pydicom's code dictionary. Where no
standard code was found, a private code of the scheme `PRIVATE_SCHEME`, which every object that uses it identifies
in its CodingSchemeIdentificationSequence (PS3.3 section C.12.1.1.1). docs/results.md lists them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from scarnode.pipeline.measure.model import Burden, Transmurality
from scarnode.pipeline.segment.model import Tissue

PRIVATE_SCHEME = "99SCARNODE"


def private_scheme() -> CodingSchemeIdentificationItem:
    """Identify the private coding scheme, for CodingSchemeIdentificationSequence."""
    return CodingSchemeIdentificationItem(
        designator=PRIVATE_SCHEME,
        name="scarnode private codes",
        version="1",
        responsible_organization="scarnode",
    )


def _private(value: str, meaning: str) -> Code:
    """Return a private code: at most 16 characters for the value, 64 for the meaning (SH, LO)."""
    return Code(value, PRIVATE_SCHEME, meaning)


# Anatomy and findings
LEFT_VENTRICLE = Code("87878005", "SCT", "Left ventricle")
LV_MYOCARDIUM = Code("49848007", "SCT", "Myocardium of left ventricle")
SCAR_TISSUE = Code("12402003", "SCT", "Scar tissue")
BLOOD = Code("87612001", "SCT", "Blood")
TISSUE = Code("85756007", "SCT", "Tissue")
ANATOMICAL_STRUCTURE = Code("91723000", "SCT", "Anatomical Structure")

AHA_SEGMENTS: tuple[Code, ...] = (
    codes.cid3717.LeftVentricleBasalAnteriorSegment,
    codes.cid3717.LeftVentricleBasalAnteroseptalSegment,
    codes.cid3717.LeftVentricleBasalInferoseptalSegment,
    codes.cid3717.LeftVentricleBasalInferiorSegment,
    codes.cid3717.LeftVentricleBasalInferolateralSegment,
    codes.cid3717.LeftVentricleBasalAnterolateralSegment,
    codes.cid3717.LeftVentricleMidAnteriorSegment,
    codes.cid3717.LeftVentricleMidAnteroseptalSegment,
    codes.cid3717.LeftVentricleMidInferoseptalSegment,
    codes.cid3717.LeftVentricleMidInferiorSegment,
    codes.cid3717.LeftVentricleMidInferolateralSegment,
    codes.cid3717.LeftVentricleMidAnterolateralSegment,
    codes.cid3717.LeftVentricleApicalAnteriorSegment,
    codes.cid3717.LeftVentricleApicalSeptalSegment,
    codes.cid3717.LeftVentricleApicalInferiorSegment,
    codes.cid3717.LeftVentricleApicalLateralSegment,
    codes.cid3717.ApexOfLeftVentricle,
)
"""Segments 1 to 17 (Cerqueira et al., Circulation 2002;105:539), CID 3717 Myocardial Wall Segments."""

LATE_ENHANCEMENT = codes.DCM.LateContrastEnhancement
PRESENT = Code("52101004", "SCT", "Present")
ABSENT = Code("272519000", "SCT", "Absent")
UNDETERMINED = Code("373068000", "SCT", "Undetermined")

# Measurements
VOLUME = Code("118565006", "SCT", "Volume")
MASS = Code("118538004", "SCT", "Mass")
LV_MASS = Code("18087-7", "LN", "Left Ventricle Mass")
NUMBER_OF_FRAMES = codes.DCM.NumberOfFrames
LGE_PERCENT = _private("LGE_PERCENT", "%LGE of LV myocardium")
SCAR_VOLUME_BY_THICKNESS = _private("SCAR_VOLUME_ST", "Scar volume by slice thickness, gaps left out")
LV_VOLUME_BY_THICKNESS = _private("LV_VOLUME_ST", "Myocardium volume by slice thickness, gaps left out")
SLICE_SCAR_VOLUME = _private("SCAR_VOLUME", "Scar volume in slice")
SLICE_NORMAL_VOLUME = _private("NORMAL_VOLUME", "Normal myocardium volume in slice")

UPPER_UNCERTAINTY = codes.SCT.RangeOfUpperMeasurementUncertainty
LOWER_UNCERTAINTY = codes.SCT.RangeOfLowerMeasurementUncertainty
INTERVAL = _private("LGE_INTERVAL", "Interval of %LGE")

# Findings read from the measurements
BURDEN = _private("LGE_BURDEN", "%LGE against 15 %")
BURDENS: dict[Burden, Code] = {
    Burden.ABOVE: _private("ABOVE_15", "15 % or more"),
    Burden.BELOW: _private("BELOW_15", "Below 15 %"),
    Burden.INDETERMINATE: Code("82334004", "SCT", "Indeterminate"),
}
TRANSMURALITY = _private("TRANSMURALITY", "Part of the wall's thickness that scar takes up")
TRANSMURALITIES: dict[Transmurality, Code] = {
    Transmurality.NONE: _private("TRANSMURAL_0", "0 %"),
    Transmurality.TO_25: _private("TRANSMURAL_25", "1-25 %"),
    Transmurality.TO_50: _private("TRANSMURAL_50", "26-50 %"),
    Transmurality.TO_75: _private("TRANSMURAL_75", "51-75 %"),
    Transmurality.TO_100: _private("TRANSMURAL_100", "76-100 %"),
}

# Methods
THRESHOLDS: dict[str, Code] = {
    "5 SD": _private("THRESHOLD_5SD", "Brighter than mean + 5 SD of remote myocardium"),
    "6 SD": _private("THRESHOLD_6SD", "Brighter than mean + 6 SD of remote myocardium"),
    "FWHM": _private("THRESHOLD_FWHM", "Brighter than half of the brightest enhancement (FWHM)"),
}
"""By `ThresholdMeasurement.method`."""
VOXEL_SUM = codes.DCM.SumOfSegmentedVoxelMethodForVolume
VOLUME_TIMES_DENSITY = _private("VOLUME_X_1.05", "Volume times 1.05 g/mL")
VOLUME_RATIO = _private("VOLUME_RATIO", "Scar / (scar + normal myocardium) volume")
FRAME_COUNT = _private("FRAME_COUNT", "Count of the analysed frames")

# Units
CM3 = Code("cm3", "UCUM", "cubic centimeter")
GRAM = Code("g", "UCUM", "gram")
PERCENT = Code("%", "UCUM", "Percent")
COUNT = Code("1", "UCUM", "no units")

# The run
ARTIFICIAL_INTELLIGENCE = codes.DCM.ArtificialIntelligence
MANUAL = codes.DCM.ManualProcessing
SUMMARY_OF_ANALYSES = codes.DCM.SummaryOfAnalyses
SUCCEEDED = codes.DCM.Succeeded
PARTIALLY_SUCCEEDED = codes.DCM.PartiallySucceeded
FAILED = codes.DCM.Failed
FAILURE_REASON = _private("FAILURE_REASON", "Why the analysis failed")
ANALYSIS = _private("LGE_ANALYSIS", "LGE scar analysis")
INTENDED_USE = _private("INTENDED_USE", "Intended use")
QUALITY_FLAGS = _private("QUALITY_FLAGS", "Quality flags")
SPACING_RULE = _private("SPACING_RULE", "Rule for the volume of a voxel")
SLICES_USED = _private("SLICES_USED", "Slices used")
IMAGE_COMPONENT = _private("IMAGE_COMPONENT", "Image component analysed")
MODEL_DIGEST = _private("MODEL_SHA256", "SHA-256 of the model weights")
TRAINING_DATA = _private("TRAINING_DATA", "Training data of the model")
INPUT_DIGEST = _private("INPUT_DIGEST", "Digest of the source images")
SEGMENTATION_ORIGIN = _private("SEG_ORIGIN", "Origin of the segmentation")
CORRECTED_SEG = _private("CORRECTED_SEG", "SEG of a person that was measured")
CORRECTED_MODEL = _private("CORRECTED_MODEL", "Network whose segmentation was corrected")
SOFTWARE_VERSION = _private("SOFTWARE", "Software and version")

# The document
IMAGING_MEASUREMENT_REPORT = codes.DCM.ImagingMeasurementReport
PROCEDURE = Code("25056-3", "LN", "MRI unspecified body region")
PROCESSING_EQUIPMENT = codes.DCM.ProcessingEquipment


@dataclass(frozen=True)
class SegmentCodes:
    """How one tissue is described in SEG and SR.

    Attributes
    ----------
    label : str
        SegmentLabel, and the tracking identifier that SEG and SR share.
    category, type : Code
        SegmentedPropertyCategory and SegmentedPropertyType.
    structure : Code or None
        Primary anatomic structure that the tissue lies in.
    rgb : tuple of int
        Display colour (Okabe and Ito, Color Universal Design, 2008: distinct for colour-blind readers).
    """

    label: str
    category: Code
    type: Code
    structure: Code | None
    rgb: tuple[int, int, int]


SEGMENTS: dict[Tissue, SegmentCodes] = {
    Tissue.BLOOD: SegmentCodes("LV blood pool", TISSUE, BLOOD, None, (86, 180, 233)),
    Tissue.MYOCARDIUM: SegmentCodes(
        "Normal LV myocardium", ANATOMICAL_STRUCTURE, LV_MYOCARDIUM, LV_MYOCARDIUM, (240, 228, 66)
    ),
    Tissue.SCAR: SegmentCodes("LV scar", TISSUE, SCAR_TISSUE, LV_MYOCARDIUM, (213, 94, 0)),
}
"""The segment number of a tissue is its value in `Tissue`."""
