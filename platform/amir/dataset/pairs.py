"""One scan to a pair: read, degraded or paired, scaled."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.config import PrepareSettings
from amir.dataset.cohort import CohortRow, slice_files
from amir.degradations.by_modality import DEGRADATIONS
from amir.errors import InputError
from amir.imaging import (
    Scan,
    from_plane,
    is_slice_file,
    read_scan,
    read_slice_files,
    to_plane,
)
from amir.intensity import intensity_scale
from amir.modality import MODELLING_RANGES, Modality, Plane

Image = NDArray[np.float32]
PAIRED = "paired"
SIMULATED_PLANE: Plane = "axial"


@dataclass(frozen=True)
class Pair:
    """A degraded scan and its target on one grid.

    source: the scan as it came; PET's target is a reconstruction of it. degradation: how the one
    was made from the other. scale: brings both onto the network's range (MR only, else 1).
    """

    source: Scan
    target: Scan
    degraded: Scan
    degradation: dict[str, Any]
    scale: float

    def clipped(self) -> int:
        """Voxels of the target that the network's range cannot hold."""
        limits = MODELLING_RANGES[self.target.modality]
        scaled = self.target.voxels * np.float32(self.scale)
        return int(np.count_nonzero((scaled < limits.lower) | (scaled > limits.upper)))


def read_pair(row: CohortRow, settings: PrepareSettings) -> Pair:
    """The pair of a cohort row; where no degraded scan is given it is simulated."""
    source = _read(row.target, row.modality)
    if row.degraded is None:
        target, degraded, degradation = _simulate(source, settings)
    else:
        target, degradation = source, {"name": PAIRED}
        _check_slices_match(row.degraded, row.target)
        degraded = _read(row.degraded, row.modality)
        _check_grid(degraded, target)
    scale = intensity_scale(degraded.voxels, row.modality, settings.intensity)
    return Pair(source, target, degraded, degradation, scale)


def scan_id(scan: Scan) -> str:
    """First 16 hex digits of the source's content hash: the same file, the same scan."""
    return scan.content_hash[:16]


def slice_seeds(seed: int, scan: str, count: int) -> list[int]:
    """One 63-bit seed for each slice, from the dataset's seed, the scan and the slice alone."""
    texts = (f"{seed}/{scan}/{k}" for k in range(count))
    return [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "big") >> 1 for t in texts]


def _read(path: Path, modality: Modality) -> Scan:
    files = slice_files(path) or ([path] if is_slice_file(path) else [])
    if files:
        return read_slice_files(files, modality=modality)
    return read_scan(path, modality=modality)


def _check_slices_match(degraded: Path, target: Path) -> None:
    """A pair of patterns must find the same names, or slices would be paired by chance."""
    bad, good = ({path.name for path in slice_files(p)} for p in (degraded, target))
    odd = sorted(bad ^ good)
    if bad and good and odd:
        raise InputError(
            "missing_slice",
            f"slice {odd[0]} is there only once in the pair ({len(odd)} such slices); remove it or "
            "fetch its partner",
        )


def _simulate(source: Scan, settings: PrepareSettings) -> tuple[Scan, Scan, dict[str, Any]]:
    """(target, degraded, parameters); scanners are simulated in SIMULATED_PLANE."""
    axial = to_plane(source, SIMULATED_PLANE)
    outcome = DEGRADATIONS[source.modality](
        axial.slices,
        spacing_mm=axial.spacing_mm,
        seeds=slice_seeds(settings.seed, scan_id(source), len(axial.slices)),
        **settings.degradation.options(source.modality),
    )
    target, degraded = (
        from_plane(slices, source, SIMULATED_PLANE) for slices in (outcome.target, outcome.degraded)
    )
    return target, degraded, outcome.parameters


def _check_grid(degraded: Scan, target: Scan) -> None:
    found, wanted = degraded.voxels.shape, target.voxels.shape
    if found != wanted or not np.allclose(degraded.affine, target.affine, atol=0.01):
        raise InputError(
            "inconsistent",
            f"degraded {found} and target {wanted} do not lie on one grid; resample one to the "
            "other first",
        )
