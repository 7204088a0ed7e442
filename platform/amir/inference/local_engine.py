"""The engine in one process: restores slices in batches, several models side by side."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np

from amir.config import EngineSettings
from amir.errors import InputError
from amir.inference.batching import Batcher
from amir.inference.normalising import from_network, outside, to_network
from amir.inference.served_models import ServedModels
from amir.inference.slice_queue import PassedSlice
from amir.inference.slices import ModelDescription, SliceAnswer, SliceRequest


class LocalEngine:
    """An `Engine` around the models it is given; one device, one forward at a time."""

    def __init__(self, models: ServedModels, settings: EngineSettings | None = None) -> None:
        self.served = models
        self.settings = settings or EngineSettings()
        self.batcher = Batcher(self.settings.batch)

    async def choose(self, reference: str, *, key: str = "") -> ModelDescription:
        return self.served.choose(reference, key=key).description

    async def models(self) -> Sequence[ModelDescription]:
        return self.served.descriptions()

    async def restore(self, request: SliceRequest) -> SliceAnswer:
        model = self.served.pinned(request.model)
        if model is None:
            raise InputError(
                "unknown_model",
                f"model {request.model[:12]} is not served any more; send the request again",
            )
        images = await asyncio.to_thread(
            to_network, request.slices, request.modality, scale=request.scale
        )
        passed = await self.batcher.run(model.runner, list(images))
        return await asyncio.to_thread(_answer, request, passed)

    def close(self) -> None:
        self.batcher.close()


def _answer(request: SliceRequest, passed: Sequence[PassedSlice]) -> SliceAnswer:
    degraded, modality, scale = request.slices, request.modality, request.scale
    images = np.stack([one.image for one in passed])
    if not np.isfinite(images).all():
        raise RuntimeError(f"model {request.model[:12]} gave NaN or infinity for finite slices")
    return SliceAnswer(
        restored=from_network(images, degraded, modality, scale=scale),
        clipped=int(np.count_nonzero(outside(degraded, modality, scale=scale))),
        deviation=None,
        outlier_score=np.full(len(degraded), np.nan),
        expert_use={
            level: tuple(map(float, np.mean([one.expert_use[level] for one in passed], axis=0)))
            for level in passed[0].expert_use
        },
        seconds={
            "waiting": max(one.waiting for one in passed),
            "forward": max(one.forward for one in passed),
        },
        batch=max(one.batch for one in passed),
    )
