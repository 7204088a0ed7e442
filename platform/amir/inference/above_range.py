"""Voxels above the range of training, restored with the same network: PET and MR have no upper end.

Both are scaled freely, PET by dose and uptake, MR by the receiver: darkened by a factor, a slice
is still one of its kind. So slices with voxels above the range are restored once more, darkened
until they fit, and those voxels are taken from there; all others stay as they were. Handed through
instead, their noise would stay too, and a restored lesion would keep the peak of its noise. CT in
HU cannot be darkened; metal above 3071 HU is handed through.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amir.modality import MODELLING_RANGES, Modality

Slices = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class BrightSlices:
    """Which slices hold voxels above the range, and the intensity scale at which they fit.

    index: [m], places in the stack.
    """

    index: NDArray[np.int64]
    scale: float


def bright_slices(
    degraded: Slices, modality: Modality, *, scale: float, peak: float | None = None
) -> BrightSlices | None:
    """The slices [n, H, W] to restore once more; None where all voxels fit, and for CT.

    scale: the scan's intensity scale. peak: the scan's maximum, where these are not all its slices:
    one scale for all, so that neighbours fit.
    """
    limits = MODELLING_RANGES[modality]
    if limits.lower != 0 or not degraded.size:
        return None
    index = np.flatnonzero(degraded.max(axis=(1, 2)) * scale > limits.upper)
    if not index.size:
        return None
    peak = float(degraded.max()) if peak is None else peak
    # A hair below the end: rounding must not push the peak out again.
    return BrightSlices(index, limits.upper / peak * (1 - 1e-6))


def with_bright_voxels(
    restored: Slices,
    degraded: Slices,
    again: Slices,
    bright: BrightSlices,
    modality: Modality,
    *,
    scale: float,
) -> Slices:
    """`restored` with its voxels above the range taken from `again`, the bright slices restored at
    `bright.scale`; all in the scan's units. A new array.
    """
    whole = restored.copy()
    above = degraded[bright.index] * np.float32(scale) > MODELLING_RANGES[modality].upper
    whole[bright.index] = np.where(above, again, restored[bright.index])
    return whole
