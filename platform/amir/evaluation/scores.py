"""Every slice of a split to one row of scores per method, on Ray Data, a shard at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch

from amir import cluster
from amir.checkpoint import load
from amir.config import EvaluateSettings
from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, ShardEntry
from amir.dataset.slices import read_shard
from amir.evaluation.methods import DegradedInput, GaussianFilter, Method, RestoredBy
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.parallel import parallel_map

Row = dict[str, Any]

SCHEMA = pa.schema(
    [
        ("method", pa.string()),
        ("model_digest", pa.string()),
        ("patient_id", pa.string()),
        ("scan_id", pa.string()),
        ("modality", pa.string()),
        ("slice_index", pa.int32()),
        ("psnr", pa.float64()),
        ("ssim", pa.float64()),
        ("rmse", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Comparison:
    """What to score: models by name and checkpoint, and a filter or none, on a dataset folder."""

    folder: Path
    models: tuple[tuple[str, Path], ...]
    gaussian: GaussianFilter | None

    def methods(self, device: str) -> list[Method]:
        methods: list[Method] = [DegradedInput()]
        if self.gaussian is not None:
            methods.append(self.gaussian)
        for name, checkpoint in self.models:
            methods.append(RestoredBy(Restorer.of(load(checkpoint), device=device), name))
        return methods


class ShardScorer:
    """Scores shards with all methods of a comparison."""

    def __init__(self, comparison: Comparison, *, device: str, threads: int) -> None:
        torch.set_num_threads(threads)
        self.folder = comparison.folder
        self.methods = comparison.methods(device)

    def __call__(self, shard: str) -> pa.Table:
        """The scores of a shard's slices. shard: its manifest entry as JSON."""
        entry = ShardEntry.model_validate_json(shard)
        return pa.Table.from_pylist(list(self.rows(entry)), schema=SCHEMA)

    def rows(self, shard: ShardEntry) -> Iterator[Row]:
        for pair in read_shard(self.folder, shard):
            for method in self.methods:
                score = pair.score(method.restore(pair))
                yield {
                    "method": method.name,
                    "model_digest": method.digest,
                    "patient_id": pair.patient_id,
                    "scan_id": pair.scan_id,
                    "modality": str(pair.modality),
                    "slice_index": pair.slice_index,
                    **score._asdict(),
                }


def score_split(
    comparison: Comparison,
    manifest: Manifest,
    settings: EvaluateSettings,
    *,
    report: Callable[[int, int], None] = lambda done, all: None,
) -> pa.Table:
    """One row per slice and method of the split, sorted; scored on the Ray that is connected to."""
    shards = manifest.of(settings.split)
    tables = []
    for table in _on_ray(comparison, shards, settings):
        tables.append(table)
        report(len(tables), len(shards))
    keys = ("modality", "patient_id", "scan_id", "slice_index", "method")
    return pa.concat_tables(tables).sort_by([(key, "ascending") for key in keys])


def tasks_of(manifest: Manifest, split: Split) -> list[Modality]:
    """Modalities that have slices in a split, in the paper's order."""
    return [task for task in Modality if manifest.of(split, task)]


def _on_ray(
    comparison: Comparison, shards: Sequence[ShardEntry], settings: EvaluateSettings
) -> Iterator[pa.Table]:
    cluster.require(
        cpus=settings.cpus,
        gpus=1 if settings.gpu else 0,
        purpose="scoring",
        remedy="lower --cpus, leave --gpu out, or add nodes (Ray would wait for ever)",
    )
    places = cluster.gpus() if settings.gpu else int(cluster.cpus() / settings.cpus)
    yield from parallel_map(
        partial(
            ShardScorer,
            comparison,
            device="cuda" if settings.gpu else "cpu",
            threads=max(1, int(settings.cpus)),
        ),
        [shard.model_dump_json() for shard in shards],
        actors=min(len(shards), max(1, places)),
        cpus=settings.cpus,
        gpus=1 if settings.gpu else 0,
        batch_size=None,
        batch_format="pyarrow",
    )
