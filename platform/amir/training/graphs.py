"""A training step's gradients as a CUDA graph: one launch in place of thousands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from amir.losses import RestorationLoss
from amir.models.cuda_graphs import Record, cuda_graph
from amir.training.step import Crops, Objective, find_gradients


@runtime_checkable
class Noisy(Protocol):
    """A network that draws noise in training, or takes what was drawn outside."""

    def draw_gate_noise(self, degraded: Tensor) -> list[Tensor]: ...


class GraphedGradients:
    """Takes the place of `step.find_gradients`: same losses, same gradients.

    Recorded for one size of crops at a time. The gate noise is drawn outside, as the network would
    have drawn it, so the numbers of a step are those of its seed. The gradients lie in the graph's
    own memory, which each step overwrites; the optimizer runs outside, with its learning rate.
    """

    def __init__(self, record: Record = cuda_graph) -> None:
        self._record = record
        self._inputs: list[Tensor] = []
        self._gradients: list[tuple[nn.Parameter, Tensor]] = []
        self._losses: RestorationLoss | None = None
        self._replay: Callable[[], None] = lambda: None

    def __call__(self, model: nn.Module, crops: Crops, objective: Objective) -> RestorationLoss:
        noise = model.draw_gate_noise(crops.degraded) if isinstance(model, Noisy) else []
        inputs = [*crops, *noise]
        if [tensor.shape for tensor in inputs] != [tensor.shape for tensor in self._inputs]:
            self._begin(model, inputs, objective)
        for own, given in zip(self._inputs, inputs, strict=True):
            own.copy_(given)
        self._replay()
        for parameter, gradient in self._gradients:
            parameter.grad = gradient
        assert self._losses is not None
        return self._losses

    def _begin(self, model: nn.Module, inputs: list[Tensor], objective: Objective) -> None:
        beside = [] if objective.balancing is None else objective.balancing.parameters()
        parameters = [*model.parameters(), *beside]
        # The former graph and its memory go before the next one asks for as much.
        self._gradients, self._losses, self._replay = [], None, lambda: None
        self._inputs = [tensor.clone() for tensor in inputs]
        crops, noise = Crops(*self._inputs[:4]), self._inputs[4:]

        def run() -> RestorationLoss:
            for parameter in parameters:
                parameter.grad = None  # written, not added to
            return find_gradients(model, crops, objective, noise=noise)

        self._losses, self._replay = self._record(run)
        self._gradients = [(p, p.grad) for p in parameters if p.grad is not None]
