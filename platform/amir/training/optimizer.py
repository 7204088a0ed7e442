"""The optimizer, and the learning rate as a function of the step."""

from __future__ import annotations

import math

import torch
from torch import nn

from amir.config import OptimizerSettings


def build_optimizer(model: nn.Module, settings: OptimizerSettings) -> torch.optim.Adam:
    """Adam as published; fused where torch has it, which changes the speed and not the update."""
    return torch.optim.Adam(
        model.parameters(), lr=settings.learning_rate, betas=settings.betas, eps=1e-8, fused=True
    )


def learning_rate(step: int, steps: int, settings: OptimizerSettings) -> float:
    """The rate of update `step` (from 0): linear warm-up, then a cosine from the peak to the final
    rate.

    Without warm-up this is the published CosineAnnealingLR(T_max=steps,
    eta_min=final_learning_rate), as a closed form.
    """
    peak, final, warmup = (
        settings.learning_rate,
        settings.final_learning_rate,
        settings.warmup_steps,
    )
    if step < warmup:
        return peak * (step + 1) / warmup
    progress = min(1.0, (step - warmup) / max(1, steps - warmup))
    return final + (peak - final) * 0.5 * (1 + math.cos(math.pi * progress))
