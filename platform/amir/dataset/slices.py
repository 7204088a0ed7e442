"""Whole slice pairs from shards, in physical units: what is validated, scored and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, ShardEntry
from amir.dataset.schema import ROWS_PER_GROUP, unpack
from amir.dataset.shard import Shard
from amir.metrics import Score, score_slice
from amir.modality import Modality

Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SlicePair:
    """degraded, target: float32 [H, W], physical units. scale: to the network's range; MR only."""

    patient_id: str
    scan_id: str
    slice_index: int
    modality: Modality
    spacing_mm: tuple[float, float]
    scale: float
    degraded: Image
    target: Image

    def score(self, image: Image) -> Score:
        """The image against the target, in the network's physical range (MR scaled onto it)."""
        scale = np.float32(self.scale)
        return score_slice(image * scale, self.target * scale, self.modality)


def read_shard(
    folder: Path, shard: ShardEntry, rows: Sequence[int] | None = None
) -> Iterator[SlicePair]:
    """The slices of a shard, all or those of the given rows, ascending; a row group in memory."""
    opened = Shard(folder, shard.file)
    wanted = range(shard.rows) if rows is None else rows
    for number, members in groupby(wanted, key=lambda row: row // ROWS_PER_GROUP):
        group = opened.group(number)
        for row in members:
            yield _pair(group[row % ROWS_PER_GROUP])


def spread_slices(
    folder: Path, manifest: Manifest, split: Split, modality: Modality, count: int
) -> list[SlicePair]:
    """At most `count` slices of a modality, evenly spread over the split; always the same ones."""
    every = [(s, row) for s in manifest.of(split, modality) for row in range(s.rows)]
    places = np.unique(np.linspace(0, len(every) - 1, min(count, len(every))).round().astype(int))
    chosen = [every[k] for k in places] if every else []
    shards = {shard.file: shard for shard, _ in chosen}
    return [
        pair
        for file, shard in shards.items()
        for pair in read_shard(folder, shard, [r for s, r in chosen if s.file == file])
    ]


def middle_slice(folder: Path, manifest: Manifest, split: Split, modality: Modality) -> SlicePair:
    """One slice to look at: from the middle of the split's middle scan."""
    shards = manifest.of(split, modality)
    shard = shards[len(shards) // 2]
    (pair,) = read_shard(folder, shard, [shard.rows // 2])
    return pair


def _pair(row: dict[str, Any]) -> SlicePair:
    def pixels(name: str) -> Image:
        stored = unpack(row[name], row[f"{name}_dtype"], row["height"], row["width"])
        return stored.astype(np.float32)

    return SlicePair(
        patient_id=row["patient_id"],
        scan_id=row["scan_id"],
        slice_index=row["slice_index"],
        modality=Modality(row["modality"]),
        spacing_mm=(row["spacing_mm"][0], row["spacing_mm"][1]),
        scale=row["intensity_scale"],
        degraded=pixels("degraded"),
        target=pixels("target"),
    )
