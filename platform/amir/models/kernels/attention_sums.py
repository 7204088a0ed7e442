"""v, q k^T, |q|^2 and |k|^2 of the depthwise convolution: `operators.attention_sums` in Triton.

Forward reads 3C elements per pixel for v and for q and k, and writes C: q and k never leave the
chip. Plain torch moves 16C in float32 and 30C in bfloat16, whose q and k it writes in float32 too.
Backward keeps nothing but the input: it convolves again and turns the sums' gradients into those of
q and k (reads 2C, writes 2C), then runs the convolution's own gradient (reads 6C, writes 3C), 13C
in all; plain torch moves 45C, in bfloat16 79C. (Of plain torch, what its operators read and wrote
on a CPU was counted.) A head wider than `WIDEST_HEAD` does not fit on the chip: its q and k are
written, and torch multiplies.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from amir.models.kernels import depthwise
from amir.models.kernels.depthwise import load_row, load_taps, place, slide

TILE = 2048  # columns times channels of a head
SMALLEST_PRODUCT = 16  # rows and columns of what tensor cores multiply
WIDEST_HEAD = 64  # in float32, twice as many in bfloat16: what fits on the chip (ptxas, sm_90)
WARPS = 8


@triton.jit
def _sums(
    qkv_of, taps_of, products_of, squares_of, height, width, first_row, rows, channels,
    PER_HEAD: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """For one head, products and squares summed over a strip of a tile of columns."""
    image, row = place(rows, ROWS)
    head = tl.program_id(2)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    own = tl.arange(0, CHANNELS)
    inside = own < PER_HEAD
    channel = head * PER_HEAD + own
    taps_q = load_taps(taps_of, tl.where(inside, channel, 3 * channels), 3 * channels)
    taps_k = load_taps(taps_of, tl.where(inside, channels + channel, 3 * channels), 3 * channels)
    qkv_of += image * height * width * 3 * channels
    above_q = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    middle_q = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    above_k = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    middle_k = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    products = tl.zeros((CHANNELS, CHANNELS), tl.float32)
    squares_q = tl.zeros((CHANNELS,), tl.float32)
    squares_k = tl.zeros((CHANNELS,), tl.float32)
    for step in range(ROWS + 2):
        y = first_row + row + step - 1
        line = load_row(qkv_of, y, column, channel, height, width, 3 * channels, inside)
        q, above_q, middle_q = slide(above_q, middle_q, line, taps_q)
        line = load_row(qkv_of + channels, y, column, channel, height, width, 3 * channels, inside)
        k, above_k, middle_k = slide(above_k, middle_k, line, taps_k)
        wanted = (step >= 2) & (row + step - 2 < rows) & (column < width)[:, None]
        # Rounded as if they had been written in the images' type.
        q = tl.where(wanted, q, 0.0).to(qkv_of.dtype.element_ty).to(tl.float32)
        k = tl.where(wanted, k, 0.0).to(qkv_of.dtype.element_ty).to(tl.float32)
        products = tl.dot(tl.trans(q), k, acc=products, input_precision=PRECISION)
        squares_q += tl.sum(q * q, axis=0)
        squares_k += tl.sum(k * k, axis=0)
    heads = tl.num_programs(2)
    strips = tl.cdiv(rows, ROWS)
    images = tl.num_programs(0) // strips
    part = (tl.program_id(0) % strips) * tl.num_programs(1) + tl.program_id(1)
    place_of = part * images + image
    products_of += (place_of * heads + head) * PER_HEAD * PER_HEAD
    where = own[:, None] * PER_HEAD + own[None, :]
    tl.store(products_of + where, products, mask=inside[:, None] & inside[None, :])
    squares_of += place_of * 2 * channels
    tl.store(squares_of + channel, squares_q, mask=inside)
    tl.store(squares_of + channels + channel, squares_k, mask=inside)


@triton.jit
def _sums_gradient(
    qkv_of, taps_of, products_of, squares_of, out_of, height, width, first_row, rows, channels,
    PER_HEAD: tl.constexpr, PRECISION: tl.constexpr,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    """Of q and k, [B, rows, W, 2C], from those of products [B, heads, c, c] and squares [B, 2C]."""
    image, row = place(rows, ROWS)
    head = tl.program_id(2)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    own = tl.arange(0, CHANNELS)
    inside = own < PER_HEAD
    channel = head * PER_HEAD + own
    taps_q = load_taps(taps_of, tl.where(inside, channel, 3 * channels), 3 * channels)
    taps_k = load_taps(taps_of, tl.where(inside, channels + channel, 3 * channels), 3 * channels)
    heads = tl.num_programs(2)
    products_of += (image * heads + head) * PER_HEAD * PER_HEAD
    where = own[:, None] * PER_HEAD + own[None, :]
    products = tl.load(products_of + where, mask=inside[:, None] & inside[None, :], other=0.0)
    turned = tl.trans(products)
    squares_of += image * 2 * channels + channel
    twice_q = 2.0 * tl.load(squares_of, mask=inside, other=0.0)[None, :]
    twice_k = 2.0 * tl.load(squares_of + channels, mask=inside, other=0.0)[None, :]
    qkv_of += image * height * width * 3 * channels
    out_of += image * rows * width * 2 * channels
    above_q = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    middle_q = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    above_k = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    middle_k = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    for step in range(ROWS + 2):
        y = first_row + row + step - 1
        line = load_row(qkv_of, y, column, channel, height, width, 3 * channels, inside)
        q, above_q, middle_q = slide(above_q, middle_q, line, taps_q)
        line = load_row(qkv_of + channels, y, column, channel, height, width, 3 * channels, inside)
        k, above_k, middle_k = slide(above_k, middle_k, line, taps_k)
        q = q.to(qkv_of.dtype.element_ty).to(tl.float32)
        k = k.to(qkv_of.dtype.element_ty).to(tl.float32)
        of_q = tl.dot(k, turned, input_precision=PRECISION) + twice_q * q
        of_k = tl.dot(q, products, input_precision=PRECISION) + twice_k * k
        finished = row + step - 2
        wanted = (step >= 2) & (finished < rows)
        mask = wanted & (column < width)[:, None] & inside[None, :]
        there = out_of + (finished * width + column)[:, None] * 2 * channels + channel[None, :]
        tl.store(there, of_q.to(out_of.dtype.element_ty), mask=mask)
        tl.store(there + channels, of_k.to(out_of.dtype.element_ty), mask=mask)


@torch.library.custom_op("amir::attention_sums", mutates_args=())
def sums(
    qkv: Tensor, kernel: Tensor, heads: int, first: int, end: int
) -> tuple[Tensor, Tensor, Tensor]:
    """See `operators.attention_sums`; rows from `first` to `end`."""
    qkv, channels, rows = qkv.contiguous(), len(kernel) // 3, (first, end)
    v = depthwise.convolve(qkv, kernel[2 * channels :], first_channel=2 * channels, rows=rows)
    if not _fits(qkv, channels // heads):
        q, k = _queries_and_keys(qkv, kernel, heads, rows)
        lengths = torch.cat([x.square().sum(dim=2).flatten(1) for x in (q, k)], dim=1)
        return v, q.transpose(2, 3) @ k, lengths
    batch, height, width, _ = qkv.shape
    per_head = channels // heads
    columns = _columns(per_head)
    programs = _grid(batch, end - first, width, heads, columns)
    parts = programs[0] // batch * programs[1]
    products = qkv.new_empty(parts, batch, heads, per_head, per_head, dtype=torch.float32)
    squares = qkv.new_empty(parts, batch, 2 * channels, dtype=torch.float32)
    _sums[programs](
        qkv, depthwise.taps(kernel), products, squares, height, width, first, end - first,
        channels, PER_HEAD=per_head, PRECISION=_precision(qkv), ROWS=depthwise.ROWS,
        COLUMNS=columns, CHANNELS=_padded(per_head), num_warps=WARPS, num_stages=1,
    )  # fmt: skip
    return v, products.sum(0), squares.sum(0)


@sums.register_fake
def _(
    qkv: Tensor, kernel: Tensor, heads: int, first: int, end: int
) -> tuple[Tensor, Tensor, Tensor]:
    batch, _, width, _ = qkv.shape
    channels = len(kernel) // 3
    per_head = channels // heads
    return (
        qkv.new_empty(batch, end - first, width, channels),
        qkv.new_empty(batch, heads, per_head, per_head, dtype=torch.float32),
        qkv.new_empty(batch, 2 * channels, dtype=torch.float32),
    )


@torch.library.custom_op("amir::attention_sums_backward", mutates_args=())
def sums_backward(
    of_v: Tensor,
    of_products: Tensor,
    of_squares: Tensor,
    qkv: Tensor,
    kernel: Tensor,
    first: int,
    end: int,
) -> tuple[Tensor, Tensor]:
    """Gradients of qkv and of the kernel."""
    qkv, channels, rows = qkv.contiguous(), len(kernel) // 3, (first, end)
    of_qk = _of_queries_and_keys(of_products, of_squares, qkv, kernel, rows)
    of_qkv = torch.empty_like(qkv)
    parts = [(of_qk, 0), (of_v.contiguous(), 2 * channels)]
    of_kernel = [
        depthwise.gradient(
            depthwise.all_rows(part, qkv, rows),
            qkv,
            kernel[place : place + part.shape[3]],
            first_channel=place,
            out=of_qkv,
        )
        for part, place in parts
    ]
    return of_qkv, torch.cat(of_kernel)


@sums_backward.register_fake
def _(
    of_v: Tensor,
    of_products: Tensor,
    of_squares: Tensor,
    qkv: Tensor,
    kernel: Tensor,
    first: int,
    end: int,
) -> tuple[Tensor, Tensor]:
    return qkv.new_empty(qkv.shape), kernel.new_empty(kernel.shape)


def _keep(ctx, inputs, output) -> None:
    qkv, kernel, _, ctx.first, ctx.end = inputs
    ctx.save_for_backward(qkv, kernel)


def _backward(ctx, of_v: Tensor, of_products: Tensor, of_squares: Tensor):
    found = sums_backward(of_v, of_products, of_squares, *ctx.saved_tensors, ctx.first, ctx.end)
    return *found, None, None, None


sums.register_autograd(_backward, setup_context=_keep)


def _of_queries_and_keys(
    of_products: Tensor, of_squares: Tensor, qkv: Tensor, kernel: Tensor, rows: tuple[int, int]
) -> Tensor:
    """[B, rows, W, 2C], of qkv's type."""
    batch, height, width, _ = qkv.shape
    heads, per_head = of_products.shape[1:3]
    channels, (first, end) = heads * per_head, rows
    if not _fits(qkv, per_head):
        q, k = _queries_and_keys(qkv, kernel, heads, rows)
        twice_q, twice_k = (2 * of_squares).unflatten(1, (2, heads, 1, per_head)).unbind(1)
        both = k @ of_products.transpose(2, 3) + twice_q * q, q @ of_products + twice_k * k
        joined = torch.cat([x.transpose(1, 2).flatten(2) for x in both], dim=2).to(qkv.dtype)
        return joined.view(batch, end - first, width, 2 * channels)
    columns = _columns(per_head)
    out = qkv.new_empty(batch, end - first, width, 2 * channels)
    _sums_gradient[_grid(batch, end - first, width, heads, columns)](
        qkv, depthwise.taps(kernel), of_products.contiguous(), of_squares.contiguous(), out,
        height, width, first, end - first, channels, PER_HEAD=per_head,
        PRECISION=_precision(qkv), ROWS=depthwise.ROWS, COLUMNS=columns,
        CHANNELS=_padded(per_head), num_warps=WARPS, num_stages=1,
    )  # fmt: skip
    return out


