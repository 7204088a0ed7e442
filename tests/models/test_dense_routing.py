"""Every expert on every pixel computes what the chosen experts on sorted pixels compute."""

from __future__ import annotations

import random

import pytest
import torch
from torch import Tensor

from amir.models.routing import ROUTINGS, RoutingKind, SpatialRouting

CHANNELS = 6
drawn = random.Random(0)
SIZES = [(1, 1), (2, 1), (4, 2), *((m := drawn.randint(2, 9), drawn.randint(1, m)) for _ in "abc")]


def route(kind: RoutingKind, experts: int, top_k: int) -> SpatialRouting:
    torch.manual_seed(experts)
    form = ROUTINGS[kind].spatial
    routing = form(CHANNELS, experts=experts, top_k=top_k, gate_noise=True).double()
    torch.nn.init.normal_(routing.router.to_noise)
    return routing


def answers(routing: SpatialRouting, *, dense: bool, training: bool) -> list[Tensor]:
    """The routed image, the balance loss, and the gradients of both for input and parameters."""
    torch.manual_seed(1)
    x, instruction = (
        torch.randn(shape, dtype=torch.float64).requires_grad_()
        for shape in ((2, 3, 5, CHANNELS), (2, 256))
    )
    noise = torch.randn(30, len(routing.experts), dtype=torch.float64)
    routing.dense = dense
    routed, balance = routing.train(training)(x, instruction, noise)
    wanted = (routed * torch.randn_like(routed)).sum() + balance
    parameters = [p for p in routing.parameters() if training or p is not routing.router.to_noise]
    return [routed, balance, *torch.autograd.grad(wanted, [x, instruction, *parameters])]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize(("experts", "top_k"), SIZES)
@pytest.mark.parametrize("kind", ["published", "paper"])
def test_both_ways_give_the_same_values_and_gradients(
    kind: RoutingKind, experts: int, top_k: int, training: bool
) -> None:
    routing = route(kind, experts, top_k)
    few, all_of_them = (answers(routing, dense=dense, training=training) for dense in (False, True))
    for found, expected in zip(all_of_them, few, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["published", "paper"])
def test_an_expert_that_nobody_chose_gets_a_zero_gradient(kind: RoutingKind) -> None:
    routing = route(kind, 4, 2).eval()
    routing.dense = True
    with torch.no_grad():
        routing.router.to_logits.zero_()
        routing.describe.weight.zero_()
        routing.describe.bias.fill_(1)
        routing.router.to_logits[CHANNELS] = torch.tensor([3.0, -9.0, 2.0, -9.0])
    x, instruction = (torch.randn(s, dtype=torch.float64) for s in ((1, 4, 4, 6), (1, 256)))
    routing(x, instruction, None)[0].sum().backward()
    for expert, idle in zip(routing.experts, (False, True, False, True), strict=True):
        for parameter in expert.parameters():
            assert (parameter.grad.abs().sum() == 0) == idle


@pytest.mark.parametrize("size", [200.0, -200.0])
def test_what_no_expert_says_never_overflows(size: float) -> None:
    """exp(200) is infinite and exp(-200) zero in float32; a gate of zero has no logarithm."""
    routing = route("published", 4, 2).float().train()
    routing.dense = True
    for expert in routing.experts:
        torch.nn.init.constant_(expert[2].bias, size)
    routed, balance = routing(torch.randn(1, 4, 4, 6), torch.randn(1, 256), None)
    (routed.mean() + balance).backward()
    assert torch.isfinite(routed).all()
    assert all(torch.isfinite(p.grad).all() for p in routing.parameters())
