"""One update: what moves, what does not count, what is random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from amir.models.registry import build_model
from amir.training.step import Crops, seed_step, to_crops, train_step


@pytest.fixture
def model(tiny_network: dict[str, Any]) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model("amir", **tiny_network).train()


@pytest.fixture
def crops() -> Crops:
    generator = torch.Generator().manual_seed(1)
    degraded, target = torch.rand((2, 2, 1, 16, 16), generator=generator)
    return Crops(degraded, target, torch.ones(2, 1, 16, 16, dtype=torch.bool))


def update(model: torch.nn.Module, crops: Crops, *, seed: int = 0) -> Any:
    seed_step(seed, 0, 0)
    return train_step(
        model, crops, torch.optim.SGD(model.parameters(), lr=0.1), balance_weight=0.01
    )


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def test_a_batch_becomes_tensors_with_a_channel() -> None:
    plane = np.zeros((3, 8, 8), np.float32)
    crops = to_crops(
        {"degraded": plane[:, ::-1], "target": plane + 1, "valid": plane == 0, "step": plane[:, 0]},
        torch.device("cpu"),
    )
    assert {image.shape for image in crops} == {(3, 1, 8, 8)}
    assert [image.dtype for image in crops] == [torch.float32, torch.float32, torch.bool]


def test_an_update_moves_the_weights_and_hands_back_plain_losses(
    model: torch.nn.Module, crops: Crops
) -> None:
    before = weights(model)
    losses = update(model, crops)
    assert not torch.equal(weights(model), before)
    assert not any(loss.requires_grad for loss in losses)
    torch.testing.assert_close(losses.total, losses.l1 + 0.01 * losses.balance)


def test_gradients_of_the_step_before_are_forgotten(model: torch.nn.Module, crops: Crops) -> None:
    update(model, crops)
    first = next(model.parameters()).grad.clone()
    still = torch.optim.SGD(model.parameters(), lr=0.0)
    for _ in range(2):
        seed_step(0, 1, 0)
        train_step(model, crops, still, balance_weight=0.01)
    second = next(model.parameters()).grad.clone()
    seed_step(0, 1, 0)
    train_step(model, crops, still, balance_weight=0.01)
    torch.testing.assert_close(next(model.parameters()).grad, second)
    assert not torch.equal(first, second)


def test_what_was_padded_does_not_teach(model: torch.nn.Module, crops: Crops) -> None:
    crops.valid[..., 12:] = False
    altered = crops.target.clone()
    altered[..., 12:] = 9.0
    initial = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    losses = update(model, crops)
    learnt = weights(model)
    model.load_state_dict(initial)
    assert update(model, crops._replace(target=altered)) == losses
    assert torch.equal(weights(model), learnt)


def test_the_noise_of_a_step_is_drawn_from_seed_step_and_worker() -> None:
    def draw(seed: int, step: int, rank: int) -> float:
        seed_step(seed, step, rank)
        return torch.randn(1).item()

    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 200_000, 7)]
    drawn = [draw(*place) for place in places]
    assert len(set(drawn)) == len(places)
    assert [draw(*place) for place in reversed(places)] == drawn[::-1]
