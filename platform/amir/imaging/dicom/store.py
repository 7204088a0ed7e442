"""Physical values of one slice to the integers of a file, and the slice to a file."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmwrite
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian
from pydicom.valuerep import DSfloat

from amir.imaging.dicom.pixels import stored_limits

_DROPPED = (
    "IconImageSequence",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "PixelDataProviderURL",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
    # Of a frame that came from a multi-frame file.
    "StackID",
)


@dataclass(frozen=True, eq=False)
class StoredSlice:
    """values: integers [rows, columns]. saturated: how many were set to the nearest limit."""

    values: NDArray[Any]
    saturated: int


def store_with(
    physical: NDArray[np.float64], rescale: tuple[float, float], dataset: Dataset
) -> StoredSlice:
    """Round to the integers that (slope, intercept) map to the physical values [rows, columns]."""
    slope, intercept = rescale
    lower, upper = stored_limits(dataset)
    # In place: on a large slice, memory that is new to the process costs more than the sums.
    values = physical - intercept
    if slope != 1:
        values /= slope
    np.rint(values, out=values)
    saturated = int(np.count_nonzero(values < lower) + np.count_nonzero(values > upper))
    if saturated:
        values.clip(lower, upper, out=values)
    return StoredSlice(values.astype(np.int32), saturated)


def slope_for(physical: NDArray[np.float64], *, is_signed: bool) -> DSfloat:
    """The RescaleSlope, in at most 16 characters, at which the largest magnitude fills 16 bits."""
    largest = 32767 if is_signed else 65535
    peak = float(np.abs(physical).max())
    return DSfloat(peak / largest if peak > 0 else 1.0, auto_format=True)


def decimals(values: NDArray[np.float64]) -> list[DSfloat]:
    """Numbers as decimal strings of at most 16 characters."""
    return [DSfloat(float(value), auto_format=True) for value in values]


def set_pixels(dataset: Dataset, stored: StoredSlice) -> None:
    """Put the integers and their extremes into a header whose pixel format holds them."""
    kind = "i" if dataset.PixelRepresentation == 1 else "u"
    values = stored.values.astype(f"<{kind}{dataset.BitsAllocated // 8}")
    content = values.tobytes()
    dataset.Rows, dataset.Columns = values.shape
    dataset.add_new("PixelData", "OW", content + b"\0" * (len(content) % 2))
    extreme = "SS" if kind == "i" else "US"
    dataset.add_new("SmallestImagePixelValue", extreme, int(values.min()))
    dataset.add_new("LargestImagePixelValue", extreme, int(values.max()))


def drop_what_describes_other_pixels(dataset: Dataset) -> None:
    """Drop overlays, curves, the icon, extremes of the series and signatures."""
    for keyword in _DROPPED:
        if keyword in dataset:
            delattr(dataset, keyword)
    for tag in [tag for tag in dataset.keys() if tag.group & 0xFF00 in (0x5000, 0x6000)]:  # noqa: SIM118
        del dataset[tag]


def save_slice(dataset: Dataset, path: Path | BinaryIO) -> None:
    """Write a part 10 file in Explicit VR Little Endian, named by its dataset's own identifiers."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta = meta
    if dataset.original_encoding[1] is False:
        # Elements that were never looked at would be copied in their big endian bytes.
        deque(dataset.iterall(), maxlen=0)
    dcmwrite(path, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
