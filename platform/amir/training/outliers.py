"""Measure what a model's training data looks like to it, and store that with the model."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from amir import checkpoint
from amir.checkpoint import Checkpoint
from amir.config import MeasureSettings, OutlierSettings
from amir.dataset.cohort import Split
from amir.dataset.manifest import Manifest, read_manifest
from amir.dataset.slices import SlicePair, spread_slices
from amir.errors import InputError
from amir.inference.network_runner import Instructed, NetworkRunner
from amir.inference.normalising import to_network
from amir.inference.trust.features import Features, slice_features
from amir.inference.trust.outliers import OutlierStatistics
from amir.modality import Modality
from amir.models.routing import INSTRUCTION_WIDTH
from amir.references import find_model

SPLITS: tuple[Split, Split] = ("train", "validation")


def measure_model(settings: MeasureSettings) -> OutlierStatistics:
    """Measure and store for a model on this machine; InputError if the dataset is another one."""
    if settings.model.startswith("models:/"):
        raise InputError(
            "invalid_setting",
            f"{settings.model} is registered and stays as it is; measure the run it came from and "
            "promote that again",
        )
    found = find_model(settings.model, storage=settings.storage)
    manifest = read_manifest(settings.data)
    trained_on = found.settings["dataset_digest"]
    if manifest.dataset_digest != trained_on:
        raise InputError(
            "invalid_dataset",
            f"model {found.digest[:12]} was trained on dataset {trained_on[:12]}, {settings.data} "
            f"is {manifest.dataset_digest[:12]}; give the one it was trained on",
        )
    return add_statistics(
        found, settings.data, manifest, settings.outliers, tuple(Modality), device=settings.device
    )


def add_statistics(
    found: Checkpoint,
    data: Path,
    manifest: Manifest,
    settings: OutlierSettings,
    tasks: tuple[Modality, ...],
    *,
    device: str | torch.device = "cpu",
) -> OutlierStatistics:
    """Restore slices of the training and the validation split and store what they look like."""
    network = found.network()
    runner = NetworkRunner(network, device=device)
    pairs = {
        (split, task): spread_slices(data, manifest, split, task, settings.slices)
        for split in SPLITS
        for task in tasks
    }
    seen = _features(runner, pairs, seconds=settings.seconds)
    training, held_out = (
        {task: np.stack(rows) for (s, task), rows in seen.items() if s == split and rows}
        for split in SPLITS
    )
    statistics = OutlierStatistics.fit(
        training,
        held_out,
        {
            "dataset_digest": manifest.dataset_digest,
            "kspace_factor": kspace_factor(manifest),
            "slices": {f"{split} {task}": len(rows) for (split, task), rows in seen.items()},
        },
        instruction_width=INSTRUCTION_WIDTH if isinstance(network, Instructed) else 0,
    )
    checkpoint.add_outliers(found, statistics.save)
    return statistics


def kspace_factor(manifest: Manifest) -> int:
    """The smallest by which MR of the training split was cropped along an axis; 1 if none was."""
    parameters = [shard.parameters for shard in manifest.of("train", Modality.MRI)]
    factors = [p["factor"] for p in parameters if p["name"] == "kspace"]
    return min((int(np.min(factor)) for factor in factors), default=1)


Key = tuple[Split, Modality]


def _features(
    runner: NetworkRunner, pairs: dict[Key, list[SlicePair]], *, seconds: float
) -> dict[Key, list[Features]]:
    """Of each split and task; where time is short, of equally many slices of each."""
    seen: dict[Key, list[Features]] = {key: [] for key in pairs}
    end = time.monotonic() + seconds
    for key, pair in _in_turn(pairs):
        seen[key].append(_of_pair(runner, pair))
        if time.monotonic() > end:
            break
    return seen


def _in_turn(pairs: dict[Key, list[SlicePair]]) -> Iterator[tuple[Key, SlicePair]]:
    """The first of each list, then the second of each; lists are shuffled, always alike."""
    shuffled = {
        key: [found[k] for k in np.random.default_rng(0).permutation(len(found))]
        for key, found in pairs.items()
    }
    for number in range(max(map(len, pairs.values()))):
        yield from ((key, found[number]) for key, found in shuffled.items() if number < len(found))


def _of_pair(runner: NetworkRunner, pair: SlicePair) -> Features:
    image = to_network(pair.degraded[None], pair.modality, scale=pair.scale)
    passed = runner.run(image)
    height, width = pair.degraded.shape
    features: Features = slice_features(
        image[:, :height, :width],
        passed.images[:, :height, :width],
        instruction=passed.instruction,
        expert_use=passed.expert_use,
    )[0]
    return features
