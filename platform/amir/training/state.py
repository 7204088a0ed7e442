"""What a training run is at a step, and how it is saved and taken up again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from amir import checkpoint, durable
from amir.checkpoint import Checkpoint


@dataclass
class TrainingState:
    """model: the bare network; network: the same, wrapped for several workers. step: updates done."""

    model: nn.Module
    network: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    best_gain: float | None = None

    def save(
        self, folder: Path, *, settings: Mapping[str, Any], scores: Mapping[str, Any], workers: int
    ) -> Checkpoint:
        """Write checkpoints/STEP; data position and random numbers follow from the step alone."""
        values = {"step": self.step, "best_gain": self.best_gain, "workers": workers}
        return checkpoint.save(
            folder / str(self.step),
            weights=self.model.state_dict(),
            settings={**settings, "step": self.step},
            scores=scores,
            state=(self._optimizer_tensors(), values),
        )

    def resume(self, saved: Checkpoint) -> int:
        """Take up a checkpoint; returns with how many workers it was made."""
        tensors, values = saved.training_state()
        self.model.load_state_dict(saved.weights())
        self._load_optimizer(tensors)
        self.step, self.best_gain = values["step"], values["best_gain"]
        return int(values["workers"])

    def _optimizer_tensors(self) -> dict[str, Tensor]:
        names = _names(self.model)
        state = self.optimizer.state_dict()["state"]
        return {
            f"{names[k]}/{key}": tensor
            for k, entry in state.items()
            for key, tensor in entry.items()
        }

    def _load_optimizer(self, tensors: Mapping[str, Tensor]) -> None:
        numbers = {name: k for k, name in enumerate(_names(self.model))}
        state: dict[int, dict[str, Tensor]] = {}
        for path, tensor in tensors.items():
            name, key = path.rsplit("/", 1)
            state.setdefault(numbers[name], {})[key] = tensor
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": groups})


def mark_best(folder: Path, step: int) -> None:
    """Remember which checkpoint validated best."""
    durable.write_text(folder / "best", str(step))


def prune(folder: Path, *, keep: int, best: int | None) -> None:
    """Remove all checkpoints but the latest `keep` and the best."""
    import shutil

    for step in checkpoint.saved_steps(folder)[:-keep]:
        if step != best:
            shutil.rmtree(folder / str(step))


def _names(model: nn.Module) -> list[str]:
    return [name for name, _ in model.named_parameters()]
