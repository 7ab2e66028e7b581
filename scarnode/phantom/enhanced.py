"""A phantom as one Enhanced MR Image Storage instance, as Siemens XA and Philips send it."""

from __future__ import annotations

from collections.abc import Callable

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, EnhancedMRImageStorage

from scarnode.phantom.instance import ORIENTATION, file_meta_of, set_pixels, slice_position
from scarnode.phantom.model import Phantom
from scarnode.phantom.vendors import VendorProfile


def _item(**values: object) -> Sequence:
    """One-item sequence with these elements."""
    dataset = Dataset()
    for keyword, value in values.items():
        setattr(dataset, keyword, value)
    return Sequence([dataset])


def _code(value: str, scheme: str, meaning: str) -> Sequence:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


_CONSTANT: dict[str, object] = {
    "AcquisitionNumber": 1,
    "AcquisitionDateTime": "20240101101500",
    "AcquisitionDuration": 60.0,
    "ContentQualification": "RESEARCH",
    "ResonantNucleus": "1H",
    "KSpaceFiltering": "NONE",
    "MagneticFieldStrength": 1.5,
    "ApplicableSafetyStandardAgency": "IEC",
    "ApplicableSafetyStandardDescription": "IEC 60601-2-33",
    "AcquisitionContrast": "T1",
    "PixelPresentation": "MONOCHROME",
    "VolumetricProperties": "VOLUME",
    "VolumeBasedCalculationTechnique": "NONE",
    "PresentationLUTShape": "IDENTITY",
    "LossyImageCompression": "00",
    "BurnedInAnnotation": "NO",
    "PulseSequenceName": "tfi2d1_25",
    "EchoPulseSequence": "GRADIENT",
    "MultiPlanarExcitation": "NO",
    "PhaseContrast": "NO",
    "TimeOfFlightContrast": "NO",
    "SteadyStatePulseSequence": "NONE",
    "EchoPlanarPulseSequence": "NO",
    "SaturationRecovery": "NO",
    "SpectrallySelectedSuppression": "NONE",
    "OversamplingPhase": "NONE",
    "GeometryOfKSpaceTraversal": "RECTILINEAR",
    "SegmentedKSpaceTraversal": "PARTIAL",
    "RectilinearPhaseEncodeReordering": "LINEAR",
    "NumberOfKSpaceTrajectories": 1,
    "CardiacSynchronizationTechnique": "PROSPECTIVE",
    "CardiacSignalSource": "ECG",
    "CardiacBeatRejectionTechnique": "NONE",
}
"""What is the same in each instance: a segmented, ECG-triggered, spoiled gradient echo."""


def enhanced_instance(
    phantom: Phantom,
    profile: VendorProfile,
    kept: list[int],
    uid: Callable[..., UID],
    common: Dataset,
    series_number: int,
) -> Dataset:
    """Build an Enhanced MR instance (PS3.3 A.36.2) whose frames are the slices base to apex.

    Parameters
    ----------
    phantom : Phantom
    profile : VendorProfile
    kept : list of int
        Slices to write, counted from 0 at the base.
    uid : callable
        Gives the study's UID for a name.
    common : pydicom.Dataset
        Patient, study and equipment; is completed and returned.
    series_number : int
    """
    dataset, component = common, phantom.component
    dataset.SOPClassUID = EnhancedMRImageStorage
    dataset.SOPInstanceUID = uid("enhanced", component, kept)
    dataset.file_meta = file_meta_of(dataset)
    dataset.SeriesInstanceUID = uid("series", component, "enhanced")
    dataset.SeriesNumber, dataset.InstanceNumber = series_number, 1
    dataset.SeriesDescription = profile.description[component]
    dataset.ProtocolName = profile.protocol
    contrast = "M" if component == "magnitude" else "IR"
    for keyword in ("AcquisitionDate", "AcquisitionTime"):
        delattr(dataset, keyword)  # AcquisitionDateTime stands for both
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "CARDIAC", contrast]
    for keyword, value in _CONSTANT.items():
        setattr(dataset, keyword, value)
    dataset.NumberOfFrames = len(kept)
    dataset.ComplexImageComponent = "MAGNITUDE" if component == "magnitude" else "REAL"
    dataset.MRAcquisitionType = "3D" if phantom.slice_thickness < 6 else "2D"
    dataset.CardiacRRIntervalSpecified = phantom.rr_interval
    dataset.LowRRValue = dataset.HighRRValue = round(phantom.rr_interval)
    dataset.IntervalsAcquired, dataset.IntervalsRejected = 10, 0
    dataset.ContrastBolusAgentSequence = _contrast_agent()
    dataset.AcquisitionContextSequence = Sequence([])
    dataset.DimensionOrganizationSequence = _item(DimensionOrganizationUID=uid("dimensions"))
    dataset.DimensionIndexSequence = Sequence(
        [
            *_item(
                DimensionOrganizationUID=uid("dimensions"),
                DimensionIndexPointer=0x00209057,
                FunctionalGroupPointer=0x00209111,
                DimensionDescriptionLabel="In-Stack Position Number",
            )
        ]
    )
    dataset.SharedFunctionalGroupsSequence = Sequence([_shared(phantom)])
    dataset.PerFrameFunctionalGroupsSequence = Sequence(
        [_frame(phantom, dataset, index, order) for order, index in enumerate(kept, start=1)]
    )
    set_pixels(dataset, phantom.image[kept])
    return dataset


