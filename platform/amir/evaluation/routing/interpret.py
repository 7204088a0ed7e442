"""The interpretation job: a checkpoint and a dataset to figures and tables of the routing."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from amir import durable
from amir.checkpoint import Checkpoint
from amir.config import InterpretSettings
from amir.dataset.manifest import Manifest, read_manifest
from amir.dataset.slices import SlicePair, spread_slices
from amir.errors import InputError
from amir.evaluation.charts import Chart
from amir.evaluation.routing import expert_use
from amir.evaluation.routing.figures import (
    draw_channel_masks,
    draw_expert_maps,
    draw_expert_use,
    draw_instructions,
    draw_interference,
)
from amir.evaluation.routing.instructions import project, separation
from amir.evaluation.routing.interference import Batch, Interference, task_interference
from amir.evaluation.routing.observed import SliceRouting, route_slice
from amir.inference.restorer import Restorer
from amir.modality import Modality, normalise
from amir.references import find_model

FORMAT = 1
Slices = Mapping[Modality, Sequence[SlicePair]]


@dataclass(frozen=True, eq=False)
class Interpretation:
    """What was seen. charts: in the order to look at them. facts: what interpretation.json says."""

    routings: tuple[SliceRouting, ...]
    use: tuple[dict[str, Any], ...]
    interference: Interference | None
    charts: tuple[Chart, ...]
    facts: dict[str, Any]


def interpret(settings: InterpretSettings) -> Interpretation:
    """Write interpretation.json, Parquet tables and figures into the folder settings.out."""
    manifest = read_manifest(settings.data)
    model = find_model(settings.model, storage=settings.storage, tracking_uri=settings.tracking.uri)
    slices = _slices(settings, manifest)
    restorer = Restorer.of(model, device="cuda" if settings.gpu else "cpu")
    routings = tuple(route_slice(restorer, pair) for own in slices.values() for pair in own)
    interference = _interference(settings, manifest, restorer, tuple(slices))
    use = tuple(row for routing in routings for row in expert_use.use_of(routing))
    seen = Interpretation(routings, use, interference, (), _facts(settings, manifest, model))
    seen = Interpretation(routings, use, interference, _draw(seen), seen.facts)
    _write(settings.out, seen)
    return seen


def crop_batches(
    pairs: Sequence[SlicePair], *, count: int, crop: int, seed: int, device: str = "cpu"
) -> list[Batch]:
    """Slices as `count` batches of crops in 0..1, neighbours apart: batch a takes a, a + count...

    The place of a crop is drawn from the seed; a slice smaller than the crop is padded by
    reflection.
    """
    generator = np.random.default_rng(seed)
    crops = [_crop(pair, crop, generator) for pair in pairs]
    batches = [np.stack(crops[a::count]) for a in range(min(count, len(crops)))]
    tensors = [torch.from_numpy(batch).to(device) for batch in batches]
    return [(batch[:, :1], batch[:, 1:]) for batch in tensors]


def _crop(pair: SlicePair, size: int, generator: np.random.Generator) -> Any:
    """[2, size, size], degraded and target."""
    both = np.stack([pair.degraded, pair.target]) * np.float32(pair.scale)
    both = normalise(both, pair.modality)
    missing = [max(0, size - n) for n in both.shape[1:]]
    both = np.pad(both, [(0, 0), (0, missing[0]), (0, missing[1])], mode="symmetric")
    top, left = (int(generator.integers(n - size + 1)) for n in both.shape[1:])
    return both[:, top : top + size, left : left + size]


def _slices(settings: InterpretSettings, manifest: Manifest) -> dict[Modality, list[SlicePair]]:
    found = {
        task: spread_slices(settings.data, manifest, settings.split, task, settings.slices)
        for task in Modality
        if manifest.of(settings.split, task)
    }
    if not found:
        raise InputError(
            "invalid_dataset",
            f"the {settings.split} split of {settings.data} is empty; choose another --split",
        )
    return found


def _interference(
    settings: InterpretSettings, manifest: Manifest, restorer: Restorer, tasks: Sequence[Modality]
) -> Interference | None:
    """On the training split, where the steps would be taken; None with fewer than two tasks."""
    count, wanted = settings.interference.batches, settings.interference
    known = [task for task in tasks if manifest.slices("train", task) >= count]
    if count == 0 or len(known) < 2:
        return None
    batches = {}
    for task in known:
        pairs = spread_slices(settings.data, manifest, "train", task, count * wanted.batch)
        batches[task] = crop_batches(
            pairs, count=count, crop=wanted.crop, seed=settings.seed, device=str(restorer.device)
        )
    return task_interference(restorer.model, batches)


def _facts(settings: InterpretSettings, manifest: Manifest, model: Checkpoint) -> dict[str, Any]:
    chosen = settings.model_dump(mode="json", exclude={"out", "storage", "tracking"})
    return {
        "format": FORMAT,
        "model_digest": model.digest,
        "dataset_digest": manifest.dataset_digest,
        "settings": chosen,
    }


def _draw(seen: Interpretation) -> tuple[Chart, ...]:
    charts: list[Chart] = []
    routed = [routing for routing in seen.routings if routing.spatial]
    for task in Modality:
        own = [routing for routing in routed if routing.pair.modality is task]
        if own:
            charts.append(draw_expert_maps(own[len(own) // 2]))
    if seen.use:
        charts.append(draw_expert_use(seen.use))
    told = [routing for routing in seen.routings if routing.instruction is not None]
    if len(told) > 1:
        charts += [_draw_instructions(told, method) for method in ("tsne", "pca")]
    if seen.interference is not None:
        charts.append(draw_interference(seen.interference))
    masked = [routing for routing in seen.routings if routing.masks]
    if masked:
        charts.append(draw_channel_masks(masked))
    return tuple(charts)


def _draw_instructions(routings: Sequence[SliceRouting], method: Literal["tsne", "pca"]) -> Chart:
    instructions = np.stack([r.instruction for r in routings if r.instruction is not None])
    tasks = [str(routing.pair.modality) for routing in routings]
    return draw_instructions(
        project(instructions, method=method),
        tasks,
        method=method,
        separation=separation(instructions, tasks),
    )


def _write(folder: Path, seen: Interpretation) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for chart in seen.charts:
        chart.save(folder)
    tables = {
        "expert_use": pa.Table.from_pylist(list(seen.use), schema=expert_use.SCHEMA),
        "instructions": pa.Table.from_pylist([_vectors(r) for r in seen.routings]),
    }
    if seen.interference is not None:
        tables["interference"] = pa.Table.from_pylist(_interference_rows(seen.interference))
    for name, table in tables.items():
        with durable.new_file(folder / f"{name}.parquet") as beside:
            pq.write_table(table, beside)
    durable.write_text(folder / "interpretation.json", json.dumps(seen.facts, indent=1))


def _vectors(routing: SliceRouting) -> dict[str, Any]:
    """A slice's instruction and channel masks."""
    pair, instruction = routing.pair, routing.instruction
    return {
        "modality": str(pair.modality),
        "patient_id": pair.patient_id,
        "scan_id": pair.scan_id,
        "slice_index": pair.slice_index,
        "instruction": None if instruction is None else instruction.tolist(),
        **{f"mask {level}": mask.tolist() for level, mask in routing.masks.items()},
    }


def _interference_rows(found: Interference) -> list[dict[str, Any]]:
    return [
        {
            "order": k,
            "layer": layer,
            "loss_of": str(task),
            "step_of": str(other),
            "interference": float(found.matrix[k, i, j]),
            "standard_error": float(found.error[k, i, j]),
        }
        for k, layer in enumerate(found.layers)
        for i, task in enumerate(found.tasks)
        for j, other in enumerate(found.tasks)
    ]
