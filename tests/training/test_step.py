"""One update: what moves, what does not count, what is random."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from amir.models.registry import build_model
from amir.training.step import Crops, Objective, seed_step, to_crops, train_step


@pytest.fixture
def model(tiny_network: dict[str, Any]) -> torch.nn.Module:
    torch.manual_seed(0)
    return build_model("amir", **tiny_network).train()


@pytest.fixture
def crops() -> Crops:
    generator = torch.Generator().manual_seed(1)
    degraded, target = torch.rand((2, 2, 1, 16, 16), generator=generator)
    valid = torch.ones(2, 1, 16, 16, dtype=torch.bool)
    return Crops(degraded, target, valid, torch.tensor([0, 1]))


def update(model: torch.nn.Module, crops: Crops, *, seed: int = 0) -> Any:
    seed_step(seed, 0, 0)
    return train_step(
        model, crops, [torch.optim.SGD(model.parameters(), lr=0.1)], Objective(0.01)
    ).losses


def weights(model: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten().clone() for parameter in model.parameters()])


def test_a_batch_becomes_tensors_with_a_channel() -> None:
    plane = np.zeros((3, 8, 8), np.float32)
    crops = to_crops(
        {
            "degraded": plane[:, ::-1],
            "target": plane + 1,
            "valid": plane == 0,
            "step": plane[:, 0],
            "modality": np.array(["PET", "MRI", "CT"]),
        },
        torch.device("cpu"),
    )
    *images, task = crops
    assert {image.shape for image in images} == {(3, 1, 8, 8)}
    assert [image.dtype for image in images] == [torch.float32, torch.float32, torch.bool]
    assert task.tolist() == [2, 0, 1]


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
        train_step(model, crops, [still], Objective(0.01))
    second = next(model.parameters()).grad.clone()
    seed_step(0, 1, 0)
    train_step(model, crops, [still], Objective(0.01))
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
    assert update(model, crops._replace(target=altered)).total == losses.total
    assert torch.equal(weights(model), learnt)


def test_parts_one_after_another_make_the_update_of_the_whole_batch(
    tiny_network: dict[str, Any],
) -> None:
    generator = torch.Generator().manual_seed(1)
    shape = (2, 4, 1, 16, 16)
    degraded, target = torch.rand(shape, generator=generator, dtype=torch.float64)
    valid = torch.ones(4, 1, 16, 16, dtype=torch.bool)
    valid[0, :, 3:] = False  # parts with unequally many pixels that count
    crops = Crops(degraded, target, valid, torch.tensor([0, 1, 2, 2]))
    found = []
    for parts in (1, 2, 4):
        torch.manual_seed(0)
        model = build_model("amir", **tiny_network | {"gate_noise": False}).double().train()
        still = torch.optim.SGD(model.parameters(), lr=0.0)
        losses = train_step(model, crops, [still], Objective(0.0, accumulate=parts)).losses
        gradient = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
        found.append((losses.l1, losses.by_task(), gradient))
    for parts in found[1:]:
        torch.testing.assert_close(parts, found[0], rtol=1e-9, atol=1e-14)


def test_a_long_gradient_is_scaled_down_to_the_length_that_is_set(
    model: torch.nn.Module, crops: Crops
) -> None:
    before = weights(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    train_step(model, crops, [optimizer], Objective(0.01, clip_norm=1e-3))
    assert (weights(model) - before).norm().item() == pytest.approx(1e-3, rel=1e-3)


@pytest.mark.parametrize("spoilt", [float("nan"), float("inf"), 1e6])
def test_a_step_with_a_spoilt_target_is_left_out_where_that_is_wanted(
    model: torch.nn.Module, crops: Crops, spoilt: float
) -> None:
    before = weights(model)
    crops.target[0, 0, 0, 0] = spoilt
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    assert not train_step(model, crops, [optimizer], Objective(0.01, skip_above=10.0)).taken
    assert torch.equal(weights(model), before)


def test_the_noise_of_a_step_is_drawn_from_seed_step_and_worker() -> None:
    def draw(seed: int, step: int, rank: int) -> float:
        seed_step(seed, step, rank)
        return torch.randn(1).item()

    places = [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0), (0, 200_000, 7)]
    drawn = [draw(*place) for place in places]
    assert len(set(drawn)) == len(places)
    assert [draw(*place) for place in reversed(places)] == drawn[::-1]
