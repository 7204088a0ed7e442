"""What a run starts from."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from amir import checkpoint
from amir.errors import InputError
from amir.modality import MODELLING_RANGES, IntensityRange, Modality
from amir.training.initial import initial_model


def test_a_run_starts_from_the_weights_of_another_model(
    train_settings: Callable[..., Any], save_checkpoint: Callable[..., Any], tmp_path: Path
) -> None:
    saved = save_checkpoint(tmp_path / "1", seed=5)
    weights = initial_model(train_settings(init_from=str(saved.folder))).state_dict()
    assert all(torch.equal(weights[name], tensor) for name, tensor in saved.weights().items())


def test_a_model_of_other_ranges_is_refused_by_name(
    train_settings: Callable[..., Any],
    save_checkpoint: Callable[..., Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    others = {**MODELLING_RANGES, Modality.CT: IntensityRange(-1024, 3072, "HU")}
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint, "MODELLING_RANGES", others)
        folder = save_checkpoint(tmp_path / "1").folder
    with pytest.raises(InputError, match=r"CT ranges \[-1024, 3072, 'HU'\].*do not transfer"):
        initial_model(train_settings(init_from=str(folder)))
