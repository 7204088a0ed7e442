"""Hot regions of a PET scan, as a reader would outline them, and their SUV."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Stack = NDArray[np.float32]
SUV_OF_INTEREST = 2.5
ISOCONTOUR = 0.41  # EANM procedure guidelines for tumour imaging 2.0 (Boellaard et al. 2015)
SMALLEST_ML = 1.0
MOST_OUTLINES = 100  # hottest first; bounds the time on a noisy scan


class HotRegion(NamedTuple):
    """One region, outlined in the target; the same voxels are read in the restored scan."""

    volume_ml: float
    suv_max_target: float
    suv_max_restored: float
    suv_mean_target: float
    suv_mean_restored: float


def hot_regions(target: Stack, restored: Stack, *, voxel_ml: float) -> list[HotRegion]:
    """Regions of a scan, hottest first. target, restored: [n, H, W] in SUV.

    Connected voxels above 41 % of a local maximum that is above SUV 2.5, at least 1 ml. A maximum
    whose region would hold a hotter one is part of that one's surroundings and left out.
    """
    return [
        HotRegion(
            float(outline.sum() * voxel_ml),
            float(target[box][outline].max()),
            float(restored[box][outline].max()),
            float(target[box][outline].mean()),
            float(restored[box][outline].mean()),
        )
        for box, outline in _outlines(target)
        if outline.sum() * voxel_ml >= SMALLEST_ML
    ]


Box = tuple[slice, ...]


def _outlines(target: Stack) -> Iterator[tuple[Box, NDArray[np.bool_]]]:
    """Boxes and the outlined voxels inside."""
    islands, _ = ndimage.label(target >= ISOCONTOUR * SUV_OF_INTEREST)
    boxes = ndimage.find_objects(islands)
    taken = np.zeros(target.shape, bool)
    drawn = 0
    for peak in _peaks(target):
        if taken[peak]:
            continue
        drawn += 1
        if drawn > MOST_OUTLINES:
            return
        box = boxes[islands[peak] - 1]
        inside = tuple(int(p - s.start) for p, s in zip(peak, box, strict=True))
        parts, _ = ndimage.label(target[box] >= ISOCONTOUR * target[peak])
        outline = parts == parts[inside]
        if not (outline & taken[box]).any():
            taken[box] |= outline
            yield box, outline


def _peaks(target: Stack) -> list[tuple[int, ...]]:
    """Local maxima (of 27 voxels) above SUV 2.5, hottest first."""
    highest = ndimage.maximum_filter(target, size=3)
    places = np.argwhere((target == highest) & (target > SUV_OF_INTEREST))
    values = target[tuple(places.T)]
    order = np.argsort(-values, kind="stable")
    return [tuple(int(n) for n in place) for place in places[order]]
