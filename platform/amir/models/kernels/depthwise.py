"""The 3x3 depthwise convolution of [B, H, W, C] images, zeros around them: what the kernels share.

A program slides down a strip of rows over a tile of columns and channels. It reads each row three
times (as it is, and shifted to either side; all but one from the cache), and adds it to the three
rows of results that it has a part in, which stay in registers. So memory is read once but for the
two rows beside each strip, and nothing is written before it is done. Sums are float32, whatever the
images are. The blocks are as large as registers allow without spilling (ptxas, sm_90); not tuned.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

ROWS = 16
COLUMNS = 16
CHANNELS = 32
WARPS = 4


@triton.jit
def load_taps(taps, channel, channels):
    """The nine weights of each channel, row by row; taps: [9, channels]."""
    inside = channel < channels
    return (
        tl.load(taps + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + channels + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + 2 * channels + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + 3 * channels + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + 4 * channels + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + 5 * channels + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + 6 * channels + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + 7 * channels + channel, mask=inside, other=0.0)[None, :],
        tl.load(taps + 8 * channels + channel, mask=inside, other=0.0)[None, :],
    )


@triton.jit
def load_row(image, y, x, channel, height, width, stride, inside):
    """Row y as float32, zero outside the image, at columns x - 1, x, x + 1: [columns, channels].

    stride: elements from a pixel to the next. inside: which channels exist.
    """
    here = image + (y * width + x)[:, None] * stride + channel[None, :]
    exists = inside[None, :] & (y >= 0) & (y < height)
    left = tl.load(here - stride, mask=exists & ((x >= 1) & (x <= width))[:, None], other=0.0)
    centre = tl.load(here, mask=exists & (x < width)[:, None], other=0.0)
    right = tl.load(here + stride, mask=exists & (x + 1 < width)[:, None], other=0.0)
    return left.to(tl.float32), centre.to(tl.float32), right.to(tl.float32)


@triton.jit
def slide(above, middle, row, taps):
    """A row more: the finished result of the row above it, and the two that are under way.

    above, middle: so far, of the row above and of this one.
    """
    left, centre, right = row
    done = above + left * taps[6] + centre * taps[7] + right * taps[8]
    middle = middle + left * taps[3] + centre * taps[4] + right * taps[5]
    below = left * taps[0] + centre * taps[1] + right * taps[2]
    return done, middle, below


@triton.jit
def place(height, rows_per_program):
    """Which image, counted in 64 bits, and which first row the program of this number has."""
    strips = tl.cdiv(height, rows_per_program)
    number = tl.program_id(0)
    return (number // strips).to(tl.int64), (number % strips) * rows_per_program


@triton.jit
def _convolve(
    x_of, taps_of, out_of, height, width, first_row, rows, first_channel, channels, all_channels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, row = place(rows, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < channels
    taps = load_taps(taps_of, channel, channels)
    x_of += image * height * width * all_channels + first_channel
    out_of += image * rows * width * channels
    above = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    middle = tl.zeros((COLUMNS, CHANNELS), tl.float32)
    for step in range(ROWS + 2):
        y = first_row + row + step - 1
        line = load_row(x_of, y, column, channel, height, width, all_channels, inside)
        done, above, middle = slide(above, middle, line, taps)
        finished = row + step - 2
        there = out_of + (finished * width + column)[:, None] * channels + channel[None, :]
        wanted = (step >= 2) & (finished < rows)
        mask = wanted & (column < width)[:, None] & inside[None, :]
        tl.store(there, done.to(out_of.dtype.element_ty), mask=mask)


@triton.jit
def _gradient(
    gradient_of, x_of, taps_of, out_of, sums_of,
    height, width, first_channel, channels, all_channels,
    ROWS: tl.constexpr, COLUMNS: tl.constexpr, CHANNELS: tl.constexpr,
):  # fmt: skip
    image, row = place(height, ROWS)
    column = tl.program_id(1) * COLUMNS + tl.arange(0, COLUMNS)
    channel = tl.program_id(2) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < channels
    taps = load_taps(taps_of, channel, channels)  # turned by half: [8 - number]
    gradient_of += image * height * width * channels
    x_of += image * height * width * all_channels + first_channel
    out_of += image * height * width * all_channels + first_channel
    shape: tl.constexpr = (COLUMNS, CHANNELS)
    above, middle = tl.zeros(shape, tl.float32), tl.zeros(shape, tl.float32)
    x_above, x_middle = tl.zeros(shape, tl.float32), tl.zeros(shape, tl.float32)
    t0, t1, t2 = (
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
    )
    t3, t4, t5 = (
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
    )
    t6, t7, t8 = (
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
        tl.zeros(shape, tl.float32),
    )
    within = (column < width)[:, None] & inside[None, :]
    for step in range(ROWS + 2):
        y = row + step - 1
        line = load_row(gradient_of, y, column, channel, height, width, channels, inside)
        done, above, middle = slide(above, middle, line, taps)
        finished = y - 1
        offset = (finished * width + column)[:, None] * all_channels + channel[None, :]
        wanted = (step >= 2) & (finished < height) & within
        tl.store(out_of + offset, done.to(out_of.dtype.element_ty), mask=wanted)
        # The strip's own rows of x, each beside the three rows of the gradient around it.
        own = (step < ROWS) & (y + 1 < height) & within
        x_below = tl.load(x_of + offset + 2 * width * all_channels, mask=own, other=0.0)
        x_below = x_below.to(tl.float32)
        left, centre, right = line
        t0, t1, t2 = t0 + right * x_above, t1 + centre * x_above, t2 + left * x_above
        t3, t4, t5 = t3 + right * x_middle, t4 + centre * x_middle, t5 + left * x_middle
        t6, t7, t8 = t6 + right * x_below, t7 + centre * x_below, t8 + left * x_below
        x_above, x_middle = x_middle, x_below
    program = tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    sums_of += program.to(tl.int64) * 9 * channels + channel
    tl.store(sums_of, tl.sum(t0, axis=0), mask=inside)
    tl.store(sums_of + channels, tl.sum(t1, axis=0), mask=inside)
    tl.store(sums_of + 2 * channels, tl.sum(t2, axis=0), mask=inside)
    tl.store(sums_of + 3 * channels, tl.sum(t3, axis=0), mask=inside)
    tl.store(sums_of + 4 * channels, tl.sum(t4, axis=0), mask=inside)
    tl.store(sums_of + 5 * channels, tl.sum(t5, axis=0), mask=inside)
    tl.store(sums_of + 6 * channels, tl.sum(t6, axis=0), mask=inside)
    tl.store(sums_of + 7 * channels, tl.sum(t7, axis=0), mask=inside)
    tl.store(sums_of + 8 * channels, tl.sum(t8, axis=0), mask=inside)


def taps(kernel: Tensor) -> Tensor:
    """[C, 1, 3, 3] as float32 [9, C]: what lies side by side is read side by side."""
    return kernel.flatten(1).t().float().contiguous()


def convolve(x: Tensor, kernel: Tensor, *, first_channel: int, rows: tuple[int, int]) -> Tensor:
    """The convolution of the last channels of x, from the first on: [B, rows, W, channels].

    x: [B, H, W, all]. kernel: [channels, 1, 3, 3]. rows: first and end. Moves 2 * channels elements
    per pixel.
    """
    batch, height, width, all_channels = x.shape
    channels, (first, end) = len(kernel), rows
    out = x.new_empty(batch, end - first, width, channels)
    _convolve[grid(batch, end - first, width, channels)](
        x, taps(kernel), out, height, width, first, end - first, first_channel, channels,
        all_channels, ROWS=ROWS, COLUMNS=COLUMNS, CHANNELS=CHANNELS, num_warps=WARPS,
    )  # fmt: skip
    return out


def gradient(
    of_result: Tensor, x: Tensor, kernel: Tensor, *, first_channel: int, out: Tensor
) -> Tensor:
    """Of the convolution: writes x's gradient into `out`, returns the kernel's, both from one pass.

    of_result: [B, H, W, channels]. x, out: [B, H, W, all]. kernel: [channels, 1, 3, 3]. Moves 3 *
    channels elements per pixel. Each program leaves its sum for the kernel; torch adds them up, in
    the same order each time.
    """
    batch, height, width, all_channels = x.shape
    channels = len(kernel)
    programs = grid(batch, height, width, channels)
    sums = x.new_empty(programs[0] * programs[1], 9, channels, dtype=torch.float32)
    _gradient[programs](
        of_result, x, taps(kernel).flip(0), out, sums, height, width, first_channel, channels,
        all_channels, ROWS=ROWS, COLUMNS=COLUMNS, CHANNELS=CHANNELS, num_warps=WARPS,
    )  # fmt: skip
    return sums.sum(0).t().contiguous().view(kernel.shape).to(kernel.dtype)


def bounds(rows: slice, height: int) -> tuple[int, int]:
    """First row and end of a slice that counts from the top; torch 2.11 cannot trace `indices`."""
    return rows.start or 0, height if rows.stop is None else min(rows.stop, height)


def all_rows(part: Tensor, x: Tensor, rows: tuple[int, int]) -> Tensor:
    """Some rows of an image [B, rows, W, C] with zeros in place of the others: [B, H, W, C]."""
    first, end = rows
    missing = (first, x.shape[1] - end)
    return part if missing == (0, 0) else F.pad(part, (0, 0, 0, 0, *missing))


def grid(batch: int, rows: int, width: int, channels: int) -> tuple[int, int, int]:
    """Programs: strips of all images, tiles of columns, tiles of channels."""
    return (
        batch * triton.cdiv(rows, ROWS),
        triton.cdiv(width, COLUMNS),
        triton.cdiv(channels, CHANNELS),
    )
