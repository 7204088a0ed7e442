"""What a network's arithmetic may cost: bfloat16 where rounding does little, memory or time."""

from __future__ import annotations

import torch
from torch import nn

from amir.config import Precision
from amir.models.layers import GDFN, MDTA, TransformerBlock


def choose_precision(network: nn.Module, precision: Precision) -> None:
    """float32, or bfloat16 for the products and convolutions of the transformer blocks.

    The weights stay float32, and so do what the blocks add to, statistics of norms, sums over
    pixels, softmax, and all of the routing: rounded there, gradients err twice as much.
    """
    chosen = torch.bfloat16 if precision == "bfloat16" else None
    for module in network.modules():
        if isinstance(module, MDTA | GDFN):
            module.precision = chosen


def choose_recomputation(network: nn.Module, recompute: bool) -> None:
    """Whether blocks keep only their input for the gradient: a quarter of the memory."""
    for module in network.modules():
        if isinstance(module, TransformerBlock):
            module.recompute = recompute
