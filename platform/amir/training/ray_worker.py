"""What each Ray Train worker does: its network, its feed, the loop."""

from __future__ import annotations

from functools import partial

import torch

from amir.dataset.loading import ray_batches
from amir.training.worker import WorkerTask, build_state, torch_threads, work


def train_worker(config: dict[str, WorkerTask]) -> None:
    """Train as one of the workers, from the newest checkpoint of the run's folder on."""
    import ray.train
    import ray.train.torch

    task = config["task"]
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(torch_threads(task.settings.workers))
    device = ray.train.torch.get_device()
    work(
        task,
        build_state(task.settings, device, wrap=ray.train.torch.prepare_model),
        feed=partial(ray_batches, rank=rank, workers=workers),
        device=device,
        rank=rank,
        workers=workers,
        report=ray.train.report,
    )
