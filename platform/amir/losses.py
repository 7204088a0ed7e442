"""What training minimises: the restoration error plus the network's own weighted loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

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
    single true pixel the error is zero.
    """
    l1 = _mean_where((restored.image - target).abs(), mask)
    balance = restored.auxiliary_loss
    return RestorationLoss(l1 + balance_weight * balance, l1, balance)


def _mean_where(error: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return error.mean()
    return torch.where(mask, error, 0.0).sum() / mask.sum().clamp_min(1)
