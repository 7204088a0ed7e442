"""A pair to Parquet rows: cut in the plane of training, without slices of air."""

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
from amir.dataset.pairs import PAIRED, SIMULATED_PLANE, Pair, scan_id, slice_seeds
from amir.dataset.schema import pack
from amir.errors import InputError
from amir.imaging import to_plane
from amir.modality import MODELLING_RANGES, TRAINING_PLANES, Modality, Plane

Image = NDArray[np.float32]
# A slice is air when hardly any of its target is above this: for MR, which has no unit, a share of
# the scan's maximum.
AIR = {Modality.MRI: 0.05, Modality.CT: -500.0, Modality.PET: 0.1}
AIR_SHARE = 0.01


@dataclass(frozen=True)
class CutPair:
    """A pair in slices of the plane of training, and which of them are kept.

    air: how many of the others hold nothing else. prints: per kept slice, 64 bits of the sha256 of
    the source's voxels there: the same picture, whatever file it lay in.
    """

    rows: Iterator[dict[str, Any]]
    count: int
    air: int
    prints: NDArray[np.uint64]


def cut_pair(pair: Pair, row: CohortRow, settings: PrepareSettings) -> CutPair:
    """Parquet rows of a pair without slices of air; InputError("empty") at once if none is left."""
    modality, plane = row.modality, TRAINING_PLANES[row.modality]
    target, degraded = to_plane(pair.target, plane), to_plane(pair.degraded, plane)
    central = settings.central_slices if modality is Modality.MRI else None
    wanted = central_range(len(target.slices), central)
    kept = slices_with_tissue(target.slices, modality, wanted)
    if not kept:
        raise InputError("empty", f"scan {scan_id(pair.target)} holds nothing but air")
    common = {
        "patient_id": row.patient_id,
        "scan_id": scan_id(pair.target),
        "modality": str(modality),
        "plane": plane,
        "spacing_mm": list(target.spacing_mm[:2]),
        "unit": MODELLING_RANGES[modality].unit,
        "intensity_scale": pair.scale,
    }
    story = _Story(pair, settings.seed, plane, len(target.slices))
    rows = (
        common
        | {"degradation": story.of_slice(k)}
        | _pixels(k, target.slices[k], degraded.slices[k])
        for k in kept
    )
    prints = slice_prints(to_plane(pair.source, plane).slices[kept])
    return CutPair(rows, len(kept), len(wanted) - len(kept), prints)


class _Story:
    """How a slice was degraded, as JSON {name, parameters, seed}; of a given pair, {name}.

    seed: of this very slice where the scanner is simulated in the plane of training, else the
    dataset's, from which those of the simulated slices follow (`slice_seeds`).
    """

    def __init__(self, pair: Pair, seed: int, plane: Plane, count: int) -> None:
        parameters = dict(pair.degradation)
        self.told: dict[str, Any] = {"name": parameters.pop("name")}
        self.seeds: list[int] = []
        if self.told["name"] != PAIRED:
            self.told |= {"parameters": parameters, "seed": seed}
            if plane == SIMULATED_PLANE:
                self.seeds = slice_seeds(seed, scan_id(pair.source), count)

    def of_slice(self, number: int) -> str:
        own = {"seed": self.seeds[number]} if self.seeds else {}
        return json.dumps(self.told | own, sort_keys=True)


def slice_prints(slices: Image) -> NDArray[np.uint64]:
    """[n] 64 bits of each slice's sha256, of slices [n, H, W]."""
    digests = (hashlib.sha256(str(s.shape).encode() + s.tobytes()).digest()[:8] for s in slices)
    return np.frombuffer(b"".join(digests), ">u8").astype(np.uint64)


def central_range(count: int, central: int | None) -> range:
    """The central ones of so many slices; all where no number is set."""
    first = max(0, (count - central) // 2) if central else 0
    return range(first, min(count, first + central) if central else count)


def slices_with_tissue(target: Image, modality: Modality, wanted: range) -> list[int]:
    """Those of the wanted slices that hold more than air."""
    limit = AIR[modality] * (float(target.max()) if modality is Modality.MRI else 1.0)
    return [k for k in wanted if (target[k] > limit).mean() > AIR_SHARE]


def _pixels(slice_index: int, target: Image, degraded: Image) -> dict[str, Any]:
    good, good_type = pack(target)
    bad, bad_type = pack(degraded)
    return {
        "slice_index": slice_index,
        "height": target.shape[0],
        "width": target.shape[1],
        "target": good,
        "target_dtype": good_type,
        "degraded": bad,
        "degraded_dtype": bad_type,
    }
