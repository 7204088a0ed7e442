"""What training minimises: the restoration error plus the network's own weighted loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from amir.models.layers import sum_over_workers
from amir.models.restored import Restored


class RestorationLoss(NamedTuple):
    """Scalars; only `total` is meant for backward."""

    total: Tensor
    l1: Tensor
    balance: Tensor


def restoration_loss(
    restored: Restored, target: Tensor, *, balance_weight: float, mask: Tensor | None = None
) -> RestorationLoss:
    """Paper, Eq. 5: mean absolute error + balance_weight * the auxiliary loss.

    target: [B, 1, H, W] in 0..1. mask: bool [B, 1, H, W], true where a pixel counts; without a
    single true pixel the error is zero. With a mask every training worker must call this: the mean
    is over the valid pixels of all of them.
    """
    error = (restored.image - target).abs()
    l1 = error.mean() if mask is None else _mean_where(error, mask)
    balance = restored.auxiliary_loss
    return RestorationLoss(l1 + balance_weight * balance, l1, balance)


def _mean_where(error: Tensor, mask: Tensor) -> Tensor:
    # A mean per worker, averaged by DDP, would weigh the pixels of a worker with few valid ones
    # more.
    total, valid = sum_over_workers(torch.stack([torch.where(mask, error, 0.0).sum(), mask.sum()]))
    mean: Tensor = total / valid.clamp_min(1)
    return mean
