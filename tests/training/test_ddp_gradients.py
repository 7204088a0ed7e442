"""Two workers with half the batch each make the updates of one with the whole batch."""

from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from amir.config import OptimizerSettings
from amir.models.amir import AMIR
from amir.training.optimizer import build_optimizer
from amir.training.step import Crops, train_step

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


def work(rank: int, workers: int, folder: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{folder}/rendezvous",
        rank=rank,
        world_size=workers,
        timeout=timedelta(seconds=60),
    )
    torch.save(updated(rank, workers), Path(folder) / f"{rank}.pt")
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()


@pytest.mark.timeout(120)
def test_two_workers_make_the_updates_of_one(tmp_path: Path) -> None:
    context = multiprocessing.spawn(work, (2, str(tmp_path)), 2, join=False)
    deadline = time.monotonic() + 90
    try:
        while not context.join(timeout=1, grace_period=5):
            assert time.monotonic() < deadline, "the workers are stuck"
    finally:
        for process in context.processes:
            process.kill()
    alone = updated(0, 1)
    for rank in range(2):
        for name, weight in torch.load(tmp_path / f"{rank}.pt").items():
            torch.testing.assert_close(weight, alone[name], rtol=0, atol=1e-6, msg=name)
