"""The rows of the paper's Table 3 as settings: their size, their contract, what they leave out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from amir.errors import InputError
from amir.models.amir import AMIR

TINY: dict[str, Any] = {
    "dim": 4,
    "blocks": (1, 1, 1, 1),
    "refinement_blocks": 1,
    "heads": (1, 2, 2, 2),
    "instructions": 4,
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "direct": {"instruction": "direct"},
    "contrastive": {"instruction": "contrastive"},
    "without spatial routing": {"spatial_routing": False},
    "without channel routing": {"channel_routing": False},
    "without routing": {"spatial_routing": False, "channel_routing": False},
}


@pytest.fixture(params=ABLATIONS)
def ablation(request: pytest.FixtureRequest) -> dict[str, Any]:
    torch.manual_seed(0)
    return ABLATIONS[request.param]


@pytest.mark.parametrize(
    ("settings", "size", "printed"),
    [
        ({}, 23_540_498, "23.54"),
        ({"instruction": "direct", "instructions": 16}, 23_534_562, "23.53"),
        ({"instruction": "contrastive", "instructions": 16}, 23_534_562, "23.53"),
        ({"spatial_routing": False}, 22_744_922, "22.74"),
        ({"channel_routing": False}, 23_366_450, "23.37"),
    ],
    ids=str,
)
def test_each_row_has_the_size_that_the_paper_prints(
    settings: dict[str, Any], size: int, printed: str
) -> None:
    with torch.device("meta"):
        network = AMIR(**settings)
    counted = sum(parameter.numel() for parameter in network.parameters())
    assert (counted, f"{counted / 1e6:.2f}") == (size, printed)


@pytest.mark.parametrize("routing", ["published", "paper"])
def test_an_ablation_keeps_the_contract(ablation: dict[str, Any], routing: str) -> None:
    network = AMIR(**TINY, routing=routing, **ablation)
    for training in (True, False):
        restored = network.train(training)(torch.rand(2, 1, 24, 16))
        assert restored.image.shape == (2, 1, 24, 16)
        assert restored.auxiliary_loss.shape == ()
        assert torch.isfinite(restored.image).all()


@pytest.mark.parametrize("routing", ["published", "paper"])
def test_gradients_reach_every_parameter_of_an_ablation(
    ablation: dict[str, Any], routing: str
) -> None:
    network = AMIR(**TINY, routing=routing, **ablation).train()
    restored = network(torch.rand(2, 1, 24, 16))
    (restored.image.square().mean() + restored.auxiliary_loss).backward()
    assert [key for key, weight in network.named_parameters() if weight.grad is None] == []


def test_weights_of_an_ablation_survive_a_file(ablation: dict[str, Any], tmp_path: Path) -> None:
    first, second = (AMIR(**TINY, **ablation).eval() for _ in range(2))
    save_file(first.state_dict(), tmp_path / "weights.safetensors")
    second.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    degraded = torch.rand(1, 1, 16, 24)
    with torch.no_grad():
        assert torch.equal(first(degraded).image, second(degraded).image)


def test_the_instruction_still_depends_on_the_image(ablation: dict[str, Any]) -> None:
    network = AMIR(**TINY, **ablation).eval()
    dark, bright = (network.instruct(torch.full((1, 1, 16, 16), value)) for value in (0.1, 0.9))
    assert dark.shape == (1, 256)
    assert not torch.allclose(dark, bright)


def test_without_experts_nothing_is_to_be_balanced() -> None:
    network = AMIR(**TINY, spatial_routing=False).train()
    assert network(torch.rand(1, 1, 16, 16)).auxiliary_loss.item() == 0


def test_without_channel_routing_the_instruction_reaches_the_experts_alone() -> None:
    network = AMIR(**TINY, channel_routing=False).eval()
    degraded, other = torch.rand(1, 1, 16, 16), torch.randn(1, 256)
    with torch.no_grad():
        x, skips, _ = network._encode(degraded, network.instruct(degraded), [None] * 3)
        assert torch.equal(network._decode(x, skips, other), network._decode(x, skips, -other))


def test_contrastive_learning_adds_nothing_to_what_restores() -> None:
    direct, contrastive = (AMIR(**TINY, instruction=kind) for kind in ("direct", "contrastive"))
    contrastive.load_state_dict(direct.state_dict())
    degraded = torch.rand(1, 1, 16, 16)
    with torch.no_grad():
        both = [network.eval()(degraded).image for network in (direct, contrastive)]
    assert torch.equal(*both)


def test_an_unknown_instruction_is_refused_with_the_known_ones() -> None:
    with pytest.raises(InputError, match=r"instruction 'prompt'.*dictionary, direct, contrastive"):
        AMIR(instruction="prompt")  # type: ignore[arg-type]
