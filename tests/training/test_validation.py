"""Validation scores what is shipped, as the paper scores."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from amir.dataset.slices import SlicePair
from amir.inference.restorer import Restorer
from amir.modality import Modality
from amir.models.registry import build_model
from amir.models.restored import Restored
from amir.training.validation import TaskScore, flat_scores, mean_gain, validate


class Unchanged(nn.Module):
    """Hands its input back."""

    def forward(self, degraded: torch.Tensor) -> Restored:
        return Restored(degraded, degraded.new_zeros(()))


def test_handing_the_input_back_gains_nothing(validation_pairs: list[SlicePair]) -> None:
    scores = validate(Restorer(Unchanged()), validation_pairs)
    assert list(scores) == list(Modality)
    for task, score in scores.items():
        before = [p.score(p.degraded).psnr for p in validation_pairs if p.modality == task]
        assert score.psnr == pytest.approx(np.mean(before), abs=1e-3)
        assert score.gain == pytest.approx(0, abs=1e-3)


def test_scores_are_those_of_the_restorer_and_the_model_trains_on(
    validation_pairs: list[SlicePair], tiny_network: dict[str, Any]
) -> None:
    torch.manual_seed(0)
    restorer = Restorer(build_model("amir", **tiny_network).train())
    found = validate(restorer, validation_pairs)
    assert restorer.model.training

    restorer.model.eval()
    pairs = [p for p in validation_pairs if p.modality is Modality.MRI]
    scores = [p.score(restorer.restore_slice(p.degraded, p.modality, scale=p.scale)) for p in pairs]
    assert found[Modality.MRI][:3] == pytest.approx(np.mean(scores, axis=0))


def test_a_constant_target_is_left_out(validation_pairs: list[SlicePair]) -> None:
    constant = replace(validation_pairs[0], target=np.zeros_like(validation_pairs[0].target))
    restorer = Restorer(Unchanged())
    assert validate(restorer, [*validation_pairs, constant]) == validate(restorer, validation_pairs)
    assert validate(restorer, [constant]) == {}


def test_every_task_counts_alike_in_the_mean_gain() -> None:
    scores = {
        Modality.MRI: TaskScore(30, 0.9, 10, 1.0),
        Modality.PET: TaskScore(40, 0.9, 0.1, 4.0),
    }
    assert mean_gain(scores) == 2.5
    assert math.isnan(mean_gain({}))


def test_scores_are_spelt_as_in_mlflow() -> None:
    flat = flat_scores({Modality.CT: TaskScore(30, 0.9, 10, 1.0)})
    assert flat == {
        "validation/CT/psnr": 30,
        "validation/CT/ssim": 0.9,
        "validation/CT/rmse": 10,
        "validation/CT/gain": 1.0,
    }
