"""CUDA graphs: all launches of a function recorded once, and repeated as one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

import torch
from torch import Tensor

Outputs = TypeVar("Outputs")
WARM_UPS = 3  # of libraries that set something up when first used, and of compiled code


class Record(Protocol):
    """Runs a function; what it answered, and how to run it again into the same memory."""

    def __call__(self, function: Callable[[], Any]) -> tuple[Any, Callable[[], None]]: ...


def cuda_graph(function: Callable[[], Outputs]) -> tuple[Outputs, Callable[[], None]]:
    """On the current GPU. The function reads the same memory each time and waits for nothing."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(WARM_UPS):
            function()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    # Other threads, the feed's among them, may go on as ever meanwhile.
    with torch.cuda.graph(graph, capture_error_mode="thread_local"):
        outputs = function()
    return outputs, graph.replay


class _Recorded(NamedTuple):
    inputs: list[Tensor]
    outputs: Any
    replay: Callable[[], None]


class GraphByShape(Generic[Outputs]):
    """A function of tensors, recorded once for each shape of them.

    What it answers is overwritten by the next call with the same shapes.
    """

    def __init__(self, function: Callable[..., Outputs], *, record: Record = cuda_graph) -> None:
        self._function, self._make = function, record
        self._recorded: dict[tuple[tuple[torch.Size, torch.dtype], ...], _Recorded] = {}

    def __call__(self, *inputs: Tensor) -> Outputs:
        kind = tuple((tensor.shape, tensor.dtype) for tensor in inputs)
        if kind not in self._recorded:
            own = [tensor.clone() for tensor in inputs]
            outputs, replay = self._make(lambda: self._function(*own))
            self._recorded[kind] = _Recorded(own, outputs, replay)
        recorded = self._recorded[kind]
        for mine, given in zip(recorded.inputs, inputs, strict=True):
            mine.copy_(given)
        recorded.replay()
        answer: Outputs = recorded.outputs
        return answer
