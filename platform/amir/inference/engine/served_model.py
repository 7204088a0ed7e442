"""A model ready to serve: its network on a device, and what others may know of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from amir.checkpoint import Checkpoint
from amir.config import EngineSettings
from amir.errors import InputError
from amir.inference.engine.batching import Batcher
from amir.inference.engine.slices import ModelDescription
from amir.inference.network_runner import NetworkRunner
from amir.inference.padding import padded_size
from amir.inference.trust.outliers import OutlierStatistics, stored_statistics
from amir.inference.trust.verdicts import kspace_factor_of

Image = NDArray[np.float32]
PROBE_SIDE = 32
PROBE_VALUES = (0.0, 0.25, 1.0)


@dataclass(frozen=True, eq=False)
class ServedModel:
    """runner: the network, on its device. description: what requests and reports say of it.

    statistics: what its training data looked like; None where nobody measured it.
    """

    runner: NetworkRunner
    description: ModelDescription
    statistics: OutlierStatistics | None = None


def serve_checkpoint(
    checkpoint: Checkpoint,
    settings: EngineSettings,
    *,
    alias: str,
    reference: str,
    version: str = "",
    device: str | torch.device = "cpu",
) -> ServedModel:
    """A checkpoint's network on the device; not tried yet, see `prove`."""
    network, statistics = checkpoint.network(), stored_statistics(checkpoint)
    runner = NetworkRunner(
        network,
        device=device,
        precision=settings.precision,
        tile=settings.tile,
        kernels=settings.kernels,
        compiled=settings.compile,
        graphs=settings.graph,
        usual=[padded_size(*size) for size in settings.warm_up],
        one_by_one=torch.device(device).type == "cpu",
    )
    description = ModelDescription(
        digest=checkpoint.digest,
        alias=alias,
        reference=reference,
        network=checkpoint.settings["network"]["name"],
        intensity=checkpoint.intensity,
        parameters=sum(p.numel() for p in network.parameters()),
        version=version,
        precision=settings.precision,
        kspace_factor=kspace_factor_of(statistics),
    )
    return ServedModel(runner, description, statistics)


async def prove(
    model: ServedModel, batcher: Batcher, warm_up: Iterable[tuple[int, int]]
) -> ServedModel:
    """The model, once it has restored noise, flat images and a slice of each of the usual shapes.

    No request pays then for what the first one of a shape costs. InputError("invalid_checkpoint")
    for a model that answers with anything but numbers.
    """
    noise = np.random.default_rng(0).random((1, PROBE_SIDE, PROBE_SIDE), dtype=np.float32)
    flat = [np.full_like(noise, value) for value in PROBE_VALUES]
    usual = [images for size in warm_up for images in _blanks(model.runner, size, batcher)]
    for images in (np.concatenate([noise, *flat]), *usual):
        passed = await batcher.try_out(model.runner, images)
        if not np.isfinite(passed.images).all():
            raise InputError(
                "invalid_checkpoint",
                f"model {model.description.digest[:12]} answers a test image with NaN or infinity; "
                "it is not served. Train it anew, or serve another version",
            )
    return model


def _blanks(runner: NetworkRunner, size: tuple[int, int], batcher: Batcher) -> Iterator[Image]:
    """Slices of a size, in each number of them that the network sets itself up for."""
    height, width = padded_size(*size)
    most = max(1, batcher.settings.pixels // (height * width))
    for number in runner.batches((height, width), most):
        yield np.zeros((number, height, width), np.float32)