def _queries_and_keys(
    qkv: Tensor, kernel: Tensor, heads: int, rows: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Each [B, heads, pixels, C/heads] in float32: what wide heads write for torch to multiply."""
    both = kernel[: len(kernel) // 3 * 2]
    qk = depthwise.convolve(qkv, both, first_channel=0, rows=rows).float()
    q, k = qk.flatten(1, 2).unflatten(2, (2, heads, -1)).permute(2, 0, 3, 1, 4)
    return q, k


def _fits(qkv: Tensor, per_head: int) -> bool:
    return per_head * qkv.element_size() <= WIDEST_HEAD * 4


def _grid(batch: int, rows: int, width: int, heads: int, columns: int) -> tuple[int, int, int]:
    """Programs: strips of all images, tiles of columns, heads."""
    return batch * triton.cdiv(rows, depthwise.ROWS), triton.cdiv(width, columns), heads


def _padded(per_head: int) -> int:
    return max(SMALLEST_PRODUCT, 1 << (per_head - 1).bit_length())


def _columns(per_head: int) -> int:
    return max(SMALLEST_PRODUCT, min(32, TILE // _padded(per_head)))


def _precision(qkv: Tensor) -> str:
    """bfloat16 fits into the tensor cores' tf32 without loss, float32 into three of them."""
    return "tf32x3" if qkv.dtype == torch.float32 else "tf32"


def attention_sums(
    qkv: Tensor, kernel: Tensor, heads: int, rows: slice = slice(None)
) -> tuple[Tensor, Tensor, Tensor]:
    """`operators.attention_sums`, with float32 sums whatever the type of qkv."""
    first, end = depthwise.bounds(rows, qkv.shape[1])
    v, products, squares = sums(qkv, kernel, heads, first, end)
    return v, products, squares
