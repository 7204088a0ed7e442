"""What the blocks run on a CPU is what plain torch computes; cheaper arithmetic stays close."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from amir.models.amir import AMIR
from amir.models.economy import choose_precision, choose_recomputation
from amir.models.operators import (
    attention_sums,
    gated_depthwise,
    pixelwise,
    pixelwise_per_image,
)

TINY: dict[str, Any] = {"dim": 8, "blocks": (1, 1, 1, 1), "refinement_blocks": 1}


def uniform(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape))) - 0.5


CALLS: dict[str, tuple[Callable[..., Any], tuple[Tensor, ...]]] = {
    "pixelwise": (pixelwise, (uniform(2, 5, 6, 8), uniform(12, 8))),
    "pixelwise_per_image": (pixelwise_per_image, (uniform(2, 5, 6, 8), uniform(2, 12, 8))),
    "gated_depthwise": (gated_depthwise, (uniform(2, 5, 6, 8), uniform(8, 1, 3, 3))),
    "gated_depthwise of rows": (
        lambda wide, kernel: gated_depthwise(wide, kernel, slice(1, 4)),
        (uniform(2, 5, 6, 8), uniform(8, 1, 3, 3)),
    ),
    "attention_sums": (
        lambda qkv, kernel: attention_sums(qkv, kernel, heads=2),
        (uniform(2, 5, 6, 12), uniform(12, 1, 3, 3)),
    ),
}


def values_and_gradients(call: Callable[..., Any], inputs: tuple[Tensor, ...]) -> list[Tensor]:
    inputs = tuple(tensor.clone().requires_grad_() for tensor in inputs)
    found = call(*inputs)
    values = list(found) if isinstance(found, tuple) else [found]
    sum((value * uniform(*value.shape)).sum() for value in values).backward()
    return [value.detach() for value in values] + [tensor.grad for tensor in inputs]


@pytest.mark.parametrize("name", CALLS)
def test_operators_compute_what_plain_torch_does_in_float64(name: str) -> None:
    call, inputs = CALLS[name]
    exact = values_and_gradients(call, tuple(tensor.double() for tensor in inputs))
    for found, expected in zip(values_and_gradients(call, inputs), exact, strict=True):
        torch.testing.assert_close(found, expected.float(), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("name", CALLS)
def test_operators_give_the_same_without_a_gradient(name: str) -> None:
    call, inputs = CALLS[name]
    with torch.no_grad():
        found = call(*inputs)
    torch.testing.assert_close(found, call(*inputs), atol=1e-6, rtol=1e-5)


def gradients(network: nn.Module) -> Tensor:
    """All of them in one row, of a step with the same noise each time."""
    network.zero_grad()
    torch.manual_seed(1)
    restored = network(uniform(2, 1, 32, 48) + 0.5)
    (restored.image.square().mean() + 0.001 * restored.auxiliary_loss).backward()
    return torch.cat([p.grad.flatten() for p in network.parameters() if p.grad is not None])


@pytest.fixture
def network() -> AMIR:
    torch.manual_seed(0)
    return AMIR(**TINY).train()


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_recomputation_gives_the_same_gradients(network: AMIR) -> None:
    kept = gradients(network)
    choose_recomputation(network, True)
    assert distance(gradients(network), kept) <= 1e-5


@pytest.mark.parametrize("recompute", [False, True])
def test_gradients_of_bfloat16_come_close(network: AMIR, recompute: bool) -> None:
    exact = gradients(network)
    choose_precision(network, "bfloat16")
    choose_recomputation(network, recompute)
    assert distance(gradients(network), exact) <= 1e-2
    assert all(parameter.dtype == torch.float32 for parameter in network.parameters())


def test_recomputation_leaves_frozen_parameters_without_gradient(network: AMIR) -> None:
    frozen = network.decoder[0].requires_grad_(False)
    choose_recomputation(network, True)
    gradients(network)
    assert all(parameter.grad is None for parameter in frozen.parameters())
    assert network.encoder[0][0].attention.temperature.grad is not None


def test_recomputation_keeps_less_for_the_gradient(network: AMIR) -> None:
    def kept() -> int:
        sizes = {}

        def keep(tensor: Tensor) -> Tensor:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            restored = network(uniform(2, 1, 64, 64) + 0.5)
        total = sum(sizes.values())
        del restored
        return total

    everything = kept()
    choose_recomputation(network, True)
    assert kept() < 0.5 * everything
