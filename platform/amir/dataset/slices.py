"""Whole slice pairs from shards, in physical units: what is validated, scored and shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import NDArray

from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, ShardEntry
from amir.dataset.schema import ROWS_PER_GROUP, unpack
from amir.errors import InputError
from amir.metrics import Score, score_slice
from amir.modality import Modality

Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class SlicePair:
    """degraded, target: float32 [H, W], physical units. scale: to the network's range (MR only,
    else 1).
    """

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
    """The slices of a shard, all or those of the given rows (ascending), a row group in memory at a
    time.
    """
    try:
        file = pq.ParquetFile(folder / shard.file)
        wanted = range(shard.rows) if rows is None else rows
        for group in sorted({row // ROWS_PER_GROUP for row in wanted}):
            table = file.read_row_group(group).to_pylist()
            first = group * ROWS_PER_GROUP
            for row in wanted:
                if first <= row < first + ROWS_PER_GROUP:
                    yield _pair(table[row - first])
    except (OSError, ValueError, IndexError) as error:
        raise InputError("invalid_dataset", f"shard {shard.file}: {error}") from None


def spread_slices(
    folder: Path, manifest: Manifest, split: Split, modality: Modality, count: int
) -> list[SlicePair]:
    """At most `count` slices of a modality, evenly spread over the split: the same ones every time."""
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
        spacing_mm=tuple(row["spacing_mm"]),
        scale=row["intensity_scale"],
        degraded=pixels("degraded"),
        target=pixels("target"),
    )
