"""What training minimises: the restoration error plus weighted losses beside it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from amir.models.layers import sum_over_workers
from amir.models.restored import Restored


class RestorationLoss(NamedTuple):
    """Scalars; only `total` is meant for backward."""

    total: Tensor
    l1: Tensor
    balance: Tensor
    contrast: Tensor
    """Unweighted, as the others; zero without contrastive learning."""

    def with_contrast(self, contrast: Tensor, *, weight: float) -> RestorationLoss:
        """The same, with weight * contrast in the total."""
        return self._replace(total=self.total + weight * contrast, contrast=contrast)


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
    return RestorationLoss(l1 + balance_weight * balance, l1, balance, torch.zeros_like(l1))


def contrastive_loss(
    queries: Tensor, keys: Tensor, others: Tensor, *, temperature: float
) -> Tensor:
    """InfoNCE, He et al. 2020, Eq. 1: cross entropy of finding each query's own key among others.

    queries: [B, D], of any length, each with its own key: [B, D]. others: [N, D]. Keys and others
    have length 1.
    """
    queries = F.normalize(queries, dim=1)
    own = (queries * keys).sum(dim=1, keepdim=True)
    logits = torch.cat([own, queries @ others.T], dim=1) / temperature
    return F.cross_entropy(logits, torch.zeros(len(queries), dtype=torch.long, device=keys.device))


def _mean_where(error: Tensor, mask: Tensor) -> Tensor:
    # A mean per worker, averaged by DDP, would weigh the pixels of a worker with few valid ones
    # more.
    total, valid = sum_over_workers(torch.stack([torch.where(mask, error, 0.0).sum(), mask.sum()]))
    mean: Tensor = total / valid.clamp_min(1)
    return mean
