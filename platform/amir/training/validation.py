"""Whole validation slices through the restoration path, scored as the paper scores, shared among
the workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.distributed as dist

from amir.dataset.slices import SlicePair
from amir.inference.restorer import Restorer
from amir.modality import Modality


class TaskScore(NamedTuple):
    """Means over the slices of one task. gain: PSNR above the degraded slice's, dB."""

    psnr: float
    ssim: float
    rmse: float
    gain: float


def validate(
    restorer: Restorer, pairs: Sequence[SlicePair], *, rank: int = 0, workers: int = 1
) -> dict[Modality, TaskScore]:
    """Mean scores per task over all pairs; each worker restores its share, every worker gets the
    result.

    A slice with a constant target has no finite score: it is left out, as the paper's tables do.
    """
    restorer.model.eval()
    rows = [(p.modality, *_row(restorer, p)) for p in pairs[rank::workers]]
    restorer.model.train()
    gathered = [rows]
    if workers > 1:
        gathered = [[] for _ in range(workers)]
        dist.all_gather_object(gathered, rows)
    everything = [row for part in gathered for row in part]
    return {
        task: TaskScore(*np.mean(scores, axis=0).tolist())
        for task in Modality
        if (scores := _finite([row[1:] for row in everything if row[0] == task]))
    }


def mean_gain(scores: dict[Modality, TaskScore]) -> float:
    """Mean over tasks of the PSNR gain: what decides which checkpoint is best."""
    return float(np.mean([score.gain for score in scores.values()])) if scores else math.nan


@torch.inference_mode()
def _row(restorer: Restorer, pair: SlicePair) -> tuple[float, ...]:
    restored = restorer.restore_slices(pair.degraded[None], pair.modality, scale=pair.scale)[0]
    score, before = pair.score(restored), pair.score(pair.degraded)
    return (score.psnr, score.ssim, score.rmse, score.psnr - before.psnr)


def _finite(rows: list[tuple[float, ...]]) -> list[tuple[float, ...]]:
    return [row for row in rows if np.isfinite(row).all()]
