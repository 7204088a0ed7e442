"""The header of an invented examination: all type 1 and 2 attributes of classic CT, MR and PET."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import CTImageStorage, MRImageStorage, PositronEmissionTomographyImageStorage

from amir.imaging.dicom.store import decimals
from amir.imaging.dicom.uid import uid_from_text
from amir.imaging.scan import Scan
from amir.modality import Modality

_DATE = "20240101"
_INJECTION_TIME = "090000"
_SCAN_TIME = "100000"
_SECONDS_TO_SCAN = 3600.0
_WEIGHT_KG = 70.0
_DOSE_BQ = 350e6
_FLUORINE_HALF_LIFE_S = 6586.2

# Bq/ml per SUV body weight, decay corrected to the start of the scan.
ACTIVITY_PER_SUV = (
    _DOSE_BQ * 2.0 ** (-_SECONDS_TO_SCAN / _FLUORINE_HALF_LIFE_S) / (1000.0 * _WEIGHT_KG)
)


def phantom_header(
    scan: Scan, *, patient_id: str, description: str, root: tuple[str, ...]
) -> Dataset:
    """What all slices of the series share. root: the strings that its identifiers are made from."""
    dataset = Dataset()
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _add_patient_and_study(dataset, patient_id, root)
    _add_series(dataset, description, root)
    _add_geometry(dataset, scan)
    _add_pixel_format(dataset, is_signed=_is_signed(scan))
    {Modality.CT: _add_ct, Modality.MRI: _add_mr, Modality.PET: _add_pet}[scan.modality](dataset)
    if scan.modality is Modality.PET:
        dataset.NumberOfSlices = scan.voxels.shape[2]
    return dataset


def lps(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    """RAS to LPS, the patient coordinates of DICOM, of a vector of at least three components."""
    turned = np.array(vector, dtype=np.float64)
    turned[:2] *= -1
    return turned


def _add_patient_and_study(dataset: Dataset, patient_id: str, root: tuple[str, ...]) -> None:
    dataset.PatientName = f"{patient_id}^Phantom"
    dataset.PatientID = patient_id
    dataset.PatientBirthDate = ""
    dataset.PatientSex = "O"
    dataset.StudyInstanceUID = uid_from_text("study", *root)
    dataset.StudyDate = _DATE
    dataset.StudyTime = _SCAN_TIME
    dataset.StudyID = "1"
    dataset.AccessionNumber = ""
    dataset.ReferringPhysicianName = ""


def _add_series(dataset: Dataset, description: str, root: tuple[str, ...]) -> None:
    dataset.SeriesInstanceUID = uid_from_text("series", *root)
    dataset.FrameOfReferenceUID = uid_from_text("frame", *root)
    dataset.PositionReferenceIndicator = ""
    dataset.SeriesNumber = 1
    dataset.SeriesDescription = description[:64]
    dataset.SeriesDate = dataset.AcquisitionDate = dataset.ContentDate = _DATE
    dataset.SeriesTime = dataset.AcquisitionTime = dataset.ContentTime = _SCAN_TIME
    dataset.Manufacturer = "AMIR platform"
    dataset.ManufacturerModelName = "phantom"
    dataset.AcquisitionNumber = 1
    dataset.Laterality = ""


def _add_geometry(dataset: Dataset, scan: Scan) -> None:
    column_mm, row_mm, slice_mm = scan.spacing_mm
    along_columns = lps(scan.affine[:3, 0]) / column_mm
    along_rows = lps(scan.affine[:3, 1]) / row_mm
    dataset.ImageOrientationPatient = decimals(np.concatenate([along_columns, along_rows]))
    dataset.PixelSpacing = decimals(np.array([row_mm, column_mm]))
    dataset.SliceThickness = decimals(np.array([slice_mm]))[0]


def _is_signed(scan: Scan) -> bool:
    return scan.modality is Modality.CT or bool(
        scan.modality is Modality.PET and scan.voxels.min() < 0
    )


def _add_pixel_format(dataset: Dataset, *, is_signed: bool) -> None:
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = 16
    dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = int(is_signed)


def _add_ct(dataset: Dataset) -> None:
    dataset.Modality = "CT"
    dataset.SOPClassUID = CTImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.PatientPosition = "HFS"
    dataset.RescaleSlope = 1
    dataset.RescaleIntercept = -1024
    dataset.RescaleType = "HU"
    dataset.KVP = 120


def _add_mr(dataset: Dataset) -> None:
    dataset.Modality = "MR"
    dataset.SOPClassUID = MRImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "OTHER"]
    dataset.PatientPosition = "HFS"
    dataset.ScanningSequence = "SE"
    dataset.SequenceVariant = "NONE"
    dataset.ScanOptions = ""
    dataset.MRAcquisitionType = "2D"
    dataset.RepetitionTime = 3000
    dataset.EchoTime = 100
    dataset.EchoTrainLength = 1


def _add_pet(dataset: Dataset) -> None:
    dataset.Modality = "PT"
    dataset.SOPClassUID = PositronEmissionTomographyImageStorage
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.PatientWeight = _WEIGHT_KG
    dataset.RescaleIntercept = 0
    dataset.Units = "BQML"
    dataset.CountsSource = "EMISSION"
    dataset.SeriesType = ["STATIC", "IMAGE"]
    dataset.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM", "RAN", "NORM"]
    dataset.DecayCorrection = "START"
    dataset.DecayFactor = 1
    dataset.CollimatorType = "NONE"
    dataset.ReconstructionMethod = "OSEM"
    dataset.AttenuationCorrectionMethod = "measured"
    dataset.ScatterCorrectionMethod = "model-based"
    dataset.RandomsCorrectionMethod = "DLYD"
    dataset.FrameReferenceTime = 0
    dataset.ActualFrameDuration = 180000
    dataset.RadiopharmaceuticalInformationSequence = Sequence([_injection()])
    dataset.PatientOrientationCodeSequence = Sequence([_supine()])
    dataset.PatientGantryRelationshipCodeSequence = Sequence(
        [_code("102540001", "SCT", "headfirst")]
    )


def _injection() -> Dataset:
    injection = Dataset()
    injection.Radiopharmaceutical = "Fluorodeoxyglucose F^18^"
    injection.RadiopharmaceuticalStartTime = _INJECTION_TIME
    injection.RadionuclideTotalDose = _DOSE_BQ
    injection.RadionuclideHalfLife = _FLUORINE_HALF_LIFE_S
    injection.RadionuclidePositronFraction = 0.97
    injection.RadionuclideCodeSequence = Sequence([_code("77004003", "SCT", "^18^Fluorine")])
    injection.RadiopharmaceuticalCodeSequence = Sequence(
        [_code("35321007", "SCT", "Fluorodeoxyglucose F^18^")]
    )
    return injection


def _supine() -> Dataset:
    recumbent = _code("102538003", "SCT", "recumbent")
    recumbent.PatientOrientationModifierCodeSequence = Sequence(
        [_code("40199007", "SCT", "supine")]
    )
    return recumbent


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code: Any = Dataset()
    code.CodeValue = value
    code.CodingSchemeDesignator = scheme
    code.CodeMeaning = meaning
    dataset: Dataset = code
    return dataset
