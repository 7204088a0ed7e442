"""What each Ray Train worker does: its network, its feed, the loop."""

from __future__ import annotations

import logging
from functools import partial

import torch

from amir.dataset.loading import ray_batches
from amir.errors import InputError
from amir.references import find_model
from amir.training.outliers import add_statistics
from amir.training.worker import WorkerTask, build_state, torch_threads, work

log = logging.getLogger(__name__)


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
    if rank == 0 and task.settings.outliers.slices:
        _measure_training_data(task, device)


def _measure_training_data(task: WorkerTask, device: torch.device) -> None:
    """By the run's best checkpoint; a dataset too small for it leaves the model without."""
    settings = task.settings
    best = find_model(str(task.folder.path), storage=settings.storage)
    try:
        add_statistics(
            best,
            settings.data.path,
            task.manifest,
            settings.outliers,
            settings.data.tasks,
            device=device,
        )
    except InputError as error:
        log.warning("the model cannot tell outliers: %s", error)
