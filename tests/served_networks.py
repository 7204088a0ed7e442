"""Engines around networks of a few thousand parameters, and networks that tests can hold up."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
from torch import Tensor, nn

from amir.config import EngineSettings, IntensityScale
from amir.inference.engine.local import LocalEngine
from amir.inference.engine.served_model import ServedModel
from amir.inference.engine.served_models import ServedModels
from amir.inference.engine.slices import ModelDescription, SliceRequest
from amir.inference.network_runner import NetworkRunner
from amir.modality import Modality
from amir.models.restored import Restored


class Brightened(nn.Module):
    """Adds an amount; remembers the shapes of its batches; waits where a test says so."""

    def __init__(self, amount: float = 0.0) -> None:
        super().__init__()
        self.amount = amount
        self.batches: list[tuple[int, ...]] = []
        self.begun, self.may_go_on = threading.Event(), threading.Event()
        self.may_go_on.set()

    def forward(self, degraded: Tensor) -> Restored:
        self.batches.append(tuple(degraded.shape))
        self.begun.set()
        assert self.may_go_on.wait(timeout=20)
        return Restored(degraded + self.amount, degraded.new_zeros(()))


def served(network: nn.Module, digest: str, **settings: Any) -> ServedModel:
    description = ModelDescription(digest, "champion", "test", "test", IntensityScale(), 0)
    return ServedModel(NetworkRunner(network, **settings), description)


def engine_of(network: nn.Module, **settings: Any) -> LocalEngine:
    """An engine whose champion has the digest "aaa...", with settings of the engine."""
    models = ServedModels()
    models.assign("champion", served(network, "a" * 64))
    return LocalEngine(models, EngineSettings.model_validate(settings))


def ct_request(*shape: int, seed: int = 0, model: str = "a" * 64) -> SliceRequest:
    noise = np.random.default_rng(seed).uniform(-1000, 3000, shape).astype(np.float32)
    return SliceRequest(noise, Modality.CT, 1.0, model)
