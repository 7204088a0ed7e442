"""One scan to its pairs of slices: read, degrade or pair, scale, cut in the plane of training."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.config import PrepareSettings
from amir.dataset.cohort import CohortRow
from amir.dataset.schema import pack
from amir.degradations.by_modality import DEGRADATIONS
from amir.errors import InputError
from amir.imaging import Scan, from_plane, read_scan, to_plane
from amir.intensity import intensity_scale
from amir.modality import MODELLING_RANGES, TRAINING_PLANES, Modality

Volume = NDArray[np.float32]
# A slice is air when hardly any of its target is above this; MR has no unit, so a share of its
# maximum.
AIR = {Modality.MRI: 0.05, Modality.CT: -500.0, Modality.PET: 0.1}
AIR_SHARE = 0.01


@dataclass(frozen=True)
class Pair:
    """A degraded scan and its target on one grid, and how the one was made from the other."""

    target: Scan
    degraded: Scan
    degradation: dict[str, Any]


def read_pair(row: CohortRow, settings: PrepareSettings) -> Pair:
    """The pair of a cohort row; where no degraded scan is given it is simulated."""
    source = read_scan(row.target, modality=row.modality)
    if row.degraded is None:
        return _simulate(source, settings)
    degraded = read_scan(row.degraded, modality=row.modality)
    if degraded.voxels.shape != source.voxels.shape or not np.allclose(
        degraded.affine, source.affine, atol=0.01
    ):
        raise InputError(
            "inconsistent",
            f"patient {row.patient_id}: degraded {degraded.voxels.shape} and target "
            f"{source.voxels.shape} do not lie on one grid; resample one to the other first",
        )
    return Pair(source, degraded, {"name": "paired"})


def slice_pairs(pair: Pair, row: CohortRow, settings: PrepareSettings) -> Iterator[dict[str, Any]]:
    """Parquet rows of a pair, air-only slices left out."""
    modality = row.modality
    target = to_plane(pair.target, TRAINING_PLANES[modality])
    degraded = to_plane(pair.degraded, TRAINING_PLANES[modality])
    common = {
        "patient_id": row.patient_id,
        "scan_id": scan_id(pair.target),
        "modality": str(modality),
        "plane": TRAINING_PLANES[modality],
        "spacing_mm": list(target.spacing_mm[:2]),
        "unit": MODELLING_RANGES[modality].unit,
        "intensity_scale": intensity_scale(pair.degraded.voxels, modality, settings.intensity),
        "degradation": json.dumps(pair.degradation, sort_keys=True),
    }
    for k in kept_slices(target.slices, modality, settings.central_slices):
        good, good_type = pack(target.slices[k])
        bad, bad_type = pack(degraded.slices[k])
        yield common | {
            "slice_index": k,
            "height": target.slices.shape[1],
            "width": target.slices.shape[2],
            "target": good,
            "target_dtype": good_type,
            "degraded": bad,
            "degraded_dtype": bad_type,
        }


def kept_slices(target: Volume, modality: Modality, central: int | None) -> list[int]:
    """Slices to keep: the central ones if so set, without those that hold air only."""
    count = len(target)
    first = max(0, (count - central) // 2) if central else 0
    last = min(count, first + central) if central else count
    limit = AIR[modality] * (float(target.max()) if modality is Modality.MRI else 1.0)
    return [k for k in range(first, last) if (target[k] > limit).mean() > AIR_SHARE]


def scan_id(scan: Scan) -> str:
    """First 16 hex digits of the source's content hash: the same file, the same scan."""
    return scan.content_hash[:16]


def slice_seeds(seed: int, scan: str, count: int) -> list[int]:
    """One 63-bit seed for each slice, from the dataset's seed, the scan and the slice alone."""
    texts = (f"{seed}/{scan}/{k}" for k in range(count))
    return [int.from_bytes(hashlib.sha256(t.encode()).digest()[:8], "big") >> 1 for t in texts]


def _simulate(source: Scan, settings: PrepareSettings) -> Pair:
    modality = source.modality
    axial = to_plane(source, "axial")
    seeds = slice_seeds(settings.seed, scan_id(source), len(axial.slices))
    outcome = DEGRADATIONS[modality](
        axial.slices,
        spacing_mm=axial.spacing_mm,
        seeds=seeds,
        **settings.degradation.options(modality),
    )
    return Pair(
        target=from_plane(outcome.target, source, "axial"),
        degraded=from_plane(outcome.degraded, source, "axial"),
        degradation=outcome.parameters,
    )
