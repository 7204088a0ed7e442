"""MONOCHROME1: dark is high. By the standard that concerns the display and nothing else.

PS3.3 C.7.6.3.1.2 and C.11.1 (the modality LUT comes first, presentation last): a stored value means
what the rescale makes of it in either polarity. Exports that inverted the values and not the
rescale carry the same tags. They give themselves away where the picture ends: around a patient is
air, which has the lowest value in CT and MR alike.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from amir.errors import InputError
from amir.imaging.dicom.choice import tag_name
from amir.imaging.dicom.slice import Slice
from amir.imaging.scan import Voxels


def check_polarity(slices: Sequence[Slice], voxels: Voxels, unit: str) -> None:
    """Refuse MONOCHROME1 whose rim is brighter than its slices within.

    voxels: [columns, rows, slices] in the unit.
    """
    if not any(item.header.PhotometricInterpretation == "MONOCHROME1" for item in slices):
        return
    rim = np.concatenate(
        [voxels[0].ravel(), voxels[-1].ravel(), voxels[:, 0].ravel(), voxels[:, -1].ravel()]
    )
    # The median of a small patient is air as well, the mean is not; that of a crop may be either.
    outside, overall = float(np.median(rim)), float(min(np.median(voxels), voxels.mean()))
    if outside > overall:
        message = (
            f"{slices[0].name}: {tag_name('PhotometricInterpretation')} is MONOCHROME1 and "
            f"its values seem inverted, {outside:g} {unit} at the rim and {overall:g} within; "
            "convert it to MONOCHROME2"
        )
        raise InputError("unsupported", message)
