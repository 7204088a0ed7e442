"""A multi-frame CT, MR or PET file as classic headers, one for each frame.

An enhanced file (PS3.3 C.7.6.16) says once what all frames share and per frame what differs, in
functional groups. A classic header takes from them what classic images have too; private groups and
what only enhanced images know are left out. A legacy converted file keeps its classic elements in
groups of their own, which are taken whole.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.valuerep import DSfloat

from amir.errors import InputError
from amir.imaging.dicom.choice import tag_name

_MOST_FRAMES = 20_000

# Functional group: what a classic header takes from it, as "taken" or "taken>called there".
_TAKEN = {
    "PlanePositionSequence": "ImagePositionPatient",
    "PlaneOrientationSequence": "ImageOrientationPatient",
    "PixelMeasuresSequence": "PixelSpacing SliceThickness SpacingBetweenSlices",
    "PixelValueTransformationSequence": "RescaleIntercept RescaleSlope RescaleType",
    "FrameVOILUTSequence": "WindowCenter WindowWidth WindowCenterWidthExplanation",
    "FrameContentSequence": "StackID FrameAcquisitionNumber>AcquisitionNumber "
    "TemporalPositionIndex>TemporalPositionIdentifier "
    "FrameAcquisitionDateTime>AcquisitionDate FrameAcquisitionDateTime>AcquisitionTime "
    "FrameAcquisitionDuration>ActualFrameDuration",
    "CTImageFrameTypeSequence": "FrameType>ImageType",
    "CTXRayDetailsSequence": "KVP FilterType",
    "CTExposureSequence": "ExposureTimeInms>ExposureTime XRayTubeCurrentInmA>XRayTubeCurrent "
    "ExposureInmAs>Exposure",
    "CTReconstructionSequence": "ReconstructionDiameter ConvolutionKernel",
    "CTGeometrySequence": "DistanceSourceToDetector "
    "DistanceSourceToDataCollectionCenter>DistanceSourceToPatient",
    "CTAcquisitionDetailsSequence": "GantryDetectorTilt TableHeight RotationDirection",
    "MRImageFrameTypeSequence": "FrameType>ImageType ComplexImageComponent",
    "MRTimingAndRelatedParametersSequence": "RepetitionTime FlipAngle EchoTrainLength",
    "MREchoSequence": "EffectiveEchoTime>EchoTime",
    "MRAveragesSequence": "NumberOfAverages",
    "MRDiffusionSequence": "DiffusionBValue",
    "MRFOVGeometrySequence": "PercentSampling PercentPhaseFieldOfView",
    "CardiacSynchronizationSequence": "NominalPercentageOfCardiacPhase "
    "NominalCardiacTriggerDelayTime>TriggerTime",
}
# Groups of legacy converted files: everything in them was at the top of the classic file.
_TAKEN_WHOLE = (
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
)
_SHARED, _PER_FRAME = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"

# What at the top of a multi-frame file describes the file and not its frames.
_LEFT_OUT = (
    _SHARED,
    _PER_FRAME,
    "NumberOfFrames",
    "DimensionOrganizationSequence",
    "DimensionOrganizationType",
    "DimensionIndexSequence",
    "ConcatenationUID",
    "InConcatenationNumber",
    "RedPaletteColorLookupTableDescriptor",
    "GreenPaletteColorLookupTableDescriptor",
    "BluePaletteColorLookupTableDescriptor",
    "RedPaletteColorLookupTableData",
    "GreenPaletteColorLookupTableData",
    "BluePaletteColorLookupTableData",
    "PixelPresentation",
    "VolumetricProperties",
    "VolumeBasedCalculationTechnique",
)


def classic_headers(header: Dataset, name: str) -> list[Dataset]:
    """One header for each frame, in the order of the file, with the elements it shares in common.

    Raises InputError where the functional groups are absent or fewer than the frames.
    """
    groups = header.get(_PER_FRAME)
    if not groups:
        message = f"{name} has no valid {tag_name(_PER_FRAME)}; export it again or as single slices"
        raise InputError("missing_tag", message)
    frames = int(header.get("NumberOfFrames") or 0)
    if frames != len(groups) or frames > _MOST_FRAMES:
        message = (
            f"{name}: {tag_name('NumberOfFrames')} is {frames}, with {len(groups)} items in "
            f"{tag_name(_PER_FRAME)}; at most {_MOST_FRAMES} alike are read"
        )
        raise InputError("unreadable", message)
    # Elements that were never looked at need the character set of the header they came with.
    deque(header.iterall(), maxlen=0)
    shared = header.get(_SHARED) or [Dataset()]
    common = _without_file_level(header)
    for element in _classic_elements(shared[0]):
        common.add(element)
    _complete(common, frames)
    return [_frame_header(common, item, number) for number, item in enumerate(groups, start=1)]


def _without_file_level(header: Dataset) -> Dataset:
    common = _sharing(header)
    for keyword in _LEFT_OUT:
        if keyword in common:
            delattr(common, keyword)
    return common


def _complete(common: Dataset, frames: int) -> None:
    """What a classic image must state or leave empty (PS3.3 C.8.2.1, C.8.3.1) and enhanced ones say
    otherwise or not at all.
    """
    required: dict[str, Any] = {
        "InstanceNumber": None,
        "AcquisitionNumber": None,
        "PositionReferenceIndicator": "",
        "Laterality": "",
    }
    if common.get("Modality") == "CT":
        required |= {"KVP": None}
    if common.get("Modality") == "PT":
        required |= {"NumberOfSlices": frames, "ActualFrameDuration": None}
    if common.get("Modality") == "MR":
        required |= {
            "ScanningSequence": _scanning_sequence(common),
            "SequenceVariant": "NONE",
            "ScanOptions": "",
            "MRAcquisitionType": "",
            "RepetitionTime": None,
            "EchoTime": None,
            "EchoTrainLength": None,
        }
    for keyword, value in required.items():
        if keyword not in common:
            common.add(_element(keyword, value))


def _scanning_sequence(common: Dataset) -> list[str]:
    echoes = {"SPIN": ["SE"], "GRADIENT": ["GR"], "BOTH": ["SE", "GR"]}
    found = list(echoes.get(str(common.get("EchoPulseSequence")), []))
    found += ["IR"] if common.get("InversionRecovery") == "YES" else []
    found += ["EP"] if common.get("EchoPlanarPulseSequence") == "YES" else []
    return found or ["RM"]


def _frame_header(common: Dataset, groups: Dataset, number: int) -> Dataset:
    frame = _sharing(common)
    frame.add(_element("InstanceNumber", number))
    for element in _classic_elements(groups):
        frame.add(element)
    return frame


def _sharing(header: Dataset) -> Dataset:
    """Another header with the same elements, which may be replaced in it but never altered."""
    other = Dataset()
    other.update(header)
    other.set_original_encoding(*header.original_encoding)
    return other


def _classic_elements(groups: Dataset) -> Iterator[DataElement]:
    for group, taken in _TAKEN.items():
        for item in (groups.get(group) or [])[:1]:
            for pair in taken.split():
                keyword, _, classic = pair.partition(">")
                if item.get(keyword) is not None:
                    yield _element(classic or keyword, item[keyword].value)
    for group in _TAKEN_WHOLE:
        for item in (groups.get(group) or [])[:1]:
            yield from deepcopy(item)


def _element(keyword: str, value: Any) -> DataElement:
    tag = tag_for_keyword(keyword)
    assert tag is not None
    kind = dictionary_VR(tag)
    if value is None:
        return DataElement(tag, kind, value)
    if kind == "IS":
        value = round(float(value))
    elif kind == "DA":
        value = str(value)[:8]
    elif kind == "TM":
        value = re.split("[+-]", str(value)[8:])[0]
    elif kind == "DS" and isinstance(value, float):
        value = DSfloat(value, auto_format=True)
    return DataElement(tag, kind, value)
