"""What a training run is at a step, as tensors and numbers, and from them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from amir.checkpoint import Checkpoint
from amir.config import TrainSettings
from amir.losses import UncertaintyBalance
from amir.training.average import WeightAverage
from amir.training.contrast import MomentumContrast, momentum_contrast
from amir.training.optimizer import build_optimizers


class Snapshot(NamedTuple):
    """weights: of the network that is kept. tensors, values: what only resuming needs."""

    weights: Mapping[str, Tensor]
    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]


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

    def snapshot(self, *, workers: int, copied: bool) -> Snapshot:
        """What a checkpoint of this step holds; data position and random numbers follow from the
        step alone.

        copied: apart from the state, which may go on meanwhile; else it must wait.
        """
        values = {
            "step": self.step,
            "best_step": self.best_step,
            "best_gain": self.best_gain,
            "workers": workers,
        }
        tensors = self._optimizer_tensors() | self._beside_tensors()
        weights: Mapping[str, Tensor] = self.kept.state_dict()
        if copied:
            weights, tensors = _on_the_cpu(weights), _on_the_cpu(tensors)
        return Snapshot(weights, tensors, values)

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


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose names begin so, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _on_the_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Copies that no later step changes."""
    return {name: tensor.detach().to("cpu", copy=True) for name, tensor in tensors.items()}
