"""Triton's kernels, run by its interpreter, against the operators in plain torch and in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call

from amir.errors import InputError
from amir.models import kernel_choice, operators
from amir.models.amir import AMIR
from amir.models.kernel_choice import choose_kernels
from amir.models.kernels import attention_sums, depthwise, gated_depthwise
from amir.models.layers import GDFN, TransformerBlock
from tests.models.interpreter import interpreter_that_prepares_once

FLOAT32, BFLOAT16 = 1e-6, 2e-2  # relative, the norm of the difference to the norm


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Several programs in each direction for a few pixels; the interpreter is slow."""
    for name, size in (("ROWS", 3), ("COLUMNS", 8), ("CHANNELS", 16)):
        monkeypatch.setattr(depthwise, name, size)
    monkeypatch.setattr(attention_sums, "TILE", 256)
    with interpreter_that_prepares_once():
        yield


def both_ways(function: Any, inputs: Sequence[Tensor], seed: int, *rest: Any) -> list[Tensor]:
    """What a function of tensors answers, and the gradients of a random weighting of it."""
    leaves = [tensor.detach().requires_grad_() for tensor in inputs]
    answers = function(*leaves, *rest)
    answers = answers if isinstance(answers, tuple) else (answers,)
    torch.manual_seed(seed)
    weights = [torch.randn(answer.shape).to(answer.dtype) for answer in answers]
    return [*answers, *torch.autograd.grad(answers, leaves, weights)]


def assert_close(found: Sequence[Tensor], expected: Sequence[Tensor], most: float) -> None:
    for number, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.shape == other.shape
        distance = (one.double() - other.double()).norm() / other.double().norm().clamp_min(1e-12)
        assert distance <= most, f"tensor {number}: {distance:.1e}"


GATED = [
    ((1, 2, 5), 5, slice(None)),  # fewer channels than a block, one strip
    ((2, 4, 9), 17, slice(None)),  # blocks that end outside in every direction
    ((1, 5, 4), 8, slice(1, 3)),  # some rows of a band
]


@pytest.mark.parametrize(("shape", "hidden", "rows"), GATED)
def test_the_gate_and_its_gradients(shape: tuple[int, ...], hidden: int, rows: slice) -> None:
    torch.manual_seed(0)
    wide, kernel = torch.randn(*shape, 2 * hidden), torch.randn(2 * hidden, 1, 3, 3)
    found = both_ways(gated_depthwise.gated_depthwise, (wide, kernel), 1, rows)
    exact = both_ways(operators.gated_depthwise, (wide.double(), kernel.double()), 1, rows)
    assert_close(found, exact, FLOAT32)


def test_the_gate_in_bfloat16_sums_in_float32() -> None:
    torch.manual_seed(0)
    wide, kernel = torch.randn(1, 5, 6, 18).bfloat16(), torch.randn(18, 1, 3, 3)
    found = both_ways(gated_depthwise.gated_depthwise, (wide, kernel), 1)
    exact = both_ways(operators.gated_depthwise, (wide.double(), kernel.double()), 1)
    assert [tensor.dtype for tensor in found] == [torch.bfloat16, torch.bfloat16, torch.float32]
    assert_close(found, exact, BFLOAT16)


SUMS = [
    ((1, 2, 5), 4, 1, slice(None)),
    ((2, 4, 17), 6, 2, slice(None)),
    ((1, 5, 4), 6, 3, slice(1, 3)),
    ((1, 1, 3), 66, 1, slice(None)),  # a head too wide for the chip
]


@pytest.mark.parametrize(("shape", "channels", "heads", "rows"), SUMS)
def test_the_sums_of_attention_and_their_gradients(
    shape: tuple[int, ...], channels: int, heads: int, rows: slice
) -> None:
    torch.manual_seed(0)
    qkv, kernel = torch.randn(*shape, 3 * channels), torch.randn(3 * channels, 1, 3, 3)
    found = both_ways(attention_sums.attention_sums, (qkv, kernel), 1, heads, rows)
    exact = both_ways(operators.attention_sums, (qkv.double(), kernel.double()), 1, heads, rows)
    assert_close(found, exact, FLOAT32)


def test_the_sums_of_bfloat16_are_float32() -> None:
    torch.manual_seed(0)
    qkv, kernel = torch.randn(1, 5, 6, 24).bfloat16(), torch.randn(24, 1, 3, 3)
    found = both_ways(attention_sums.attention_sums, (qkv, kernel), 1, 2)
    exact = both_ways(operators.attention_sums, (qkv.double(), kernel.double()), 1, 2)
    assert [tensor.dtype for tensor in found[:3]] == [torch.bfloat16, *[torch.float32] * 2]
    assert_close(found, exact, BFLOAT16)


def test_a_block_of_kernels_is_the_same_block() -> None:
    torch.manual_seed(0)
    block, answers = TransformerBlock(6, heads=2), []
    inputs = [torch.randn(1, 3, 6, 6), *block.parameters()]
    names = ["x", *(name for name, _ in block.named_parameters())]

    def run(x: Tensor, *weights: Tensor) -> Tensor:
        found: Tensor = functional_call(block, dict(zip(names[1:], weights, strict=True)), x)
        return found

    for kernels in ("eager", "triton"):
        choose_kernels(block, kernels)
        answers.append(both_ways(run, inputs, 1))
    assert_close(answers[1], answers[0], 1e-4)


def test_the_choice_reaches_every_block_of_a_network_and_can_be_taken_back() -> None:
    network = AMIR(dim=2, blocks=(1,) * 4, refinement_blocks=1, heads=(1,) * 4)
    choose_kernels(network, "triton")
    feeds = [module for module in network.modules() if isinstance(module, GDFN)]
    assert {feed.gated_depthwise for feed in feeds} == {gated_depthwise.gated_depthwise}
    choose_kernels(network, "eager")
    assert {feed.gated_depthwise for feed in feeds} == {operators.gated_depthwise}


SHAPES = {
    "gated_depthwise": [(1, 2, 4, 6), (6, 1, 3, 3), 0, 2],
    "gated_depthwise_backward": [(1, 2, 4, 3), (1, 2, 4, 6), (6, 1, 3, 3), 0, 2],
    "attention_sums": [(1, 2, 4, 6), (6, 1, 3, 3), 2, 0, 2],
    "attention_sums_backward": [
        *[(1, 2, 4, 2), (1, 2, 1, 1), (1, 4)],
        *[(1, 2, 4, 6), (6, 1, 3, 3), 0, 2],
    ],
}


@pytest.mark.parametrize("operator", SHAPES)
def test_the_compiler_is_told_the_truth_about_shapes_and_strides(operator: str) -> None:
    given = [torch.randn(x) if isinstance(x, tuple) else x for x in SHAPES[operator]]
    torch.library.opcheck(
        getattr(torch.ops.amir, operator).default,
        given,
        test_utils=("test_schema", "test_faketensor"),
    )


def test_triton_is_refused_where_it_cannot_run(monkeypatch: pytest.MonkeyPatch) -> None:
    network = AMIR(dim=2, blocks=(1,) * 4, refinement_blocks=0, heads=(1,) * 4)
    monkeypatch.setenv("TRITON_INTERPRET", "0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(InputError, match="no GPU here; choose kernels eager"):
        choose_kernels(network, "triton")
    monkeypatch.setattr(kernel_choice.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="not installed; it comes with torch's CUDA build"):
        choose_kernels(network, "triton")
