"""The headers of a series on a finer grid than the one it was read on."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from pydicom.dataset import Dataset

from amir.imaging.dicom.store import decimals


def finer_headers(headers: Sequence[Dataset], factor: int, *, shift: float) -> tuple[Dataset, ...]:
    """Copies with `factor` times the rows and columns; identifiers and all else stay.

    shift: where the first of the new voxels lies, in old voxels from the first of those.
    """
    return tuple(_finer(header, factor, shift) for header in headers)


def _finer(original: Dataset, factor: int, shift: float) -> Dataset:
    header = copy.deepcopy(original)
    spacing_mm = np.array(header.PixelSpacing, np.float64)
    along_row, along_column = np.array(header.ImageOrientationPatient, np.float64).reshape(2, 3)
    step_mm = along_row * spacing_mm[1] + along_column * spacing_mm[0]
    position_mm = np.array(header.ImagePositionPatient, np.float64) + shift * step_mm
    header.Rows, header.Columns = header.Rows * factor, header.Columns * factor
    header.PixelSpacing = decimals(spacing_mm / factor)
    header.ImagePositionPatient = decimals(position_mm)
    return header
