"""What each Ray Train worker does: its network, its feed, the loop."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import torch

from amir.config import TrainSettings, WorkerSettings
from amir.dataset.loading import ray_batches
from amir.dataset.manifest import Manifest
from amir.dataset.plan import Plan
from amir.dataset.reader import Reader, build_index
from amir.dataset.slices import SlicePair, spread_slices
from amir.inference.restorer import Restorer
from amir.tracking import Run
from amir.training.contrast import momentum_contrast
from amir.training.initial import initial_model
from amir.training.loop import train
from amir.training.observer import RunObserver
from amir.training.optimizer import build_optimizer
from amir.training.record import resume_record
from amir.training.run_folder import RunFolder
from amir.training.state import TrainingState, save_checkpoint, take_up
from amir.training.validation import Scores, mean_gain, validate


@dataclass(frozen=True)
class WorkerTask:
    """What every worker of a run is given.

    describe: what a checkpoint says of itself, given its step.
    """

    settings: TrainSettings
    manifest: Manifest
    folder: RunFolder
    mlflow_run_id: str | None
    describe: Callable[..., dict[str, Any]]


def train_worker(config: dict[str, WorkerTask]) -> None:
    """Train as one of the workers, from the newest checkpoint of the run's folder on."""
    import ray.train
    import ray.train.torch

    task = config["task"]
    settings, folder = task.settings, task.folder
    context = ray.train.get_context()
    rank, workers = context.get_world_rank(), context.get_world_size()
    torch.set_num_threads(torch_threads(settings.workers))
    device = ray.train.torch.get_device()
    state = _build_state(settings, device)
    take_up(state, folder, rank=rank, workers=workers)
    restorer = Restorer(state.model, intensity=task.manifest.intensity, device=device)
    pairs = _validation_pairs(task)

    def save(scores: Scores) -> None:
        if rank == 0:
            save_checkpoint(
                state,
                folder,
                settings=task.describe(step=state.step),
                scores=scores,
                workers=workers,
                keep=settings.checkpoints.keep,
            )
        ray.train.report({"step": state.step, "gain": mean_gain(scores)})

    feed = ray_batches(_reader(task), state.step, settings.steps, rank=rank, workers=workers)
    with closing(feed):  # whatever happens: its threads would else outlive what they need
        train(
            state,
            feed,
            settings,
            device=device,
            rank=rank,
            validate=lambda: validate(restorer, pairs, rank=rank, workers=workers),
            save=save,
            observer=RunObserver(folder, _record(task, rank), batch=settings.batch),
        )


def torch_threads(workers: WorkerSettings) -> int:
    """Threads of each worker's operations: as set, else the CPUs it has reserved, rounded down."""
    return workers.threads or max(1, int(workers.cpus))


def _build_state(settings: TrainSettings, device: torch.device) -> TrainingState:
    import ray.train.torch

    network = ray.train.torch.prepare_model(initial_model(settings).to(device))
    model = getattr(network, "module", network)  # one worker gets the bare model back
    optimizer = build_optimizer(model, settings.optimizer)
    return TrainingState(model, network, optimizer, momentum_contrast(settings, model))


def _validation_pairs(task: WorkerTask) -> list[SlicePair]:
    data, count = task.settings.data, task.settings.validation.slices
    return [
        pair
        for modality in data.tasks
        for pair in spread_slices(data.path, task.manifest, "validation", modality, count)
    ]


def _reader(task: WorkerTask) -> Reader:
    settings, data = task.settings, task.settings.data
    index = build_index(task.manifest, "train", data.tasks)
    plan = Plan(index, settings.seed, settings.batch, data.sampling)
    return Reader(data.path, plan, crop=data.crop, flips=data.flips)


def _record(task: WorkerTask, rank: int) -> Run:
    """Only the first worker's observer is told anything."""
    return resume_record(task.settings, task.mlflow_run_id if rank == 0 else None)
