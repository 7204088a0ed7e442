"""A stand-in for a CUDA graph: what it recorded runs again, into the memory of the first answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves


def record(
    function: Callable[[], Any], *, also: Callable[[], list[Tensor]] = lambda: []
) -> tuple[Any, Callable[[], None]]:
    """also: tensors beside the answer that belong to the graph, such as gradients."""
    answer = function()
    memory = [*(leaf for leaf in tree_leaves(answer) if isinstance(leaf, Tensor)), *also()]

    def replay() -> None:
        again = [leaf for leaf in tree_leaves(function()) if isinstance(leaf, Tensor)]
        with torch.no_grad():
            for mine, new in zip(memory, [*again, *also()], strict=True):
                mine.copy_(new)

    return answer, replay
