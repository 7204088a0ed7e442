"""The optimizers, and the learning rate as a function of the step."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from torch.nn import Parameter
from torch.optim import Optimizer

from amir.config import OptimizerSettings

EPSILON = 1e-8
NOT_MATRICES = ("dictionary", "to_logits", "to_noise")  # tables and routers, by their last names


def build_optimizers(
    model: nn.Module, settings: OptimizerSettings, *, beside: Iterable[Parameter] = ()
) -> list[Optimizer]:
    """What updates the model's parameters and those beside it; each is in exactly one of them.

    Adam as published is fused, which changes the speed and not the update.
    """
    everything = [*model.parameters(), *beside]
    if settings.name == "adam":
        return [_adam(everything, settings)]
    if settings.name == "adamw":
        return [_adamw(everything, settings)]
    matrices = [p for name, p in model.named_parameters() if is_matrix(name, p)]
    among = {id(p) for p in matrices}
    rest = [p for p in everything if id(p) not in among]
    # Updates as long as Adam's: one learning rate fits both (Liu et al., "Muon is scalable", 2025).
    muon = torch.optim.Muon(
        matrices,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        adjust_lr_fn="match_rms_adamw",
    )
    return [muon, _adamw(rest, settings)]


def is_matrix(name: str, parameter: Parameter) -> bool:
    """Whether a parameter maps features to features, which Muon's orthogonal updates are for.

    3 x 3 kernels, tables that are looked up and the routers are left to Adam.
    """
    parts = name.split(".")
    return parameter.ndim == 2 and not any(part in NOT_MATRICES for part in parts)


def _adam(parameters: list[Parameter], settings: OptimizerSettings) -> Optimizer:
    return torch.optim.Adam(
        parameters, lr=settings.learning_rate, betas=settings.betas, eps=EPSILON, fused=True
    )


def _adamw(parameters: list[Parameter], settings: OptimizerSettings) -> Optimizer:
    """Weights decay; biases, norms and temperatures, one number for each channel, do not."""
    groups: list[dict[str, Any]] = [
        {"params": [p for p in parameters if not _is_vector(p)]},
        {"params": [p for p in parameters if _is_vector(p)], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(
        groups,
        lr=settings.learning_rate,
        betas=settings.betas,
        eps=EPSILON,
        weight_decay=settings.weight_decay,
        fused=True,
    )


def _is_vector(parameter: Parameter) -> bool:
    return parameter.numel() == max(parameter.shape, default=1)


def set_learning_rate(optimizers: Iterable[Optimizer], rate: float) -> None:
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


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
