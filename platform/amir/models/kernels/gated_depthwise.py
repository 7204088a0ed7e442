"""gelu(a) * b with a, b = the depthwise convolution: `operators.gated_depthwise` as Triton kernels.

Forward reads 2F and writes F elements per pixel, the least there is; plain torch moves 9F, because
the convolution, the gelu and the product each write their result. Backward keeps nothing but the
input: it convolves again (reads 3F, writes 2F), then runs the convolution's own gradient (reads 4F,
writes 2F), 11F in all; plain torch moves 21F and keeps 3F more. (Of plain torch, what its operators
read and wrote on a CPU was counted.)
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from amir.models.kernels import depthwise
from amir.models.kernels.depthwise import load_row, load_taps, place, slide


@triton.jit
def _normal_cdf(a):
    return 0.5 * (1.0 + tl.math.erf(a * 0.7071067811865476))


@triton.jit
def _gate(
    wide_of, taps_of, gradient_of, out_of, height, width, first_row, rows, hidden,
    BACKWARD: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Forward: out [B, rows, W, F]. Backward: out [B, rows, W, 2F], the gradient of a and of b."""
    image, row = place(rows, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < hidden
    taps_a = load_taps(taps_of, channel, hidden)
    taps_b = load_taps(taps_of + 9 * hidden, channel, hidden)
    wide_of += image * height * width * 2 * hidden
    written = 2 * hidden if BACKWARD else hidden
    out_of += image * rows * width * written
    gradient_of += image * rows * width * hidden
    above_a = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    middle_a = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    above_b = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    middle_b = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    for step in range(ROWS + 2):
        y = first_row + row + step - 1
        line = load_row(wide_of, y, column, channel, height, width, 2 * hidden, inside)
        a, above_a, middle_a = slide(above_a, middle_a, line, taps_a)
        line = load_row(wide_of + hidden, y, column, channel, height, width, 2 * hidden, inside)
        b, above_b, middle_b = slide(above_b, middle_b, line, taps_b)
        finished = row + step - 2
        wanted = (step >= 2) & (finished < rows)
        mask = wanted & (column < width)[:, None] & inside[None, :]
        pixel = (finished * width + column)[:, None]
        there = out_of + pixel * written + channel[None, :]
        below = _normal_cdf(a)
        if BACKWARD:
            given = tl.load(gradient_of + pixel * hidden + channel[None, :], mask=mask, other=0.0)
            given = given.to(tl.float32)
            slope = below + a * tl.exp(-0.5 * a * a) * 0.3989422804014327
            tl.store(there, (given * b * slope).to(out_of.dtype.element_ty), mask=mask)
            of_b = (given * a * below).to(out_of.dtype.element_ty)
            tl.store(there + hidden, of_b, mask=mask)
        else:
            tl.store(there, (a * below * b).to(out_of.dtype.element_ty), mask=mask)


@torch.library.custom_op("amir::gated_depthwise", mutates_args=())
def gate(wide: Tensor, kernel: Tensor, first: int, end: int) -> Tensor:
    """See `operators.gated_depthwise`; rows from `first` to `end`."""
    return _run(wide.contiguous(), kernel, None, (first, end))


@gate.register_fake
def _(wide: Tensor, kernel: Tensor, first: int, end: int) -> Tensor:
    batch, _, width, channels = wide.shape
    return wide.new_empty(batch, end - first, width, channels // 2)


@torch.library.custom_op("amir::gated_depthwise_backward", mutates_args=())
def gate_backward(
    gradient: Tensor, wide: Tensor, kernel: Tensor, first: int, end: int
) -> tuple[Tensor, Tensor]:
    """Gradients of wide and of the kernel."""
    wide = wide.contiguous()
    of_ab = _run(wide, kernel, gradient.contiguous(), (first, end))
    of_ab = depthwise.all_rows(of_ab, wide, (first, end))
    of_wide = torch.empty_like(wide)
    of_kernel = depthwise.gradient(of_ab, wide, kernel, first_channel=0, out=of_wide)
    return of_wide, of_kernel


@gate_backward.register_fake
def _(
    gradient: Tensor, wide: Tensor, kernel: Tensor, first: int, end: int
) -> tuple[Tensor, Tensor]:
    return wide.new_empty(wide.shape), kernel.new_empty(kernel.shape)


def _keep(ctx, inputs, output) -> None:
    wide, kernel, ctx.first, ctx.end = inputs
    ctx.save_for_backward(wide, kernel)


def _backward(ctx, gradient: Tensor):
    return *gate_backward(gradient, *ctx.saved_tensors, ctx.first, ctx.end), None, None


gate.register_autograd(_backward, setup_context=_keep)


def _run(wide: Tensor, kernel: Tensor, gradient: Tensor | None, rows: tuple[int, int]) -> Tensor:
    batch, height, width, channels = wide.shape
    hidden, (first, end) = channels // 2, rows
    backward = gradient is not None
    out = wide.new_empty(batch, end - first, width, channels if backward else hidden)
    halves = torch.stack([depthwise.taps(half) for half in kernel.chunk(2)])
    _gate[depthwise.grid(batch, end - first, width, hidden)](
        wide, halves, gradient if backward else wide, out, height, width, first, end - first,
        hidden, BACKWARD=backward, ROWS=depthwise.ROWS, COLUMNS=depthwise.COLUMNS,
        CHANNELS=depthwise.CHANNELS, num_warps=depthwise.WARPS,
    )  # fmt: skip
    return out


def gated_depthwise(wide: Tensor, kernel: Tensor, rows: slice = slice(None)) -> Tensor:
    """`operators.gated_depthwise`, with float32 sums whatever the type of wide."""
    first, end = depthwise.bounds(rows, wide.shape[1])
    gated: Tensor = gate(wide, kernel, first, end)
    return gated
