"""One update: forward, backward, optimizer."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from amir.dataset.plan import mix
from amir.dataset.reader import Batch
from amir.inference.transfer import to_device
from amir.losses import TASKS, RestorationLoss, UncertaintyBalance, restoration_loss
from amir.models.layers import sum_over_workers
from amir.training.contrast import MomentumContrast, instruction_network, two_views

PLACES = {str(task): number for number, task in enumerate(TASKS)}


class Crops(NamedTuple):
    """degraded, target: float32 [B, 1, H, W] in 0..1; valid: bool, false where a small slice was
    padded; task: int64 [B], places in TASKS.
    """

    degraded: Tensor
    target: Tensor
    valid: Tensor
    task: Tensor

    def part(self, number: int, parts: int) -> Crops:
        """One of so many equal parts."""
        return Crops(*(tensor.chunk(parts)[number] for tensor in self))


@dataclass(frozen=True)
class Objective:
    """What a step minimises, and how.

    balance_weight: gamma of Eq. 5. contrast, balancing: what is learnt beside the network, if
    anything is. accumulate: parts of a worker's share that run one after another. clip_norm:
    longest gradient. skip_above: leave out a step with a larger L1 error, or whose gradient is no
    number.
    """

    balance_weight: float
    contrast: MomentumContrast | None = None
    balancing: UncertaintyBalance | None = None
    accumulate: int = 1
    clip_norm: float | None = None
    skip_above: float | None = None


Gradients = Callable[[nn.Module, Crops, Objective], RestorationLoss]


class Step(NamedTuple):
    """losses: detached, still on the device. taken: whether the weights moved."""

    losses: RestorationLoss
    taken: bool


def to_crops(batch: Batch, device: torch.device) -> Crops:
    """A batch of arrays as tensors on the worker's device."""
    images = (
        # Copies: what Ray hands out cannot be written to.
        torch.from_numpy(np.array(batch[name], order="C"))[:, None]
        for name in ("degraded", "target", "valid")
    )
    task = torch.tensor([PLACES[name] for name in batch["modality"]])
    return Crops(*(to_device(tensor, device) for tensor in (*images, task)))


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make what a step draws (gate noise, views to contrast) a function of the seed, the step and
    the worker: resuming needs no random state.
    """
    torch.manual_seed(int(mix(seed, np.array([step]), np.array([rank]))[0] >> np.uint64(1)))


def find_gradients(
    model: nn.Module, crops: Crops, objective: Objective, *, noise: Sequence[Tensor] = ()
) -> RestorationLoss:
    """Gradients of the whole share, and its losses, detached.

    noise: for the router's logits, per encoder level, of a share that is run in one part; else the
    network draws it.
    """
    parts = objective.accumulate
    pixels = None if parts == 1 else sum_over_workers(crops.valid.sum().to(crops.target.dtype))
    found = []
    for number in range(parts):
        with _synchronised(model, last=number == parts - 1):
            loss = _loss(model, crops.part(number, parts), objective, pixels, noise)
            loss.total.backward()  # type: ignore[no-untyped-call]
        found.append(RestorationLoss(*(value.detach() for value in loss)))
    return found[0] if parts == 1 else _joined(found)


def _synchronised(model: nn.Module, *, last: bool) -> AbstractContextManager[None]:
    """Workers exchange their gradients once a step, in its last part."""
    if last or not isinstance(model, DistributedDataParallel):
        return nullcontext()
    return model.no_sync()


def _loss(
    model: nn.Module,
    crops: Crops,
    objective: Objective,
    pixels: Tensor | None,
    noise: Sequence[Tensor],
) -> RestorationLoss:
    """The loss of a part of a step, such that those of all parts add up to the step's."""
    loss = restoration_loss(
        model(crops.degraded, **({"gate_noise": noise} if noise else {})),
        crops.target,
        balance_weight=objective.balance_weight / objective.accumulate,
        mask=crops.valid,
        task=crops.task,
        balancing=objective.balancing,
        pixels=pixels,
    )
    if objective.contrast is None:
        return loss
    views = two_views(crops.degraded)
    beside = objective.contrast.loss(instruction_network(model), *views)
    return loss.with_contrast(beside, weight=objective.contrast.weight / objective.accumulate)


def _joined(parts: Sequence[RestorationLoss]) -> RestorationLoss:
    """The losses of a step from those of its parts."""
    summed = RestorationLoss(*(torch.stack(values).sum(0) for values in zip(*parts, strict=True)))
    return summed._replace(
        balance=summed.balance / len(parts), contrast=summed.contrast / len(parts)
    )


def train_step(
    model: nn.Module,
    crops: Crops,
    optimizers: Sequence[Optimizer],
    objective: Objective,
    *,
    gradients: Gradients = find_gradients,
) -> Step:
    """Update the model once. gradients: what takes the place of `find_gradients`."""
    for optimizer in optimizers:
        optimizer.zero_grad(set_to_none=True)
    losses = gradients(model, crops, objective)
    length = _clip(model, objective)
    taken = (
        length is None
        or objective.skip_above is None
        or bool((length.isfinite() & (losses.l1 <= objective.skip_above)).item())
    )  # the same on every worker: all hold the same loss and the same gradient
    if taken:
        for optimizer in optimizers:
            optimizer.step()
    return Step(losses, taken)


def _clip(model: nn.Module, objective: Objective) -> Tensor | None:
    """The gradient's length over all parameters, where anybody asks for it."""
    if objective.clip_norm is None and objective.skip_above is None:
        return None
    longest = math.inf if objective.clip_norm is None else objective.clip_norm
    return nn.utils.clip_grad_norm_(model.parameters(), longest)
