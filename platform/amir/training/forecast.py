"""What a run will take, before it starts: parameters, operations, memory, steps, time."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from amir.config import TrainSettings
from amir.dataset.manifest import Manifest
from amir.training.initial import initial_model
from amir.training.phases import phases
from amir.training.progress import duration
from amir.training.state import TrainingState, training_state
from amir.training.step import Crops, Objective, train_step
from amir.training.worker import torch_threads

MIB = 2**20


@dataclass(frozen=True)
class Phase:
    """A part of the run with crops of one size; what was measured is of one crop.

    operations: floating-point operations of a forward. activations: bytes kept for the backward.
    seconds: of forward, backward and update here.
    """

    crop: int
    steps: int
    operations: int
    activations: int
    seconds: float


def forecast(settings: TrainSettings, manifest: Manifest) -> Iterator[str]:
    """Lines for people. One crop of each size is trained on here, the rest is arithmetic."""
    device = torch.device("cuda" if settings.workers.gpu and torch.cuda.is_available() else "cpu")
    torch.set_num_threads(torch_threads(settings.workers))
    model = initial_model(settings).to(device)
    state = training_state(settings, model, model)
    measured = [
        measure(state, crop, stop - first, device) for crop, first, stop in phases(settings)
    ]
    yield from _of_the_network(state, measured, settings)
    yield from _of_the_run(settings, manifest)
    yield from _of_the_time(measured, settings, device)


def measure(state: TrainingState, crop: int, steps: int, device: torch.device) -> Phase:
    """Train on one crop of noise; the state is spoilt by it."""
    image = torch.rand(1, 1, crop, crop, device=device)
    crops = Crops(image, image, image > -1, torch.zeros(1, dtype=torch.long, device=device))
    state.model.train()
    operations, activations = _operations(state.model, image), _activations(state.model, image)
    train_step(state.model, crops, state.optimizers, Objective(0.0))
    start = time.perf_counter()
    train_step(state.model, crops, state.optimizers, Objective(0.0)).losses.total.item()
    return Phase(crop, steps, operations, activations, time.perf_counter() - start)


def _operations(model: nn.Module, image: Tensor) -> int:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model(image)
    return int(counter.get_total_flops())


def _activations(model: nn.Module, image: Tensor) -> int:
    """Bytes of what autograd keeps for the backward, each storage once, weights left out."""
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        restored = model(image)
        result = sum(n for place, n in kept.items() if place not in weights)
        del restored
    return result


def _of_the_network(
    state: TrainingState, phases: list[Phase], settings: TrainSettings
) -> Iterator[str]:
    share = settings.batch // settings.workers.counts[0] // settings.accumulate
    weights = sum(p.numel() * p.element_size() for p in state.model.parameters())
    moments = sum(
        t.numel() * t.element_size()
        for optimizer in state.optimizers
        for entry in optimizer.state.values()
        for t in entry.values()
        if isinstance(t, Tensor)
    )
    copies = weights * (2 if state.average is None else 3)  # itself, its gradient, its average
    activations = max(phase.activations for phase in phases) * share
    yield f"network      {settings.model.name}, {weights // 4:,} parameters"
    for phase in phases:
        yield (
            f"operations   {phase.operations / 1e9:.2f} GFLOP forward for a crop of {phase.crop}, "
            f"about {3 * phase.operations * settings.batch / 1e9:.1f} GFLOP a step"
        )
    yield (
        f"memory       {(copies + moments + activations) / MIB:,.0f} MiB a worker, estimated: "
        f"{copies / MIB:,.0f} weights and gradients, {moments / MIB:,.0f} optimizer, "
        f"{activations / MIB:,.0f} activations of {share} crops"
    )


def _of_the_run(settings: TrainSettings, manifest: Manifest) -> Iterator[str]:
    slices = {task: manifest.slices("train", task) for task in settings.data.tasks}
    epochs = settings.steps * settings.batch / sum(slices.values())
    counted = ", ".join(f"{task} {count:,}" for task, count in slices.items())
    yield f"data         {counted} slices: {epochs:.1f} times each, on average"
    yield (
        f"steps        {settings.steps:,} with {settings.batch} crops over "
        f"{settings.workers.count} workers, {settings.steps // settings.checkpoints.every} "
        f"checkpoints, {-(-settings.steps // settings.validation.every)} validations"
    )


def _of_the_time(
    phases: list[Phase], settings: TrainSettings, device: torch.device
) -> Iterator[str]:
    share = settings.batch // settings.workers.count
    seconds = sum(phase.seconds * share * phase.steps for phase in phases)
    where = torch.cuda.get_device_name() if device.type == "cuda" else "this machine's CPU"
    yield (
        f"time         about {duration(seconds)} without validation, if each worker has {where} "
        f"({torch.get_num_threads()} of {os.cpu_count()} threads): measured on one crop, larger "
        "batches are faster"
    )
