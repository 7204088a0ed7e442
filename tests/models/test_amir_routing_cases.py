"""Routing in its corners: any N, M and K, idle experts, mixed batches, extreme outputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from amir.errors import InputError
from amir.models.amir import AMIR
from amir.models.routing import Experts, log_space_sum, squared_variation

SMALL: dict[str, Any] = {
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 1,
    "heads": (1,) * 4,
}


def small(**settings: Any) -> AMIR:
    torch.manual_seed(0)
    return AMIR(**SMALL | settings)


@pytest.mark.parametrize("routing", ["published", "paper"])
@pytest.mark.parametrize(
    ("instructions", "experts", "top_k"), [(1, 1, 1), (3, 2, 1), (16, 3, 3), (7, 6, 4)]
)
def test_any_number_of_instructions_and_experts_trains(
    routing: str, instructions: int, experts: int, top_k: int
) -> None:
    network = small(instructions=instructions, experts=experts, top_k=top_k, routing=routing)
    degraded = torch.rand(2, 1, 16, 24)
    trained = network.train()(degraded)
    (trained.image.mean() + trained.auxiliary_loss).backward()
    evaluated = network.eval()(degraded)

    assert torch.isfinite(trained.image).all()
    assert evaluated.auxiliary_loss.shape == trained.auxiliary_loss.shape == ()
    assert (trained.auxiliary_loss.item() == 0) == (experts == 1)
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name


@pytest.mark.parametrize(("dim", "heads"), [(2, (1, 1, 1, 1)), (10, (5, 2, 4, 1))])
def test_any_even_width_works(dim: int, heads: tuple[int, ...]) -> None:
    assert small(dim=dim, heads=heads)(torch.rand(1, 1, 16, 16)).image.shape == (1, 1, 16, 16)


@pytest.mark.parametrize("routing", ["published", "paper"])
def test_an_expert_that_no_pixel_chooses_gets_a_zero_gradient(routing: str) -> None:
    network = small(routing=routing, gate_noise=False).train()
    route = network.encoder_routing[0]
    with torch.no_grad():
        route.router.to_logits.zero_()
        # The router sees [x, instruction]; constant 1 in the instruction sets the logits' order.
        route.describe.weight.zero_()
        route.describe.bias.fill_(1)
        route.router.to_logits[4] = torch.tensor([3.0, -9.0, 2.0, -9.0])
    network(torch.rand(2, 1, 16, 16)).image.sum().backward()
    for expert, idle in enumerate((False, True, False, True)):
        gradient = route.experts[expert][0].weight.grad
        assert (gradient.abs().sum() == 0) == idle


@pytest.mark.parametrize("routing", ["published", "paper"])
def test_a_mixed_batch_restores_each_image_as_if_alone(routing: str) -> None:
    network = small(routing=routing).double().eval()
    batch = torch.rand(3, 1, 24, 16) * torch.tensor([0.1, 1.0, 5.0]).view(3, 1, 1, 1)
    together = network(batch.double()).image
    for item in range(3):
        alone = network(batch[item : item + 1].double()).image
        torch.testing.assert_close(together[item : item + 1], alone)


def test_an_instruction_computed_once_serves_again() -> None:
    network = small().eval()
    degraded = torch.rand(1, 1, 32, 32)
    instruction = network.instruct(degraded)
    with_own, given = network(degraded), network(degraded, instruction=instruction)
    assert torch.equal(with_own.image, given.image)
    tiles = degraded.unfold(3, 16, 16).squeeze(0).permute(2, 0, 1, 3)
    assert network(tiles, instruction=instruction).image.shape == (2, 1, 32, 16)


@pytest.mark.parametrize("size", [200.0, -200.0])
def test_big_expert_outputs_stay_finite(size: float) -> None:
    """exp(200) is infinite and exp(-200) zero in float32."""
    network = small().train()
    for route in network.encoder_routing:
        for expert in route.experts:
            torch.nn.init.constant_(expert[2].bias, size)
    restored = network(torch.rand(1, 1, 16, 16))
    restored.image.mean().backward()
    assert torch.isfinite(restored.image).all()
    assert all(torch.isfinite(weight.grad).all() for weight in network.parameters())


def test_equal_experts_in_log_space_give_what_each_says() -> None:
    outputs = torch.full((5, 2, 3), 150.0)
    gates = torch.tensor([0.25, 0.75]).expand(5, 2)
    torch.testing.assert_close(log_space_sum(outputs, gates.log()), outputs[:, 0])


@pytest.mark.parametrize("routing", ["published", "paper"])
def test_an_image_of_nothing_but_air_trains(routing: str) -> None:
    network = small(routing=routing).train()
    restored = network(torch.zeros(1, 1, 16, 16))
    (restored.image.mean() + restored.auxiliary_loss).backward()
    for name, parameter in network.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_experts_answer_in_the_order_of_the_choice() -> None:
    torch.manual_seed(0)
    experts = Experts(3, 4).double()
    x = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    chosen = torch.tensor([[3, 0], [0, 1], [3, 1], [1, 0], [0, 3], [1, 3], [3, 0]])

    def by_hand(rows: torch.Tensor) -> torch.Tensor:
        said = [experts[e](row) for row, pair in zip(rows, chosen, strict=True) for e in pair]
        return torch.stack(said).view(7, 2, 3)

    torch.testing.assert_close(experts(x, chosen), by_hand(x))
    weights = torch.randn(7, 2, 3, dtype=torch.float64)
    (found,) = torch.autograd.grad((experts(x, chosen) * weights).sum(), x)
    (expected,) = torch.autograd.grad((by_hand(x) * weights).sum(), x)
    torch.testing.assert_close(found, expected)


def test_the_hidden_width_of_no_multiple_of_16_is_exact() -> None:
    """Zero channels added for speed must not show: the gradient of every weight is still there."""
    network = small(dim=6).train()
    network(torch.rand(1, 1, 16, 16)).image.square().sum().backward()
    feed_forward = network.encoder[0][0].feed_forward
    assert feed_forward.project.weight.shape == (6, 15)
    assert feed_forward.project.weight.grad.count_nonzero() == 6 * 15


def test_equal_shares_are_in_perfect_balance() -> None:
    assert squared_variation(torch.full((4,), 7.0)).item() == 0
    assert squared_variation(torch.tensor([7.0])).item() == 0


@pytest.mark.parametrize(
    "settings",
    [
        {"top_k": 5},
        {"top_k": 0},
        {"experts": 0},
        {"instructions": 0},
        {"dim": 5},
        {"blocks": (1, 1, 1)},
        {"blocks": (1, 0, 1, 1)},
        {"heads": (1, 1, 1, 3)},
        {"refinement_blocks": -1},
        {"routing": "both"},
    ],
    ids=str,
)
def test_impossible_settings_are_refused_by_name(settings: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=next(iter(settings))) as refusal:
        small(**settings)
    assert refusal.value.code == "invalid_setting"


@pytest.mark.parametrize(
    "shape", [(1, 1, 20, 16), (1, 1, 16, 8), (1, 3, 16, 16), (16, 16)], ids=str
)
def test_images_that_do_not_fit_are_refused_with_their_shape(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=str(shape[-1])):
        small()(torch.rand(shape))


def test_gate_noise_of_another_shape_is_refused() -> None:
    with pytest.raises(ValueError, match="gate noise"):
        small().train()(torch.rand(1, 1, 16, 16), gate_noise=[torch.zeros(1, 4)] * 3)
