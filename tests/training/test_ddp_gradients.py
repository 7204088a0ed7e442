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
from amir.models.economy import choose_recomputation
from amir.training.optimizer import build_optimizers
from amir.training.step import Crops, Objective, train_step
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
    return Crops(degraded[share], target[share], valid[share], torch.arange(BATCH)[share] % 3)


OBJECTIVES = {
    "published": {"balance_weight": 0.1},
    "in parts, clipped": {"balance_weight": 0.0, "clip_norm": 0.05, "accumulate": 2},
}
RECOMPUTED = "published, recomputed"


def updated(rank: int, workers: int) -> dict[str, dict[str, Tensor]]:
    """The weights after some steps, by the trainer's own step and optimizer."""
    found = {name: _updated(rank, workers, Objective(**o)) for name, o in OBJECTIVES.items()}
    published = Objective(**OBJECTIVES["published"])
    return found | {RECOMPUTED: _updated(rank, workers, published, recompute=True)}


def _updated(
    rank: int, workers: int, objective: Objective, *, recompute: bool = False
) -> dict[str, Tensor]:
    torch.manual_seed(7)
    model = AMIR(**NETWORK).double().train()
    choose_recomputation(model, recompute)
    network = DistributedDataParallel(model) if workers > 1 else model
    optimizers = build_optimizers(model, OptimizerSettings(learning_rate=1e-3))
    share = slice(rank * BATCH // workers, (rank + 1) * BATCH // workers)
    for step in range(STEPS):
        train_step(network, crops(step, share), optimizers, objective)
    return model.state_dict()


@pytest.mark.timeout(120)
def test_two_workers_make_the_updates_of_one(tmp_path: Path) -> None:
    of_workers = on_workers(updated, 2, tmp_path)
    alone = updated(0, 1)
    for name, weight in alone["published"].items():
        torch.testing.assert_close(alone[RECOMPUTED][name], weight, rtol=0, atol=1e-6, msg=name)
    for weights in of_workers:
        for objective, named in weights.items():
            for name, weight in named.items():
                found = alone[objective][name]
                torch.testing.assert_close(weight, found, rtol=0, atol=1e-6, msg=name)
