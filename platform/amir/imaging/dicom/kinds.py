"""Which DICOM objects are scans of ours: CT, MR and PET images, classic or multi-frame."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import (
    CTImageStorage,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    PositronEmissionTomographyImageStorage,
)

from amir.modality import Modality

MODALITY_OF_CODE = {"CT": Modality.CT, "MR": Modality.MRI, "PT": Modality.PET}

# Multi-frame storage class: the classic one that its frames are written back as.
CLASSIC_OF_ENHANCED = {
    EnhancedCTImageStorage: CTImageStorage,
    LegacyConvertedEnhancedCTImageStorage: CTImageStorage,
    EnhancedMRImageStorage: MRImageStorage,
    LegacyConvertedEnhancedMRImageStorage: MRImageStorage,
    LegacyConvertedEnhancedPETImageStorage: PositronEmissionTomographyImageStorage,
}

_SCANS = {*CLASSIC_OF_ENHANCED, *CLASSIC_OF_ENHANCED.values()}


def may_be_scan(header: Dataset) -> bool:
    """Whether it is stored as a CT, MR or PET image, or does not say as what.

    Reports, plans, segmentations, presentation states, drawings and screen shots are not.
    """
    stored_as = header.get("SOPClassUID")
    return not stored_as or stored_as in _SCANS


def is_enhanced(header: Dataset) -> bool:
    return header.get("SOPClassUID") in CLASSIC_OF_ENHANCED


def is_localizer(header: Dataset) -> bool:
    """A scout, by value 3 of ImageType (PS3.3 C.8.2.1.1.1)."""
    image_type = header.get("ImageType") or []
    values = [image_type] if isinstance(image_type, str) else image_type
    return "LOCALIZER" in [str(value).upper() for value in values]
