"""A model ready to serve: its network on a device, and what others may know of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from amir.checkpoint import Checkpoint
from amir.config import EngineSettings
from amir.errors import InputError
from amir.inference.network_runner import NetworkRunner
from amir.inference.padding import pad
from amir.inference.slices import ModelDescription

PROBE_SIDE = 32
PROBE_VALUES = (0.0, 0.25, 1.0)


@dataclass(frozen=True, eq=False)
class ServedModel:
    """runner: the network, on its device. description: what requests and reports say of it."""

    runner: NetworkRunner
    description: ModelDescription


def prepare_model(
    checkpoint: Checkpoint,
    settings: EngineSettings,
    *,
    alias: str,
    reference: str,
    version: str = "",
    device: str | torch.device = "cpu",
) -> ServedModel:
    """A checkpoint's network on the device, tried and warm.

    InputError("invalid_checkpoint") for one that gives anything but numbers.
    """
    network = checkpoint.network()
    runner = NetworkRunner(
        network,
        device=device,
        precision=settings.precision,
        tile=settings.tile,
        compiled=settings.compile,
    )
    _probe(runner, checkpoint.digest)
    warm_up(runner, settings.warm_up)
    description = ModelDescription(
        digest=checkpoint.digest,
        alias=alias,
        reference=reference,
        network=checkpoint.settings["network"]["name"],
        intensity=checkpoint.intensity,
        parameters=sum(p.numel() for p in network.parameters()),
        version=version,
        precision=settings.precision,
    )
    return ServedModel(runner, description)


def warm_up(runner: NetworkRunner, shapes: Iterable[tuple[int, int]]) -> None:
    """Restore a slice of each shape, so that no request pays for what the first one costs."""
    for shape in shapes:
        runner.run(pad(np.zeros((1, *shape), np.float32)))


def _probe(runner: NetworkRunner, digest: str) -> None:
    """Flat images and noise through the network: every answer must be finite."""
    noise = np.random.default_rng(0).random((1, PROBE_SIDE, PROBE_SIDE), dtype=np.float32)
    flat = [np.full_like(noise, value) for value in PROBE_VALUES]
    answers = runner.run(np.concatenate([noise, *flat])).images
    if not np.isfinite(answers).all():
        raise InputError(
            "invalid_checkpoint",
            f"model {digest[:12]} answers a test image with NaN or infinity; it is not served. "
            "Train it anew, or serve another version",
        )
