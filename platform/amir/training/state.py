"""What a training run is at a step, and how it is saved and taken up again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer

from amir import checkpoint, durable
from amir.checkpoint import Checkpoint
from amir.config import TrainSettings
from amir.losses import UncertaintyBalance
from amir.training.average import WeightAverage
from amir.training.contrast import MomentumContrast, momentum_contrast
from amir.training.optimizer import build_optimizers
from amir.training.run_folder import RunFolder
from amir.training.validation import Scores, mean_gain


@dataclass
class TrainingState:
    """model: the bare network; network: the same, wrapped for several workers.

    contrast: what trains the instruction beside the restoration, if anything does. balancing: what
    weighs the tasks, if anything does. average: of the weights, if it is what is kept.
    step: updates done. best_step, best_gain: of the checkpoint that validated best so far.
    """

    model: nn.Module
    network: nn.Module
    optimizers: list[Optimizer]
    contrast: MomentumContrast | None = None
    balancing: UncertaintyBalance | None = None
    average: WeightAverage | None = None
    step: int = 0
    best_step: int | None = None
    best_gain: float | None = None

    @property
    def kept(self) -> nn.Module:
        """The network that is validated, and whose weights a checkpoint holds."""
        return self.model if self.average is None else self.average.model

    def save(
        self, folder: Path, *, settings: Mapping[str, Any], scores: Mapping[str, Any], workers: int
    ) -> Checkpoint:
        """Write folder/STEP; data position and random numbers follow from the step alone."""
        values = {
            "step": self.step,
            "best_step": self.best_step,
            "best_gain": self.best_gain,
            "workers": workers,
        }
        return checkpoint.save(
            folder / str(self.step),
            weights=self.kept.state_dict(),
            settings=settings,
            scores=scores,
            state=(self._optimizer_tensors() | self._beside_tensors(), values),
        )

    def resume(self, saved: Checkpoint) -> int:
        """Take up a checkpoint; returns with how many workers it was made."""
        tensors, values = saved.training_state()
        self.kept.load_state_dict(saved.weights())
        for part, module in self._beside().items():
            module.load_state_dict(_under(f"{part}/", tensors))
        self._load_optimizers(tensors)
        self.step = values["step"]
        self.best_step, self.best_gain = values["best_step"], values["best_gain"]
        return int(values["workers"])

    def _beside(self) -> dict[str, nn.Module]:
        """What resuming needs beside the kept weights and the optimizers, by its name there."""
        live = None if self.average is None else self.model
        parts = {"contrast": self.contrast, "balancing": self.balancing, "live": live}
        return {name: module for name, module in parts.items() if module is not None}

    def _beside_tensors(self) -> dict[str, Tensor]:
        return {
            f"{part}/{name}": tensor
            for part, module in self._beside().items()
            for name, tensor in module.state_dict().items()
        }

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        return {
            f"{name}/{key}": tensor
            for optimizer in self.optimizers
            for name, number in self._numbers(optimizer).items()
            for key, tensor in optimizer.state_dict()["state"].get(number, {}).items()
        }

    def _load_optimizers(self, tensors: Mapping[str, Tensor]) -> None:
        for optimizer in self.optimizers:
            state = {
                number: _under(f"{name}/", tensors)
                for name, number in self._numbers(optimizer).items()
            }
            found = {number: entry for number, entry in state.items() if entry}
            groups = optimizer.state_dict()["param_groups"]
            optimizer.load_state_dict({"state": found, "param_groups": groups})

    def _numbers(self, optimizer: Optimizer) -> dict[str, int]:
        """What an optimizer calls its parameters, by their names, which outlive it."""
        names = {id(p): name for name, p in self.model.named_parameters()}
        if self.balancing is not None:
            own = self.balancing.named_parameters(prefix="balancing")
            names |= {id(p): name for name, p in own}
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        return {names[id(p)]: number for number, p in enumerate(parameters)}


def training_state(settings: TrainSettings, model: nn.Module, network: nn.Module) -> TrainingState:
    """The state at step 0. model: as it starts; network: the same, wrapped for several workers."""
    device = next(model.parameters()).device
    weighs = settings.loss.balancing == "uncertainty"
    balancing = UncertaintyBalance().to(device) if weighs else None
    decay = settings.optimizer.average_decay
    beside = [] if balancing is None else balancing.parameters()
    return TrainingState(
        model,
        network,
        build_optimizers(model, settings.optimizer, beside=beside),
        momentum_contrast(settings, model),
        balancing,
        WeightAverage(model, decay) if decay else None,
    )


def save_checkpoint(
    state: TrainingState,
    folder: RunFolder,
    *,
    settings: Mapping[str, Any],
    scores: Scores,
    workers: int,
    keep: int,
) -> None:
    """Save the state in its run's folder, mark it if it is the best, remove what is not kept."""
    gain = mean_gain(scores)
    is_best = bool(scores) and (state.best_gain is None or gain > state.best_gain)
    if is_best:
        state.best_step, state.best_gain = state.step, gain
    named = {str(task): score._asdict() for task, score in scores.items()}
    state.save(folder.checkpoints, settings=settings, scores=named, workers=workers)
    _mark_best(folder.checkpoints, state.best_step)
    prune(folder.checkpoints, keep=keep, best=state.best_step)


def take_up(state: TrainingState, folder: RunFolder, *, rank: int, workers: int) -> None:
    """Go on from the newest sound checkpoint, if there is one, and forget what came after it.

    Every worker reads the same folder before any writes to it.
    """
    saved = checkpoint.latest(folder.checkpoints)
    before = workers if saved is None else state.resume(saved)
    _check_all_stand_at(state.step, workers)
    if state.best_step not in checkpoint.saved_steps(folder.checkpoints):
        state.best_step = state.best_gain = None  # removed for a better one that is damaged now
    if rank == 0:
        _mark_best(folder.checkpoints, state.best_step)
        again = folder.forget_after(state.step)
        if saved is not None or again:
            # Other workers, other gate noise.
            note = f"resumed by {workers} workers, saved by {before}"
            folder.append([{"step": state.step, "note": note, "again": again}])


def prune(folder: Path, *, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the latest `keep` and the best."""
    for step in checkpoint.saved_steps(folder)[:-keep]:
        if step != best:
            shutil.rmtree(folder / str(step))


def _mark_best(folder: Path, step: int | None) -> None:
    if step is None:
        (folder / "best").unlink(missing_ok=True)
    else:
        durable.write_text(folder / "best", str(step))


def _check_all_stand_at(step: int, workers: int) -> None:
    if workers == 1:
        return
    steps: list[int] = [0] * workers
    dist.all_gather_object(steps, step)
    if len(set(steps)) > 1:
        raise RuntimeError(
            f"workers found checkpoints of different steps {steps}: the storage folder must be one "
            "and the same on every node"
        )


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
