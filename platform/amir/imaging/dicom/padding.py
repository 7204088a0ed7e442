"""Pixels that are no part of the image: PixelPaddingValue (0028,0120), to its RangeLimit.

Scanners fill the square around a round field of view with a value that no tissue has. Most lie
below the modality's range, as -2000 stored for -3024 HU, and stay as they are: they are handed
through and written back. Any other would be taken for tissue, so it becomes the range's lower end.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray
from pydicom.dataset import Dataset

from amir.imaging.dicom.pixels import stored_limits
from amir.imaging.dicom.slice import Slice
from amir.modality import MODELLING_RANGES


@dataclass(frozen=True)
class Padding:
    """lowest, highest: the stored values that are padding. air: in HU, SUV or the stored scale."""

    lowest: int
    highest: int
    air: float

    @classmethod
    def of(cls, item: Slice, rescale: tuple[float, float]) -> Padding | None:
        """None where there is no padding, or none above the range's lower end."""
        value = _stored(item.header, "PixelPaddingValue")
        if value is None:
            return None
        limit = _stored(item.header, "PixelPaddingRangeLimit")
        limit = value if limit is None else limit
        air = MODELLING_RANGES[item.modality].lower
        slope, intercept = rescale
        if max(value * slope, limit * slope) + intercept <= air:
            return None
        return cls(min(value, limit), max(value, limit), air)

    def lower(self, values: NDArray[Any], stored: NDArray[Any]) -> None:
        """Bring the padding among physical values [rows, columns] down to air, in place."""
        is_padding = (stored >= self.lowest) & (stored <= self.highest)
        values[is_padding & (values > self.air)] = self.air


def _stored(header: Dataset, keyword: str) -> int | None:
    """The entry as a stored value; its sign may be lost where the tag's type was guessed."""
    value = header.get(keyword)
    if value is None or value == "":
        return None
    lower, upper = stored_limits(header)
    number = int(value)
    if number > upper:
        number -= 2 ** int(header.BitsAllocated)
    elif number < lower:
        number += 2 ** int(header.BitsAllocated)
    return number
