"""One classic CT, MR or PET image: the header entries that reading needs, checked and typed."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.tag import Tag

from amir.errors import InputError
from amir.modality import Modality

MODALITY_OF_CODE = {"CT": Modality.CT, "MR": Modality.MRI, "PT": Modality.PET}


@dataclass(frozen=True, eq=False)
class Slice:
    """A parsed file. position: LPS millimetres. spacing_mm: between rows, between columns.

    orientation: [2, 3] in LPS, the direction in which columns are counted, then that of rows.
    rescale: (slope, intercept), None where the file has none.
    """

    name: str
    digest: str
    dataset: Dataset
    modality: Modality
    series_uid: str
    rows: int
    columns: int
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    spacing_mm: tuple[float, float]
    rescale: tuple[float, float] | None

    @classmethod
    def parse(cls, dataset: Dataset, name: str, digest: str) -> Slice:
        """Refuse by tag what is no classic grey image of CT, MR or PET with a known place."""
        modality = _modality(dataset, name)
        _check_kind(dataset, name)
        return cls(
            name=name,
            digest=digest,
            dataset=dataset,
            modality=modality,
            series_uid=str(required(dataset, "SeriesInstanceUID", name)),
            rows=int(required(dataset, "Rows", name)),
            columns=int(required(dataset, "Columns", name)),
            position=_numbers(dataset, "ImagePositionPatient", 3, name),
            orientation=_orientation(dataset, name),
            spacing_mm=_spacing(dataset, name),
            rescale=_rescale(dataset, name),
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
            value = abs(float(self.dataset.get(keyword) or 0))
            if value > 0 and np.isfinite(value):
                return value
        raise missing_tag("SliceThickness", self.name)


def series_label(series_uid: str) -> str:
    """What messages call a series: a UID can be traced to a patient, its hash cannot."""
    return hashlib.sha256(series_uid.encode()).hexdigest()[:12]


def tag_name(keyword: str) -> str:
    """For example "RescaleSlope (0028,1053)"."""
    tag = tag_for_keyword(keyword)
    return f"{keyword} {Tag(tag)}" if tag is not None else keyword


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
        known = code if code.isalnum() and len(code) <= 16 else "unknown"
        message = f"{name} has {tag_name('Modality')} {known}; only CT, MR and PT are read"
        raise InputError("wrong_modality", message)
    return MODALITY_OF_CODE[code]


def _check_kind(dataset: Dataset, name: str) -> None:
    for problem in (_pixel_problem(dataset), _frame_problem(dataset), _colour_problem(dataset)):
        if problem:
            raise InputError("unsupported", f"{name}: {problem}")


def _pixel_problem(dataset: Dataset) -> str | None:
    if "PixelData" not in dataset:
        return f"{tag_name('PixelData')} is absent; give the images themselves"
    if dataset.get("BitsAllocated") not in (8, 16):
        return f"{tag_name('BitsAllocated')} is not 8 or 16; export it with 16 bits"
    if dataset.get("HighBit", dataset.BitsStored - 1) != dataset.BitsStored - 1:
        return f"{tag_name('HighBit')} is not BitsStored - 1; export it again"
    return None


def _frame_problem(dataset: Dataset) -> str | None:
    if int(dataset.get("NumberOfFrames") or 1) > 1 or "SharedFunctionalGroupsSequence" in dataset:
        return f"{tag_name('NumberOfFrames')}: enhanced multi-frame; convert it to classic slices"
    return None


def _colour_problem(dataset: Dataset) -> str | None:
    photometric = str(dataset.get("PhotometricInterpretation"))
    if dataset.get("SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        return f"{tag_name('PhotometricInterpretation')} is not grey; give the original images"
    if photometric == "MONOCHROME1":
        # By the standard polarity is a matter of display, yet exports of inverted values have the
        # same tags: nothing tells air at -1000 HU from air turned into bone.
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
