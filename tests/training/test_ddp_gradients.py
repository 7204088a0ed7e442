"""Two workers with half the batch each make the updates of one with the whole batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from amir.config import OptimizerSettings
from amir.models.amir import AMIR
from amir.training.optimizer import build_optimizer
from amir.training.step import Crops, train_step
from tests.gloo_workers import on_workers

STEPS, BATCH, SIDE = 3, 4, 16
NETWORK: dict[str, Any] = {
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 1,
    "heads": (1, 1, 1, 1),
    "instructions": 4,
    "gate_noise": False,  # drawn by each worker for itself, hence not that of the joined batch
}


def crops(step: int, share: slice) -> Crops:
    """A worker's share of a step's batch, in which one crop is mostly padding."""
    generator = torch.Generator().manual_seed(step)
    degraded, target = torch.rand(
        (2, BATCH, 1, SIDE, SIDE), generator=generator, dtype=torch.float64
    )
    valid = torch.ones(BATCH, 1, SIDE, SIDE, dtype=torch.bool)
    valid[0, :, 3:] = False
    return Crops(degraded[share], target[share], valid[share])


def updated(rank: int, workers: int) -> dict[str, Tensor]:
    """The weights after some steps, by the trainer's own step and optimizer."""
    torch.manual_seed(7)
    model = AMIR(**NETWORK).double().train()
    network = DistributedDataParallel(model) if workers > 1 else model
    optimizer = build_optimizer(model, OptimizerSettings(learning_rate=1e-3))
    share = slice(rank * BATCH // workers, (rank + 1) * BATCH // workers)
    for step in range(STEPS):
        train_step(network, crops(step, share), optimizer, balance_weight=0.1)
    return model.state_dict()


@pytest.mark.timeout(120)
def test_two_workers_make_the_updates_of_one(tmp_path: Path) -> None:
    of_workers = on_workers(updated, 2, tmp_path)
    alone = updated(0, 1)
    for weights in of_workers:
        for name, weight in weights.items():
            torch.testing.assert_close(weight, alone[name], rtol=0, atol=1e-6, msg=name)
