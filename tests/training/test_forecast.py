"""What a dry run tells is what the network and the settings say."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from amir.dataset.manifest import read_manifest
from amir.training.forecast import forecast, measure
from amir.training.initial import initial_model
from amir.training.state import training_state


def told(settings: Any) -> dict[str, list[str]]:
    lines: dict[str, list[str]] = {}
    for line in forecast(settings, read_manifest(settings.data.path)):
        lines.setdefault(line.split()[0], []).append(line)
    return lines


def test_a_forecast_counts_parameters_steps_and_slices(
    train_settings: Callable[..., Any],
) -> None:
    settings = train_settings(steps=100, **{"checkpoints.every": 30, "validation.every": 30})
    lines = told(settings)
    parameters = sum(p.numel() for p in initial_model(settings).parameters())
    assert f"{parameters:,} parameters" in lines["network"][0]
    assert "100 with 6 crops over 1 workers, 3 checkpoints, 4 validations" in lines["steps"][0]
    slices = read_manifest(settings.data.path).slices("train")
    assert f"{600 / slices:.1f} times each" in lines["data"][0]
    assert "MiB a worker" in lines["memory"][0]
    assert "this machine's CPU" in lines["time"][0]


def test_late_crops_are_told_apart(train_settings: Callable[..., Any]) -> None:
    lines = told(train_settings(**{"data.late_crop": 32, "data.late_crop_from": 4}))
    assert ["crop of 16" in lines["operations"][0], "crop of 32" in lines["operations"][1]] == [
        True,
        True,
    ]


def test_operations_and_activations_grow_with_the_pixels(
    train_settings: Callable[..., Any],
) -> None:
    settings = train_settings(**{"model.gate_noise": False})
    model = initial_model(settings)
    state = training_state(settings, model, model)
    small, large = (measure(state, crop, 1, torch.device("cpu")) for crop in (32, 64))
    assert 3.5 < large.operations / small.operations < 4.5
    assert 3 < large.activations / small.activations < 4.5
