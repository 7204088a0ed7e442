"""What training minimises: the restoration error plus weighted losses beside it."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from amir.modality import Modality
from amir.models.layers import sum_over_workers
from amir.models.restored import Restored

TASKS = tuple(Modality)  # a task's number is its place here


class RestorationLoss(NamedTuple):
    """Scalars but for the last two; only `total` is meant for backward."""

    total: Tensor
    l1: Tensor
    balance: Tensor
    contrast: Tensor
    """Unweighted, as the others; zero without contrastive learning."""
    error_sums: Tensor
    """[tasks], absolute errors over the pixels that count, of all workers."""
    pixels: Tensor
    """[tasks], how many those are."""

    def by_task(self) -> Tensor:
        """[tasks], the mean absolute error of each; NaN for a task without a pixel."""
        return self.error_sums / self.pixels

    def with_contrast(self, contrast: Tensor, *, weight: float) -> RestorationLoss:
        """The same, with weight * contrast in the total."""
        return self._replace(total=self.total + weight * contrast, contrast=contrast)


class PixelErrors(NamedTuple):
    """Over all workers: absolute errors [tasks], and how many pixels count [tasks]."""

    sums: Tensor
    pixels: Tensor


class UncertaintyBalance(nn.Module):
    """Tasks weighted by how large their errors are: Kendall et al., "Multi-task learning using
    uncertainty to weigh losses", CVPR 2018.

    Each pixel's error is taken to follow a Laplace distribution whose scale b belongs to its task
    and is learnt: a pixel costs |error| / b + log b. It starts at b = 1, the plain L1 error.
    """

    def __init__(self) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(len(TASKS)))

    def forward(self, errors: PixelErrors) -> Tensor:
        """The cost summed over all pixels."""
        cost: Tensor = (
            errors.sums * torch.exp(-self.log_scale) + errors.pixels * self.log_scale
        ).sum()
        return cost


def restoration_loss(
    restored: Restored,
    target: Tensor,
    *,
    balance_weight: float,
    mask: Tensor | None = None,
    task: Tensor | None = None,
    balancing: UncertaintyBalance | None = None,
    pixels: Tensor | None = None,
) -> RestorationLoss:
    """Paper, Eq. 5: mean absolute error + balance_weight * the auxiliary loss.

    target: [B, 1, H, W] in 0..1. mask: bool [B, 1, H, W], true where a pixel counts; without a
    single true pixel the error is zero. task: int64 [B], each image's place in TASKS; None takes
    the first for all. pixels: what to divide by where these images are a part of a step, the pixels
    that count in all of it. Every training worker must call this: the mean is over the pixels of
    all of them.
    """
    errors = pixel_errors((restored.image - target).abs(), mask, task)
    count = errors.pixels.sum() if pixels is None else pixels
    l1 = errors.sums.sum() / count.clamp_min(1)
    cost = l1 if balancing is None else balancing(errors) / count.clamp_min(1)
    balance = restored.auxiliary_loss
    total = cost + balance_weight * balance
    return RestorationLoss(total, l1, balance, torch.zeros_like(l1), *errors)


def pixel_errors(error: Tensor, mask: Tensor | None, task: Tensor | None) -> PixelErrors:
    """Errors [B, 1, H, W] summed by task over the images of all workers."""
    counted = torch.ones_like(error, dtype=torch.bool) if mask is None else mask
    each = torch.where(counted, error, 0.0).flatten(1).sum(1)
    place = torch.zeros_like(each, dtype=torch.long) if task is None else task
    # Not F.one_hot, which looks at the numbers: a GPU would have to wait.
    belongs = (place[:, None] == torch.arange(len(TASKS), device=place.device)).to(each.dtype)
    # One product: an index_add would sum in another order each time on a GPU.
    sums = torch.stack([each, counted.flatten(1).sum(1).to(each.dtype)]) @ belongs
    # A mean per worker, averaged by DDP, would weigh the pixels of a worker with few valid ones
    # more.
    return PixelErrors(*sum_over_workers(sums))


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
