"""What a training run is at a step, and how it is saved and taken up again."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from amir import checkpoint, durable
from amir.checkpoint import Checkpoint
from amir.training.contrast import MomentumContrast
from amir.training.run_folder import RunFolder
from amir.training.validation import Scores, mean_gain

CONTRAST = "contrast/"  # before the names of its tensors, beside the optimizer's


@dataclass
class TrainingState:
    """model: the bare network; network: the same, wrapped for several workers.

    contrast: what trains the instruction beside the restoration, if anything does.
    step: updates done. best_step, best_gain: of the checkpoint that validated best so far.
    """

    model: nn.Module
    network: nn.Module
    optimizer: torch.optim.Optimizer
    contrast: MomentumContrast | None = None
    step: int = 0
    best_step: int | None = None
    best_gain: float | None = None

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
            weights=self.model.state_dict(),
            settings=settings,
            scores=scores,
            state=(self._optimizer_tensors() | self._contrast_tensors(), values),
        )

    def resume(self, saved: Checkpoint) -> int:
        """Take up a checkpoint; returns with how many workers it was made."""
        tensors, values = saved.training_state()
        self.model.load_state_dict(saved.weights())
        self._load_optimizer({k: v for k, v in tensors.items() if not k.startswith(CONTRAST)})
        if self.contrast is not None:
            own = {k: v for k, v in tensors.items() if k.startswith(CONTRAST)}
            self.contrast.load_state_dict({k.removeprefix(CONTRAST): v for k, v in own.items()})
        self.step = values["step"]
        self.best_step, self.best_gain = values["best_step"], values["best_gain"]
        return int(values["workers"])

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        names = _names(self.model)
        state = self.optimizer.state_dict()["state"]
        return {
            f"{names[k]}/{key}": tensor
            for k, entry in state.items()
            for key, tensor in entry.items()
        }

    def _contrast_tensors(self) -> dict[str, Tensor]:
        own = {} if self.contrast is None else self.contrast.state_dict()
        return {f"{CONTRAST}{name}": tensor for name, tensor in own.items()}

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        numbers = {name: k for k, name in enumerate(_names(self.model))}
        state: dict[int, dict[str, Tensor]] = {}
        for path, tensor in tensors.items():
            name, key = path.rsplit("/", 1)
            state.setdefault(numbers[name], {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


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
        folder.forget_after(state.step)
    if rank == 0 and saved is not None:
        note = f"resumed by {workers} workers, saved by {before}"  # other workers, other gate noise
        folder.append([{"step": state.step, "note": note}])


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


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]
