"""torch.compile for the blocks of a network, where nearly all of its time goes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from torch import nn

from amir.models.layers import TransformerBlock
from amir.models.routing import SpatialRouting

MOST_VARIANTS = 256  # kinds of blocks, times sizes of images and of batches


def compiled_twin(
    network: nn.Module, *, backend: str | Callable[..., Any] = "inductor"
) -> nn.Module:
    """A network with the same weights, the very tensors, and compiled blocks; the given one stays
    as it is.

    Blocks of the same width and number of heads share what is compiled, once for each size of
    images and of batches: of an AMIR there are five kinds. Of what stands between the blocks, how
    the experts' answers are combined is compiled too, no more. Hooks of the given network are the
    twin's, those added later are not.
    """
    import torch._dynamo  # takes a second, and few need it

    config: Any = torch._dynamo.config
    config.recompile_limit = max(MOST_VARIANTS, config.recompile_limit)
    config.accumulated_recompile_limit = max(MOST_VARIANTS, config.accumulated_recompile_limit)
    shared: dict[int, Any] = {id(t): t for t in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared)
    for module in twin.modules():
        if isinstance(module, TransformerBlock):
            # Not the module: what recomputes a block stands outside of it.
            module.compute = torch.compile(  # type: ignore[method-assign]
                module.compute, fullgraph=True, dynamic=False, backend=backend
            )
        elif isinstance(module, SpatialRouting):
            module.combine = torch.compile(  # type: ignore[method-assign]
                module.combine, fullgraph=True, dynamic=False, backend=backend
            )
    return twin
