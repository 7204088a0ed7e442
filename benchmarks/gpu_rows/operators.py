"""The two operators alone: Triton's kernels beside plain torch, at the sizes the network has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from amir.errors import InputError
from amir.models import operators
from amir.models.kernel_choice import check_triton
from benchmarks.gpu_rows.place import Place
from benchmarks.gpu_rows.table import Row, tried

KINDS = ((42, 1, 1), (84, 1, 1), (84, 2, 2), (168, 4, 4), (336, 8, 8))  # C, heads, smaller sides
BLOCKS = ((16, 16, 32, 4), (32, 16, 32, 4), (16, 32, 32, 8), (16, 16, 64, 8), (8, 16, 64, 8))
GATED, SUMS = "gated_depthwise", "attention_sums"
# Elements per pixel and channel (F or C) that a kernel moves at least; both ways with the gradient.
LEAST = {(GATED, False): 3, (GATED, True): 14, (SUMS, False): 4, (SUMS, True): 17}


def operator_rows(place: Place, copy_rate: float, batch: int, size: int) -> Iterator[Row]:
    if reason := _impossible():
        yield {"failed": f"left out: {reason}"}
        return
    for channels, heads, smaller in KINDS[:1] if place.tiny else KINDS:
        width = 3 if place.tiny else channels
        for name in (GATED, SUMS):
            for dtype in (torch.bfloat16,) if place.tiny else (torch.bfloat16, torch.float32):
                for both_ways in (False, True):
                    known: Row = {
                        "operator": name,
                        "channels": width,
                        "heads": heads,
                        "side": size // smaller,
                        "type": str(dtype).removeprefix("torch."),
                        "gradient": both_ways,
                    }
                    rows: list[Row] = []
                    inputs = _inputs(name, width, (batch, size // smaller), dtype, place)
                    tried(
                        rows,
                        known,
                        lambda name=name, inputs=inputs, heads=heads, both=both_ways: _measure(
                            name, inputs, heads, both, place, copy_rate
                        ),
                    )
                    yield from rows
                    place.forget()


def block_rows(place: Place, copy_rate: float, batch: int, size: int) -> Iterator[Row]:
    """Other sizes of the blocks, for whoever tunes them: at 84 channels, where most time goes."""
    if reason := _impossible():
        yield {"failed": f"left out: {reason}"}
        return
    from amir.models.kernels import depthwise

    names = ("ROWS", "COLUMNS", "CHANNELS", "WARPS")
    before = [getattr(depthwise, name) for name in names]
    inputs = _inputs(GATED, 3 if place.tiny else 84, (batch, size), torch.bfloat16, place)
    for blocks in BLOCKS[:1] if place.tiny else BLOCKS:
        for name, value in zip(names, blocks, strict=True):
            setattr(depthwise, name, value)
        for both_ways in (False, True):
            rows: list[Row] = []
            known: Row = dict(zip(map(str.lower, names), blocks, strict=True))
            tried(
                rows,
                {"operator": GATED, **known, "gradient": both_ways},
                lambda both=both_ways: _measure(GATED, inputs, 1, both, place, copy_rate),
            )
            yield from rows
    for name, value in zip(names, before, strict=True):
        setattr(depthwise, name, value)


def _impossible() -> str:
    """Why Triton cannot run here; TRITON_INTERPRET=1 lets it, slowly, without a GPU."""
    try:
        check_triton()
    except InputError as error:
        return str(error)
    return ""


def _measure(
    name: str, inputs: Sequence[Tensor], heads: int, both_ways: bool, place: Place, copy_rate: float
) -> Row:
    from amir.models.kernels.attention_sums import attention_sums
    from amir.models.kernels.gated_depthwise import gated_depthwise

    triton = {GATED: gated_depthwise, SUMS: attention_sums}[name]
    plain = getattr(operators, name)
    rest = () if name == GATED else (heads,)
    ours, theirs = (_call(function, inputs, rest, both_ways) for function in (triton, plain))
    exact = _call(plain, [x.detach().double().requires_grad_() for x in inputs], rest, both_ways)()
    error = max(
        ((mine.double() - right).norm() / right.norm().clamp_min(1e-12)).item()
        for mine, right in zip(ours(), exact, strict=True)
    )
    del exact
    found = place.beside(ours, theirs)
    pixels = inputs[0].numel() // inputs[0].shape[3]
    channels = inputs[0].shape[3] // (2 if name == GATED else 3)
    moved = LEAST[name, both_ways] * channels * inputs[0].element_size() * pixels
    return {
        "error": error,
        "ms": found.ours * 1e3,
        "eager ms": found.theirs * 1e3,
        "ratio": found.ratio,
        "spread": found.spread,
        "of copy rate": moved / found.ours / 1e9 / copy_rate,
    }


def _call(
    function: Callable[..., Any], inputs: Sequence[Tensor], rest: tuple[int, ...], both_ways: bool
) -> Callable[[], list[Tensor]]:
    def call() -> list[Tensor]:
        with torch.set_grad_enabled(both_ways):
            answers = function(*inputs, *rest)
        answers = list(answers) if isinstance(answers, tuple) else [answers]
        if not both_ways:
            return answers
        ones = [torch.ones_like(answer) for answer in answers]
        return [*answers, *torch.autograd.grad(answers, list(inputs), ones)]

    return call


def _inputs(
    name: str, channels: int, shape: tuple[int, int], dtype: torch.dtype, place: Place
) -> list[Tensor]:
    """The image and the kernel, whose type is that of the image: torch has no mixed convolution."""
    hidden = int(channels * 2.66)
    width = 2 * (hidden + -hidden % 16) if name == GATED else 3 * channels
    batch, side = shape
    image = torch.randn(batch, side, side, width, device=place.device)
    kernel = torch.randn(width, 1, 3, 3, device=place.device)
    return [x.to(dtype).requires_grad_() for x in (image, kernel)]
