"""One CT, MR or PET image: the header entries that reading needs, checked and typed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

from amir.errors import InputError
from amir.imaging.dicom.choice import plain_text, tag_name
from amir.imaging.dicom.files import DicomFile
from amir.imaging.dicom.kinds import MODALITY_OF_CODE, is_enhanced, may_be_scan
from amir.modality import Modality


@dataclass(frozen=True, eq=False)
class Slice:
    """An image of a file. position: LPS millimetres. spacing_mm: between rows, between columns.

    header: of a classic image, without pixels; a frame of a multi-frame file has one made from its
    functional groups. frame: its place in such a file from 1 on, None in a classic one.
    orientation: [2, 3] in LPS, the direction in which columns are counted, then that of rows.
    rescale: (slope, intercept), None where the file has none.
    """

    name: str
    file: DicomFile
    frame: int | None
    header: Dataset
    modality: Modality
    series_uid: str
    rows: int
    columns: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    rescale: tuple[float, float] | None

    @classmethod
    def parse(cls, header: Dataset, file: DicomFile, frame: int | None = None) -> Slice:
        """Refuse by tag what is no grey image of CT, MR or PET with a known place."""
        name = file.name if frame is None else f"{file.name} frame {frame}"
        modality = _modality(header, name)
        _check_kind(header, modality, name)
        return cls(
            name=name,
            file=file,
            frame=frame,
            header=header,
            modality=modality,
            series_uid=str(required(header, "SeriesInstanceUID", name)),
            rows=int(required(header, "Rows", name)),
            columns=int(required(header, "Columns", name)),
            position=_numbers(header, "ImagePositionPatient", 3, name),
            orientation=_orientation(header, name),
            spacing_mm=_spacing(header, name),
            rescale=_rescale(header, name),
        )

    @property
    def normal(self) -> NDArray[np.float64]:
        """The direction, in LPS, in which slices are counted."""
        normal: NDArray[np.float64] = np.cross(self.orientation[0], self.orientation[1])
        return normal / np.linalg.norm(normal)

    @property
    def thickness_mm(self) -> float:
        """The distance to a neighbour that is not there: of a series of one slice."""
        for keyword in ("SpacingBetweenSlices", "SliceThickness"):
            value = abs(float(self.header.get(keyword) or 0))
            if value > 0 and np.isfinite(value):
                return value
        raise missing_tag("SliceThickness", self.name)


def missing_tag(keyword: str, name: str) -> InputError:
    message = f"{name} has no valid {tag_name(keyword)}; export the series with it"
    return InputError("missing_tag", message)


def required(dataset: Dataset, keyword: str, name: str) -> Any:
    """The value of an entry that must be there and not be empty."""
    value = dataset.get(keyword)
    if value is None or value == "":
        raise missing_tag(keyword, name)
    return value


def _modality(dataset: Dataset, name: str) -> Modality:
    code = str(required(dataset, "Modality", name))
    if code not in MODALITY_OF_CODE:
        message = (
            f"{name} has {tag_name('Modality')} {plain_text(code)}; only CT, MR and PT are read"
        )
        raise InputError("wrong_modality", message)
    return MODALITY_OF_CODE[code]


def _check_kind(dataset: Dataset, modality: Modality, name: str) -> None:
    problem = (
        _class_problem(dataset) or _pixel_problem(dataset) or _colour_problem(dataset, modality)
    )
    if problem:
        raise InputError("unsupported", f"{name}: {problem}")


def _class_problem(dataset: Dataset) -> str | None:
    if not may_be_scan(dataset):
        return f"{tag_name('SOPClassUID')} is none of CT, MR and PET; give the scan itself"
    if int(dataset.get("NumberOfFrames") or 1) > 1 and not is_enhanced(dataset):
        return f"{tag_name('NumberOfFrames')}: several frames in a classic image; export it again"
    return None


def _pixel_problem(dataset: Dataset) -> str | None:
    allocated, stored = dataset.get("BitsAllocated"), dataset.get("BitsStored")
    if allocated not in (8, 16):
        return f"{tag_name('BitsAllocated')} is not 8 or 16; export it with 16 bits"
    if not isinstance(stored, int) or not 1 <= stored <= allocated:
        return f"{tag_name('BitsStored')} is not within BitsAllocated; export it again"
    if dataset.get("HighBit", stored - 1) != stored - 1:
        return f"{tag_name('HighBit')} is not BitsStored - 1; export it again"
    return None


def _colour_problem(dataset: Dataset, modality: Modality) -> str | None:
    photometric = str(dataset.get("PhotometricInterpretation"))
    if dataset.get("SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return f"{tag_name('PhotometricInterpretation')} is not grey; give the original images"
    if photometric == "MONOCHROME1" and modality is Modality.PET:
        # PS3.3 C.8.9.4 allows PET only MONOCHROME2.
        return f"{tag_name('PhotometricInterpretation')} is MONOCHROME1; convert it to MONOCHROME2"
    return None


def _numbers(dataset: Dataset, keyword: str, count: int, name: str) -> NDArray[np.float64]:
    values = np.array(required(dataset, keyword, name), dtype=np.float64).reshape(-1)
    if values.size != count or not np.isfinite(values).all():
        raise missing_tag(keyword, name)
    return values


def _orientation(dataset: Dataset, name: str) -> NDArray[np.float64]:
    orientation = _numbers(dataset, "ImageOrientationPatient", 6, name).reshape(2, 3)
    if np.abs(orientation @ orientation.T - np.eye(2)).max() > 1e-2:
        message = (
            f"{name}: {tag_name('ImageOrientationPatient')} is not two orthogonal unit vectors"
        )
        raise InputError("unreadable", message)
    return orientation


def _spacing(dataset: Dataset, name: str) -> tuple[float, float]:
    row_mm, column_mm = _numbers(dataset, "PixelSpacing", 2, name)
    if row_mm <= 0 or column_mm <= 0:
        raise missing_tag("PixelSpacing", name)
    return float(row_mm), float(column_mm)


def _rescale(dataset: Dataset, name: str) -> tuple[float, float] | None:
    if dataset.get("RescaleSlope") is None and dataset.get("RescaleIntercept") is None:
        return None
    (slope,) = _numbers(dataset, "RescaleSlope", 1, name)
    (intercept,) = _numbers(dataset, "RescaleIntercept", 1, name)
    if slope == 0:
        raise missing_tag("RescaleSlope", name)
    return float(slope), float(intercept)
