"""A dataset folder of noise: what is fed does not depend on what it shows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from amir.config import IntensityScale
from amir.dataset.manifest import ShardEntry, make_manifest, write_manifest
from amir.dataset.schema import pack
from amir.dataset.shard import write_shard
from amir.modality import Modality


def write_dataset(
    folder: Path, scans: int, rows: int, sizes: Mapping[Modality, tuple[int, int]]
) -> None:
    """A dataset folder of noise: what is fed does not depend on what it shows."""
    (folder / "train").mkdir(parents=True)
    entries = []
    for number in range(scans):
        modality = list(Modality)[number % 3]
        name, slices = f"train/{number:05d}.parquet", noise(number, rows, modality, sizes[modality])
        write_shard(folder / name, slices)
        entries.append(
            ShardEntry(
                file=name,
                patient_id=f"p{number}",
                scan_id=f"{number:016x}",
                modality=modality,
                rows=rows,
                sha256="",
                voxels=0,
                clipped=0,
                air=0,
                source="",
                parameters={},
            )
        )
    manifest = make_manifest(
        settings={},
        intensity=IntensityScale(),
        shards={"train": entries, "validation": [], "test": []},
        refused=[],
        ranges={},
        versions={},
    )
    write_manifest(folder, manifest)


def noise(
    number: int, rows: int, modality: Modality, shape: tuple[int, int]
) -> Iterator[dict[str, Any]]:
    image = np.random.default_rng(number).integers(0, 1500, shape).astype(np.float32)
    for k in range(rows):
        pixels, dtype = pack(np.roll(image, 7 * k))
        yield {
            **dict.fromkeys(("patient_id", "scan_id", "plane", "unit", "degradation"), "x"),
            **{"modality": str(modality), "slice_index": k, "spacing_mm": [1.0, 1.0]},
            **{"height": shape[0], "width": shape[1], "intensity_scale": 1.0},
            **{"target": pixels, "target_dtype": dtype},
            **{"degraded": pixels, "degraded_dtype": dtype},
        }
