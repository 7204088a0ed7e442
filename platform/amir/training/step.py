"""One update: forward, backward, optimizer."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from amir.dataset.plan import mix
from amir.dataset.reader import Batch
from amir.losses import RestorationLoss, restoration_loss
from amir.training.contrast import MomentumContrast, instruction_network, two_views


class Crops(NamedTuple):
    """degraded, target: float32 [B, 1, H, W] in 0..1; valid: bool, false where a small slice was
    padded.
    """

    degraded: Tensor
    target: Tensor
    valid: Tensor


def to_crops(batch: Batch, device: torch.device) -> Crops:
    """A batch of arrays as tensors on the worker's device."""
    return Crops(
        *(
            torch.as_tensor(np.ascontiguousarray(batch[name]))[:, None].to(
                device, non_blocking=True
            )
            for name in Crops._fields
        )
    )


def seed_step(seed: int, step: int, rank: int) -> None:
    """Make what a step draws (gate noise, views to contrast) a function of the seed, the step and
    the worker: resuming needs no random state.
    """
    torch.manual_seed(int(mix(seed, np.array([step]), np.array([rank]))[0] >> np.uint64(1)))


def train_step(
    model: nn.Module,
    crops: Crops,
    optimizer: torch.optim.Optimizer,
    *,
    balance_weight: float,
    contrast: MomentumContrast | None = None,
) -> RestorationLoss:
    """Update the model once; the losses come back detached, still on the device."""
    optimizer.zero_grad(set_to_none=True)
    restored = model(crops.degraded)
    loss = restoration_loss(restored, crops.target, balance_weight=balance_weight, mask=crops.valid)
    if contrast is not None:
        beside = contrast.loss(instruction_network(model), *two_views(crops.degraded))
        loss = loss.with_contrast(beside, weight=contrast.weight)
    loss.total.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return RestorationLoss(*(value.detach() for value in loss))
