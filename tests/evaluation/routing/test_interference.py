"""Interference by its law: what real, tiny steps do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from amir.errors import InputError
from amir.evaluation.routing.interference import WHOLE, layers_of, task_interference
from amir.modality import Modality
from amir.models.registry import build_model
from amir.models.restored import Restored

STEP = 1e-6


class Smooth(nn.Module):
    """Two layers in float64, smooth enough for differences."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 3, 3, padding=1, dtype=torch.float64)
        self.second = nn.Conv2d(3, 1, 3, padding=1, dtype=torch.float64)

    def forward(self, degraded: Tensor) -> Restored:
        return Restored(self.second(torch.tanh(self.first(degraded))), degraded.new_zeros(()))


def batches(seed: int, count: int = 3) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    pairs = torch.rand(count, 2, 2, 1, 8, 8, generator=generator, dtype=torch.float64)
    return [(pair[0], seed * pair[1]) for pair in pairs]


def loss(network: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    return (network(batch[0]).image - batch[1]).abs().mean()


def change(network: nn.Module, layer: nn.Module, step: Any, batch: Any) -> float:
    """How much the loss of one batch falls by a real step for another."""
    before = loss(network, batch).item()
    network.zero_grad()
    loss(network, step).backward()
    gradients = [p.grad.clone() for p in layer.parameters()]
    norm = torch.cat([g.flatten() for g in gradients]).norm()
    with torch.no_grad():
        for p, g in zip(layer.parameters(), gradients, strict=True):
            p -= STEP * g / norm
        after = loss(network, batch).item()
        for p, g in zip(layer.parameters(), gradients, strict=True):
            p += STEP * g / norm
    return before - after


def test_it_is_what_small_steps_of_each_layer_really_do() -> None:
    torch.manual_seed(1)
    network = Smooth()
    own, others = batches(1), batches(2)
    found = task_interference(network, {Modality.MRI: own, Modality.CT: others})
    for k, layer in enumerate([network.first, network.second, network]):
        by_other = np.mean([change(network, layer, y, x) for x in own for y in others])
        by_own = np.mean([change(network, layer, y, x) for x in own for y in own if y is not x])
        expected = by_other / by_own if by_own > 0 else np.nan
        assert found.matrix[k, 0, 1] == pytest.approx(expected, rel=1e-3, nan_ok=True)
    assert found.layers == ("first", "second", WHOLE)


def test_a_tasks_own_step_counts_as_one() -> None:
    torch.manual_seed(0)
    found = task_interference(Smooth(), {Modality.MRI: batches(1), Modality.PET: batches(3)})
    diagonal = found.matrix[:, [0, 1], [0, 1]]
    np.testing.assert_allclose(diagonal[~np.isnan(diagonal)], 1)


def test_tasks_that_want_the_opposite_harm_each_other() -> None:
    network = nn.Module()
    network.shift = nn.Parameter(torch.zeros(1))
    network.forward = lambda degraded: Restored(degraded + network.shift, torch.zeros(()))  # type: ignore[method-assign]
    zeros = torch.zeros(1, 1, 4, 4)
    up, down = [(zeros, zeros + 1)] * 2, [(zeros, zeros - 1)] * 2
    found = task_interference(network, {Modality.MRI: up, Modality.CT: down})
    np.testing.assert_allclose(found.matrix[0], [[1, -1], [-1, 1]])


def test_layers_come_in_the_order_of_work(tiny_network: dict[str, Any]) -> None:
    network = build_model("amir", **tiny_network).eval()
    layers = layers_of(network, torch.rand(1, 1, 16, 16))
    order = list(layers)
    assert order[:4] == ["instruction", "embed", "encoder_routing.0", "encoder.0.0.attention"]
    assert order.index("encoder.2.0.attention") < order.index("latent.0.attention")
    assert order.index("latent.0.attention") < order.index("decoder.0.0.attention")
    assert order[-2:] == ["output", WHOLE]
    every = [name for layer, names in layers.items() if layer != WHOLE for name in names]
    trained = {name for name, p in network.named_parameters() if p.requires_grad}
    assert sorted(every) == sorted(layers[WHOLE]) == sorted(trained)


def test_the_network_is_left_as_it_was(tiny_network: dict[str, Any]) -> None:
    network = build_model("amir", **tiny_network).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    own = [(torch.rand(1, 1, 16, 16), torch.rand(1, 1, 16, 16)) for _ in range(2)]
    task_interference(network, {Modality.MRI: own, Modality.CT: own})
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


@pytest.mark.parametrize("counts", [(1, 1), (2, 3)])
def test_too_few_or_unequal_batches_are_refused(counts: tuple[int, int]) -> None:
    given = {Modality.MRI: batches(1, counts[0]), Modality.CT: batches(2, counts[1])}
    with pytest.raises(InputError, match=f"MRI {counts[0]}, CT {counts[1]}"):
        task_interference(Smooth(), given)
