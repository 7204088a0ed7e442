"""The scale that brings an MR scan's arbitrary numbers onto the network's range."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amir.config import IntensityScale
from amir.errors import InputError
from amir.modality import Modality

FLAT = 0.999  # a scan whose voxels are all so close to the maximum has no background

# Within these no voxel times the scale, and no restored value divided by it, leaves float32.
SMALLEST_PEAK, LARGEST_MAGNITUDE = 1e-15, 1e15


def intensity_scale(
    degraded: NDArray[np.float32], modality: Modality, settings: IntensityScale
) -> float:
    """Factor from a scan's numbers to the network's physical range; 1.0 for CT and PET.

    degraded: all voxels of the DEGRADED scan; the target is not known when a model is used, and
    must not leak. The percentile is taken above Otsu's threshold, so that it does not depend on
    how much air was scanned. A scan without a positive voxel keeps its numbers, one whose numbers
    no scanner stores is refused: InputError("unsupported").
    """
    if modality is not Modality.MRI or settings.scale == "fixed":
        return 1.0
    from skimage.filters import threshold_otsu

    peak = float(degraded.max())
    _check_magnitudes(float(degraded.min()), peak)
    if peak <= 0:
        return 1.0
    # Relative to the maximum, so that a scan times 7 gets exactly a seventh of the scale.
    relative = degraded.ravel() / np.float32(peak)
    if relative.min() < FLAT:
        relative = relative[relative > threshold_otsu(relative)]
    top = float(np.percentile(relative, settings.percentile)) * peak
    return settings.set_point / top if top > 0 else 1.0


def _check_magnitudes(lowest: float, highest: float) -> None:
    if max(-lowest, highest) > LARGEST_MAGNITUDE or 0 < highest < SMALLEST_PEAK:
        message = (
            f"the MR scan reaches from {lowest:g} to {highest:g}; scale it to magnitudes of "
            f"{SMALLEST_PEAK:g} to {LARGEST_MAGNITUDE:g}"
        )
        raise InputError("unsupported", message)
