"""What a worker does, whoever started it: its network, its feed, the loop, its checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from amir import checkpoint
from amir.code_version import code_version
from amir.config import TrainSettings, WorkerSettings
from amir.dataset.manifest import Manifest
from amir.dataset.plan import Plan
from amir.dataset.reader import Batch, Reader, build_index
from amir.dataset.slices import SlicePair, spread_slices
from amir.inference.restorer import Restorer
from amir.models.compiling import compiled_twin
from amir.models.kernel_choice import choose_kernels
from amir.tracking import WITHOUT, Run
from amir.training.background import Background
from amir.training.forwarding import Forwarder
from amir.training.initial import initial_model
from amir.training.loop import train
from amir.training.observer import RunObserver
from amir.training.phases import phases
from amir.training.record import resume_record
from amir.training.run_folder import RunFolder
from amir.training.saving import save_checkpoint, take_up
from amir.training.state import TrainingState, training_state
from amir.training.validation import Scores, mean_gain, validate

Feed = Callable[[Reader, int, int], Generator[Batch, None, None]]


@dataclass(frozen=True)
class WorkerTask:
    """What every worker of a run is given.

    describe: what a checkpoint says of itself, given its step. left_out: what is wrong with each
    shard that the manifest had and that is trained without.
    """

    settings: TrainSettings
    manifest: Manifest
    folder: RunFolder
    mlflow_run_id: str | None
    describe: Callable[..., dict[str, Any]]
    left_out: tuple[str, ...] = ()


def worker_task(
    settings: TrainSettings,
    manifest: Manifest,
    folder: RunFolder,
    record: Run,
    left_out: Sequence[str] = (),
) -> WorkerTask:
    """The task of a run, told to every worker of it."""
    describe = partial(
        checkpoint.describe,
        settings.model.name,
        settings.model.model_dump(mode="json", exclude={"name"}),
        intensity=manifest.intensity,
        dataset_digest=manifest.dataset_digest,
        code_version=code_version(),
    )
    return WorkerTask(settings, manifest, folder, record.id or None, describe, tuple(left_out))


def build_state(
    settings: TrainSettings,
    device: torch.device,
    *,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> TrainingState:
    """The network of a new run and its optimizer. wrap: for several workers."""
    model = initial_model(settings).to(device)
    choose_kernels(model, settings.workers.kernels)
    network = wrap(compiled_twin(model) if settings.workers.compile else model)
    return training_state(settings, model, network)


def work(
    task: WorkerTask,
    state: TrainingState,
    *,
    feed: Feed,
    device: torch.device,
    rank: int = 0,
    workers: int = 1,
    report: Callable[[dict[str, Any]], Any] = lambda metrics: None,
) -> None:
    """Train from the newest checkpoint of the run's folder to the last step.

    feed: called with the reader, the first step and the end. report: called after each checkpoint,
    by every worker; one that is written in the background has only begun.
    """
    settings, folder = task.settings, task.folder
    take_up(state, folder, rank=rank, workers=workers)
    if rank == 0 and task.left_out:
        folder.append([_note_of_left_out(state.step, task.left_out)])
    restorer = Restorer(state.kept, intensity=task.manifest.intensity, device=device)
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
                background=background,
            )
        report({"step": state.step, "gain": mean_gain(scores)})

    batches = _batches(task, state.step, feed)
    # Closed whatever happens: the feed's threads would else outlive what they need.
    with ExitStack() as stack:
        stack.enter_context(closing(batches))
        stack.enter_context(Forwarder(folder, _record(task, rank)))
        background = stack.enter_context(Background()) if settings.checkpoints.background else None
        train(
            state,
            batches,
            settings,
            device=device,
            rank=rank,
            workers=workers,
            validate=lambda: validate(restorer, pairs, rank=rank, workers=workers),
            save=save,
            names=_reader(task, settings.data.crop).names,
            observer=RunObserver(folder, batch=settings.batch),
        )


def torch_threads(workers: WorkerSettings) -> int:
    """Threads of each worker's operations: as set, else the CPUs it has reserved, rounded down."""
    return workers.threads or max(1, int(workers.cpus))


def _note_of_left_out(step: int, faults: Sequence[str]) -> dict[str, Any]:
    """A line of metrics.jsonl."""
    note = f"without {len(faults)} shards, so slices come in another order: {'; '.join(faults)}"
    return {
        "step": step,
        "time": time.time_ns() // 1_000_000,
        "note": note,
        WITHOUT: len(faults),
    }


def _validation_pairs(task: WorkerTask) -> list[SlicePair]:
    data, count = task.settings.data, task.settings.validation.slices
    return [
        pair
        for modality in data.tasks
        for pair in spread_slices(data.path, task.manifest, "validation", modality, count)
    ]


def _batches(task: WorkerTask, start: int, feed: Feed) -> Generator[Batch, None, None]:
    """The worker's batches from step `start` on, crop size by crop size."""
    for crop, first, stop in phases(task.settings, start):
        yield from feed(_reader(task, crop), first, stop)


def _reader(task: WorkerTask, crop: int) -> Reader:
    settings, data = task.settings, task.settings.data
    index = build_index(task.manifest, "train", data.tasks)
    plan = Plan(index, settings.seed, settings.batch, data.sampling)
    return Reader(data.path, plan, crop=crop, flips=data.flips)


def _record(task: WorkerTask, rank: int) -> Run:
    """Only the first worker's observer is told anything."""
    return resume_record(task.settings, task.mlflow_run_id if rank == 0 else None)
