"""A moving average of the weights: smoother than the last ones, it is what is kept."""

from __future__ import annotations

import copy

import torch
from torch import nn


class WeightAverage:
    """model: the averaged network, of the same class as the trained one.

    decay: how much of itself the average keeps in a step; less in the first ones, (1 + n) / (10 +
    n) at step n, so that it soon forgets the random weights it began with.
    """

    def __init__(self, trained: nn.Module, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(trained).requires_grad_(False)

    @torch.no_grad()
    def follow(self, trained: nn.Module, step: int) -> None:
        """Take in the weights after update `step`, counted from 1."""
        kept = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(list(self.model.parameters()), list(trained.parameters()), 1 - kept)
        for mine, theirs in zip(self.model.buffers(), trained.buffers(), strict=True):
            mine.copy_(theirs)
