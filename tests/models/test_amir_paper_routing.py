"""`routing="paper"` computes the paper's equations, written out here pixel by pixel in float64."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from amir.models.amir import AMIR
from amir.models.routing import PaperChannelRouting, PaperInstruction, PaperSpatialRouting

CHANNELS, EXPERTS, TOP_K, HEIGHT, WIDTH = 6, 4, 2, 3, 5


@pytest.fixture
def routing() -> PaperSpatialRouting:
    torch.manual_seed(0)
    built = PaperSpatialRouting(CHANNELS, experts=EXPERTS, top_k=TOP_K, gate_noise=True).double()
    torch.nn.init.normal_(built.router.to_noise)
    return built


@pytest.fixture
def x() -> Tensor:
    return torch.randn(2, HEIGHT, WIDTH, CHANNELS, dtype=torch.float64)


@pytest.fixture
def instruction() -> Tensor:
    return torch.randn(2, 256, dtype=torch.float64)


def each_pixel(
    routing: PaperSpatialRouting, x: Tensor, instruction: Tensor, noise: Tensor | None
) -> list[tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Of every pixel, row by row: itself, its logits, the noise-free logits and the noise scale."""
    pixels = []
    for item, image in enumerate(x):
        described = routing.describe(instruction[item])
        for pixel in image.reshape(-1, CHANNELS):
            seen = torch.cat([pixel, described])
            clean = seen @ routing.router.to_logits
            scale = F.softplus(seen @ routing.router.to_noise) + 0.01
            logits = clean if noise is None else clean + noise[len(pixels)] * scale
            pixels.append((pixel, logits, clean, scale))
    return pixels


def squared_variation(amounts: Tensor) -> Tensor:
    mean = amounts.mean()
    return (amounts - mean).square().sum() / (len(amounts) - 1) / mean**2


def test_equation_1_the_instruction_is_a_softmax_mixture_of_the_dictionary() -> None:
    torch.manual_seed(0)
    network = PaperInstruction(5).double()
    degraded = torch.rand(2, 1, 20, 28, dtype=torch.float64)
    for item, features in enumerate(network.condition(degraded)):
        logits = features.sum(dim=(1, 2)) / features[0].numel()
        weights = logits.exp() / logits.exp().sum()
        expected = sum(weights[entry] * network.dictionary[entry] for entry in range(5))
        torch.testing.assert_close(network(degraded)[item], expected)
    assert network.dictionary.shape == (5, 256)


@pytest.mark.parametrize("noisy", [False, True])
def test_equations_2_and_3_a_pixel_becomes_the_weighted_sum_of_its_best_experts(
    routing: PaperSpatialRouting, x: Tensor, instruction: Tensor, noisy: bool
) -> None:
    noise = torch.randn(2 * HEIGHT * WIDTH, EXPERTS, dtype=torch.float64) if noisy else None
    routed, _ = routing.train(noisy)(x, instruction, noise)
    rows = routed.reshape(-1, CHANNELS)
    for row, (pixel, logits, _, _) in zip(
        rows, each_pixel(routing, x, instruction, noise), strict=True
    ):
        gates = logits.exp() / logits.exp().sum()
        best = sorted(range(EXPERTS), key=lambda e: gates[e].item())[-TOP_K:]
        torch.testing.assert_close(row, sum(gates[e] * routing.experts[e](pixel) for e in best))


def test_equation_4_the_instruction_weights_the_channels(x: Tensor, instruction: Tensor) -> None:
    routing = PaperChannelRouting(CHANNELS).double()
    routed = routing(x, instruction)
    for item in range(2):
        logits = routing.to_factors(instruction[item])
        torch.testing.assert_close(routed[item], x[item] / (1 + (-logits).exp()))


def test_balance_is_the_variation_of_importance_and_of_expected_load(
    routing: PaperSpatialRouting, x: Tensor, instruction: Tensor
) -> None:
    noise = torch.randn(2 * HEIGHT * WIDTH, EXPERTS, dtype=torch.float64)
    _, balance = routing.train()(x, instruction, noise)

    importance = torch.zeros(EXPERTS, dtype=torch.float64)
    load = torch.zeros_like(importance)
    for _, logits, clean, scale in each_pixel(routing, x, instruction, noise):
        gates = logits.softmax(0)
        for expert in range(EXPERTS):
            others = sorted(logits[e].item() for e in range(EXPERTS) if e != expert)
            to_beat = others[-TOP_K]
            if logits[expert] > to_beat:
                importance[expert] += gates[expert].item()
            z = (clean[expert].item() - to_beat) / scale[expert].item()
            load[expert] += 0.5 * math.erfc(-z / math.sqrt(2))
    expected = squared_variation(importance) + squared_variation(load)
    torch.testing.assert_close(balance, expected)


def test_outside_training_the_load_counts_pixels(
    routing: PaperSpatialRouting, x: Tensor, instruction: Tensor
) -> None:
    _, balance = routing.eval()(x, instruction, None)
    importance = torch.zeros(EXPERTS, dtype=torch.float64)
    load = torch.zeros_like(importance)
    for _, logits, _, _ in each_pixel(routing, x, instruction, None):
        for expert in logits.argsort()[-TOP_K:]:
            importance[expert] += logits.softmax(0)[expert].item()
            load[expert] += 1
    torch.testing.assert_close(balance, squared_variation(importance) + squared_variation(load))


def test_the_whole_network_takes_its_parts_from_the_paper() -> None:
    network = AMIR(dim=4, blocks=(1,) * 4, refinement_blocks=1, heads=(1,) * 4, routing="paper")
    assert isinstance(network.instruction, PaperInstruction)
    assert all(isinstance(route, PaperSpatialRouting) for route in network.encoder_routing)
    channel_routings = [network.latent_routing, *network.decoder_routing]
    assert all(isinstance(route, PaperChannelRouting) for route in channel_routings)
