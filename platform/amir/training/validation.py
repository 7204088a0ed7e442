"""Whole validation slices through the restoration path, scored as the paper scores, shared among
the workers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
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


Scores = dict[Modality, TaskScore]


def validate(
    restorer: Restorer, pairs: Sequence[SlicePair], *, rank: int = 0, workers: int = 1
) -> Scores:
    """Mean scores per task over all pairs; each worker restores its share, every worker gets the
    result.

    A slice with a constant target has no finite score: it is left out, as in the tables.
    """
    restorer.model.eval()
    rows = [(p.modality, _score(restorer, p)) for p in pairs[rank::workers]]
    restorer.model.train()
    gathered = [rows]
    if workers > 1:
        gathered = [[] for _ in range(workers)]
        dist.all_gather_object(gathered, rows)
    everything = [row for part in gathered for row in part if np.isfinite(row[1]).all()]
    return {
        task: TaskScore(*np.mean(scores, axis=0).tolist())
        for task in Modality
        if (scores := [score for modality, score in everything if modality == task])
    }


def mean_gain(scores: Scores) -> float:
    """Mean over tasks of the PSNR gain: what decides which checkpoint is best."""
    return float(np.mean([score.gain for score in scores.values()])) if scores else math.nan


def flat_scores(scores: Scores) -> dict[str, float]:
    """validation/MRI/psnr ... as MLflow and metrics.jsonl spell them."""
    return {
        f"validation/{task}/{name}": value
        for task, score in scores.items()
        for name, value in score._asdict().items()
    }


def _score(restorer: Restorer, pair: SlicePair) -> TaskScore:
    restored = restorer.restore_slice(pair.degraded, pair.modality, scale=pair.scale)
    score, before = pair.score(restored), pair.score(pair.degraded)
    return TaskScore(score.psnr, score.ssim, score.rmse, score.psnr - before.psnr)