def _contrast_agent() -> Sequence:
    agent = _code("407976008", "SCT", "Gadobutrol")
    agent[0].ContrastBolusAgentNumber = 1
    agent[0].ContrastBolusAdministrationRouteSequence = _code("47625008", "SCT", "Intravenous route")
    agent[0].ContrastBolusIngredientCodeSequence = _code("58281002", "SCT", "Gadolinium")
    agent[0].ContrastBolusVolume = 10.0
    agent[0].ContrastBolusIngredientConcentration = 604.7
    agent[0].ContrastBolusIngredientOpaque = "NO"
    return agent


def _shared(phantom: Phantom) -> Dataset:
    groups = Dataset()
    groups.PixelMeasuresSequence = _item(
        SliceThickness=f"{phantom.slice_thickness:g}",
        SpacingBetweenSlices=f"{phantom.slice_distance:g}",
        PixelSpacing=[f"{value:g}" for value in phantom.pixel_spacing],
    )
    groups.PlaneOrientationSequence = _item(ImageOrientationPatient=[f"{value:g}" for value in ORIENTATION])
    groups.FrameAnatomySequence = _item(FrameLaterality="U", AnatomicRegionSequence=_code("80891009", "SCT", "Heart"))
    groups.MRTimingAndRelatedParametersSequence = _item(
        RepetitionTime=f"{phantom.repetition_time:g}",
        FlipAngle=f"{phantom.flip_angle:g}",
        EchoTrainLength=1,
        RFEchoTrainLength=0,
        GradientEchoTrainLength=1,
        SpecificAbsorptionRateSequence=_item(
            SpecificAbsorptionRateDefinition="IEC_WHOLE_BODY", SpecificAbsorptionRateValue=0.1
        ),
        OperatingModeSequence=Sequence(
            [
                *_item(OperatingModeType="STATIC FIELD", OperatingMode="IEC_NORMAL"),
                *_item(OperatingModeType="RF", OperatingMode="IEC_NORMAL"),
                *_item(OperatingModeType="GRADIENT", OperatingMode="IEC_NORMAL"),
            ]
        ),
        GradientOutputType="DB_DT",
        GradientOutput=10.0,
    )
    rows, columns = phantom.image.shape[1:]
    groups.MRFOVGeometrySequence = _item(
        InPlanePhaseEncodingDirection="COLUMN",
        MRAcquisitionFrequencyEncodingSteps=columns,
        MRAcquisitionPhaseEncodingStepsInPlane=rows,
        MRAcquisitionPhaseEncodingStepsOutOfPlane=1,
        PercentSampling="100",
        PercentPhaseFieldOfView="100",
    )
    groups.MREchoSequence = _item(EffectiveEchoTime=phantom.echo_time)
    groups.MRModifierSequence = _item(
        InversionRecovery="YES",
        InversionTimes=phantom.inversion_time,
        FlowCompensation="NONE",
        Spoiling="RF",
        T2Preparation="NO",
        SpectrallySelectedExcitation="NONE",
        SpatialPresaturation="NONE",
        PartialFourier="NO",
        ParallelAcquisition="NO",
    )
    groups.MRImagingModifierSequence = _item(
        MagnetizationTransfer="NONE",
        BloodSignalNulling="NO",
        Tagging="NONE",
        TransmitterFrequency=63.67,
        PixelBandwidth="300",
    )
    groups.MRReceiveCoilSequence = _item(
        ReceiveCoilName="Body",
        ReceiveCoilManufacturerName="",
        ReceiveCoilType="MULTICOIL",
        QuadratureReceiveCoil="NO",
        MultiCoilDefinitionSequence=_item(MultiCoilElementName="1", MultiCoilElementUsed="YES"),
    )
    groups.MRTransmitCoilSequence = _item(
        TransmitCoilName="Body", TransmitCoilManufacturerName="", TransmitCoilType="BODY"
    )
    groups.MRAveragesSequence = _item(NumberOfAverages="1")
    groups.PixelValueTransformationSequence = _item(RescaleIntercept="0", RescaleSlope="1", RescaleType="US")
    return groups


def _frame(phantom: Phantom, dataset: Dataset, index: int, order: int) -> Dataset:
    groups = Dataset()
    groups.FrameContentSequence = _item(
        FrameReferenceDateTime="20240101101500",
        FrameAcquisitionDateTime="20240101101500",
        FrameAcquisitionDuration=200.0,
        FrameAcquisitionNumber=order,
        StackID="1",
        InStackPositionNumber=order,
        DimensionIndexValues=order,
    )
    position = slice_position(phantom, index)
    groups.PlanePositionSequence = _item(ImagePositionPatient=[f"{value:.6f}" for value in position])
    groups.MRImageFrameTypeSequence = _item(
        FrameType=list(dataset.ImageType),
        PixelPresentation=dataset.PixelPresentation,
        VolumetricProperties=dataset.VolumetricProperties,
        VolumeBasedCalculationTechnique=dataset.VolumeBasedCalculationTechnique,
        ComplexImageComponent=dataset.ComplexImageComponent,
        AcquisitionContrast=dataset.AcquisitionContrast,
    )
    groups.CardiacSynchronizationSequence = _item(
        NominalPercentageOfCardiacPhase=70.0,
        NominalCardiacTriggerDelayTime=0.7 * phantom.rr_interval,
        ActualCardiacTriggerDelayTime=0.7 * phantom.rr_interval,
        RRIntervalTimeNominal=phantom.rr_interval,
    )
    groups.ContrastBolusUsageSequence = _item(
        ContrastBolusAgentNumber=1,
        ContrastBolusAgentAdministered="YES",
        ContrastBolusAgentDetected="YES",
        ContrastBolusAgentPhase="POST_CONTRAST",
    )
    image = phantom.image[index]
    high = float(image.max())
    groups.FrameVOILUTSequence = _item(WindowCenter=f"{high / 2:.0f}", WindowWidth=f"{max(high, 2):.0f}")
    return groups
