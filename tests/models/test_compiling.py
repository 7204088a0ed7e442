"""What torch.compile and CUDA graphs see: no break, no surplus variant, the same numbers."""

from __future__ import annotations

import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from amir.config.section import Kernels
from amir.models.amir import AMIR
from amir.models.compiling import compiled_twin
from amir.models.cuda_graphs import GraphByShape
from amir.models.economy import choose_recomputation
from amir.models.kernel_choice import choose_kernels
from amir.models.layers import TransformerBlock
from amir.models.routing import ROUTINGS, RoutingKind, SpatialRouting
from tests.models.interpreter import interpreter_that_prepares_once
from tests.models.recording import record

USUAL = [(1, 8, 8), (2, 8, 8), (1, 16, 8), (1, 8, 16)]


class Counting:
    """A compiler that compiles nothing, and counts what it is given."""

    def __init__(self) -> None:
        self.variants = 0

    def __call__(self, graph: Any, examples: Any) -> Any:
        self.variants += 1
        return graph.forward


@pytest.fixture(autouse=True)
def forgotten_afterwards() -> Any:
    yield
    torch._dynamo.reset()


def test_blocks_of_a_kind_are_compiled_once_for_each_usual_size() -> None:
    compiler = Counting()
    blocks = nn.Sequential(TransformerBlock(4, 2), TransformerBlock(4, 2))
    twin = compiled_twin(blocks, backend=compiler)
    for size in [*USUAL, *USUAL]:
        with torch.inference_mode():
            x = torch.rand(*size, 4)
            torch.testing.assert_close(twin(x), blocks(x))
    assert compiler.variants == len(USUAL)


@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("kernels", ["eager", "triton"])
def test_a_compiled_twin_trains_the_weights_of_its_network(
    kernels: Kernels, recompute: bool
) -> None:
    block = TransformerBlock(4, 2)
    choose_kernels(block, kernels)
    choose_recomputation(block, recompute)
    twin = compiled_twin(block, backend="aot_eager")
    x, answers = torch.rand(1, 3, 4, 4), []
    with interpreter_that_prepares_once():
        for network in (block, twin):
            answer = network(x).square().sum()
            answers.append([answer, *torch.autograd.grad(answer, list(block.parameters()))])
    torch.testing.assert_close(answers[0], answers[1], atol=1e-5, rtol=1e-4)
    assert twin.state_dict().keys() == block.state_dict().keys()
    assert "compute" not in vars(block)


@pytest.mark.slow
@pytest.mark.skipif(
    " " in sys.prefix, reason="Inductor hands paths with a space to the C++ compiler as two"
)
@pytest.mark.parametrize("kernels", ["eager", "triton"])
def test_the_compiler_of_torch_takes_a_block_and_its_kernels(kernels: Kernels) -> None:
    """Inductor, in C++ here: it checks what it was told of the kernels' answers in memory."""
    torch.manual_seed(0)
    block, x, answers = TransformerBlock(6, 2), torch.rand(1, 4, 6, 6), []
    choose_kernels(block, kernels)
    with interpreter_that_prepares_once():
        for network in (block, compiled_twin(block)):
            answer = network(x).square().sum()
            answers.append([answer, *torch.autograd.grad(answer, list(block.parameters()))])
    torch.testing.assert_close(answers[1], answers[0], atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["published", "paper"])
def test_a_compiled_twin_combines_what_the_experts_say(kind: RoutingKind) -> None:
    torch.manual_seed(0)
    routing = ROUTINGS[kind].spatial(4, experts=3, top_k=2, gate_noise=True).train()
    routing.dense, compiler = True, Counting()
    twin = compiled_twin(routing, backend=compiler)
    for height in (2, 3, 2):
        x, instruction = torch.rand(1, height, 5, 4), torch.rand(1, 256)
        noise = torch.randn(height * 5, 3)
        for found, expected in zip(
            twin(x, instruction, noise), routing(x, instruction, noise), strict=True
        ):
            torch.testing.assert_close(found, expected)
    assert compiler.variants == 2


def test_the_whole_network_is_one_graph_in_training() -> None:
    """As on a GPU, where the routing is dense: nothing that depends on values breaks it."""
    torch.manual_seed(0)
    network = AMIR(dim=2, blocks=(1,) * 4, refinement_blocks=0, heads=(1,) * 4).train()
    for module in network.modules():
        if isinstance(module, SpatialRouting):
            module.dense = True
    degraded = torch.rand(1, 1, 16, 16)
    noise, compiler = network.draw_gate_noise(degraded), Counting()
    whole: Any = torch.compile(network, backend=compiler, fullgraph=True)
    for called in (whole, whole, network):
        restored = called(degraded, gate_noise=noise)
        restored.image.sum().backward()
        assert compiler.variants == 1
    torch.testing.assert_close(whole(degraded, gate_noise=noise).image, restored.image)


@pytest.mark.parametrize("settings", [{}, {"gate_noise": False}, {"spatial_routing": False}])
def test_noise_drawn_outside_is_what_the_network_would_have_drawn(settings: Any) -> None:
    network = AMIR(dim=2, blocks=(1,) * 4, refinement_blocks=0, heads=(1,) * 4, **settings).train()
    degraded = torch.rand(2, 1, 16, 24)
    torch.manual_seed(3)
    inside = network(degraded)
    torch.manual_seed(3)
    outside = network(degraded, gate_noise=network.draw_gate_noise(degraded))
    assert torch.equal(inside.image, outside.image)
    assert torch.equal(inside.auxiliary_loss, outside.auxiliary_loss)


def test_a_graph_is_recorded_once_for_each_shape_and_reads_the_newest_inputs() -> None:
    calls: list[torch.Size] = []

    def double(x: Tensor) -> Tensor:
        calls.append(x.shape)
        return 2 * x

    graph = GraphByShape(double, record=lambda function: record(function))
    first = graph(torch.ones(2))
    second = graph(torch.full((2,), 5.0))
    assert first is second
    assert second.tolist() == [10, 10]
    assert graph(torch.ones(3)).tolist() == [2, 2, 2]
    assert graph(torch.zeros(2)).tolist() == [0, 0]
    assert {len(shape) for shape in calls} == {1}
