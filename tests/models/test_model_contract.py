"""What every network of the registry promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from amir.errors import InputError
from amir.models.registry import MODELS, build_model, model_settings
from amir.models.restored import Restored

# Smallest settings that leave nothing of a network out.
TINY: dict[str, dict[str, Any]] = {
    "amir": {"dim": 4, "blocks": [1, 1, 1, 1], "refinement_blocks": 1, "heads": [1, 2, 2, 2]},
}


@pytest.fixture(params=sorted(MODELS))
def name(request: pytest.FixtureRequest) -> str:
    torch.manual_seed(0)
    return str(request.param)


@pytest.mark.parametrize("size", [(16, 16), (24, 40), (56, 16)], ids=str)
@pytest.mark.parametrize("batch", [1, 3])
def test_the_restored_image_has_the_shape_of_the_degraded(
    name: str, size: tuple[int, int], batch: int
) -> None:
    network = build_model(name, **TINY[name])
    for training in (True, False):
        restored = network.train(training)(torch.rand(batch, 1, *size))
        assert isinstance(restored, Restored)
        assert restored.image.shape == (batch, 1, *size)
        assert restored.image.dtype == torch.float32
        assert restored.auxiliary_loss.shape == ()


def test_gradients_reach_every_parameter(name: str) -> None:
    network = build_model(name, **TINY[name]).train()
    restored = network(torch.rand(2, 1, 24, 16))
    (restored.image.square().mean() + restored.auxiliary_loss).backward()
    for key, parameter in network.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, key
            assert torch.isfinite(parameter.grad).all(), key


def test_weights_survive_a_file(name: str, tmp_path: Path) -> None:
    first, second = (build_model(name, **TINY[name]).eval() for _ in range(2))
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    second.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    degraded = torch.rand(1, 1, 16, 24)
    with torch.no_grad():
        assert torch.equal(first(degraded).image, second(degraded).image)


def test_evaluation_repeats_itself_and_leaves_the_input_alone(name: str) -> None:
    network = build_model(name, **TINY[name]).eval()
    degraded = torch.rand(1, 1, 16, 16)
    before = degraded.clone()
    with torch.no_grad():
        assert torch.equal(network(degraded).image, network(degraded).image)
    assert torch.equal(degraded, before)


def test_every_setting_has_a_default(name: str) -> None:
    build_settings = model_settings(name)
    assert set(TINY[name]) <= set(build_settings)
    assert all(isinstance(default, int | str | tuple) for default in build_settings.values())


def test_an_unknown_setting_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(InputError, match=f"depth.*{next(iter(model_settings(name)))}") as refusal:
        build_model(name, depth=3)
    assert refusal.value.code == "invalid_setting"


def test_an_unknown_network_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"'unet'.*amir") as refusal:
        build_model("unet")
    assert refusal.value.code == "invalid_setting"
