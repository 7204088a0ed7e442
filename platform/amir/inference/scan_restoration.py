"""A scan to the slices that a network restores, and restored slices back to a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from amir.config import IntensityScale
from amir.imaging import Scan, from_plane, to_plane
from amir.inference.normalising import outside
from amir.intensity import intensity_scale
from amir.modality import TRAINING_PLANES


@dataclass(frozen=True)
class Restoration:
    """A restored scan and what a careful reader wants to know of it.

    clipped: voxels outside the modelling range. saturated: voxels that
    the file it was written to cannot hold, set to the nearest value.
    """

    scan: Scan
    clipped: int
    intensity_scale: float
    model_digest: str
    saturated: int = 0


@dataclass(frozen=True, eq=False)
class ScanSlices:
    """A scan cut for the network: slices [n, H, W] in physical units, plane of training, scale."""

    scan: Scan
    slices: NDArray[np.float32]
    scale: float

    @property
    def clipped(self) -> int:
        """Voxels outside the modelling range."""
        return int(np.count_nonzero(outside(self.slices, self.scan.modality, scale=self.scale)))

    def restored(self, slices: NDArray[np.float32], *, model_digest: str) -> Restoration:
        """The scan of the restored slices, on the grid of the one they were cut from."""
        scan = from_plane(slices, self.scan, TRAINING_PLANES[self.scan.modality])
        # Not a flipped view, which torch does not take.
        scan = scan.with_voxels(np.ascontiguousarray(scan.voxels))
        return Restoration(scan, self.clipped, self.scale, model_digest)


def cut_scan(scan: Scan, intensity: IntensityScale) -> ScanSlices:
    """A scan in slices of its plane of training, with the intensity scale that its model wants."""
    scale = intensity_scale(scan.voxels, scan.modality, intensity)
    return ScanSlices(scan, to_plane(scan, TRAINING_PLANES[scan.modality]).slices, scale)
