"""Blocks that several networks share: Restormer's (Zamir et al., CVPR 2022).

Images run through these blocks channels-last, [B, H, W, C]: 1x1 convolutions are then plain matrix
products, the layer norm reads memory in order, and bands of rows fit the cache. The arithmetic is
the published one up to rounding, in about half of its time on a CPU.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from amir.models.operators import (
    added,
    attention_sums,
    gated_depthwise,
    pixelwise,
    pixelwise_per_image,
)

GDFN_EXPANSION = 2.66
ALIGNMENT = 16
STRIP_VALUES = 4_000_000
SMALLEST_STRIP = 8


def sum_over_workers(tensor: Tensor) -> Tensor:
    """The tensor summed over the training workers; itself where there is but one process.

    The gradient is summed likewise. A loss made of such sums is the same on every worker, each
    worker's gradient holds its own share times the number of workers, and DDP's average takes that
    factor out again: the result is the gradient that one worker would find on the joined batch.
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return tensor
    summed: Tensor = _SumOverWorkers.apply(tensor)
    return summed


class _SumOverWorkers(torch.autograd.Function):
    """All-reduce, and all-reduce of the gradient; torch's own with a gradient is deprecated."""

    @staticmethod
    def forward(ctx: Any, tensor: Tensor) -> Tensor:
        summed = tensor.clone()
        torch.distributed.all_reduce(summed)
        return summed

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        summed = gradient.clone()
        torch.distributed.all_reduce(summed)
        return summed


def recomputed(
    run: Callable[[Tensor], Tensor], x: Tensor, parameters: list[nn.Parameter]
) -> Tensor:
    """run(x), of which nothing but x is kept for the gradient: `run` is called again for that.

    The first call is an evaluation, so a CPU has it in strips; no random numbers may be drawn.
    Unlike torch's checkpoints, the parameters are told of: DDP sees their gradients as usual.
    """
    found: Tensor = _Recomputed.apply(run, x, *parameters)
    return found


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, run: Callable[[Tensor], Tensor], x: Tensor, *parameters: Tensor
    ) -> Tensor:
        ctx.run = run
        ctx.save_for_backward(x, *parameters)
        return run(x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, *parameters = ctx.saved_tensors
        x = x.detach().requires_grad_()
        wanted = [p for p in parameters if p.requires_grad]
        with torch.enable_grad():
            again = ctx.run(x)
        of_x, *found = torch.autograd.grad(again, (x, *wanted), gradient)
        rest = iter(found)
        return None, of_x, *(next(rest) if p.requires_grad else None for p in parameters)


def convolve(convolution: nn.Module, x: Tensor) -> Tensor:
    """Apply a [B, C, H, W] layer to x [B, H, W, C]; torch calls the permuted view channels_last."""
    convolved: Tensor = convolution(x.permute(0, 3, 1, 2))
    return convolved.permute(0, 2, 3, 1)


def conv3x3(inputs: int, outputs: int, *, groups: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size, without bias."""
    return nn.Conv2d(inputs, outputs, 3, padding=1, groups=groups, bias=False)


def strips(x: Tensor, width: int) -> Iterator[tuple[Tensor, slice]]:
    """x [B, H, W, C] in bands of rows, and which rows of a band are its own.

    A band brings one row of each neighbour along, what a 3x3 convolution needs to see. Evaluation
    on a CPU runs much faster when what a layer writes (`width` values per pixel) stays in the
    cache. Training needs all of it for the gradient, a GPU is fast with all, and an exported
    program can have no number of bands that goes by the size: then there is one.
    """
    if x.device.type != "cpu" or torch.is_grad_enabled() or torch.compiler.is_exporting():
        yield x, slice(None)
        return
    height = x.shape[1]
    own_rows = max(SMALLEST_STRIP, STRIP_VALUES // (len(x) * x.shape[2] * width))
    for top in range(0, height, own_rows):
        first = max(top - 1, 0)
        yield x[:, first : top + own_rows + 1], slice(top - first, top - first + own_rows)


def joined(bands: Sequence[Tensor]) -> Tensor:
    """The image again; a single band is not copied."""
    return bands[0] if len(bands) == 1 else torch.cat(list(bands), dim=1)


class PixelSums(nn.Module):
    """The sums over all pixels that attention is made of, as they are; who restores an image in
    tiles puts those of the whole image in their place (`amir.inference.tile_attention`).
    """

    def forward(self, products: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
        return products, squares


def _as(precision: torch.dtype | None, tensor: Tensor) -> Tensor:
    return tensor if precision is None else tensor.to(precision)


class MDTA(nn.Module):
    """Multi-Dconv head transposed attention of the normed x. [B, H, W, C] in and out.

    The channels of a head attend to each other over all pixels:
    project(softmax(temperature * q k^T / (|q| |k|)) v), with q, k, v = depthwise(qkv(norm(x))).
    precision: of the products and convolutions over pixels, x's own if None; sums over pixels, norm
    and softmax keep float32.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(channels, 3 * channels, bias=False)
        self.depthwise = conv3x3(3 * channels, 3 * channels, groups=3 * channels)
        self.project = nn.Linear(channels, channels, bias=False)
        self.sums = PixelSums()
        self.attention_sums = attention_sums  # or its twin: amir.models.kernel_choice
        self.precision: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        qkv, depthwise = (_as(self.precision, w.weight) for w in (self.qkv, self.depthwise))
        values, products, squares = [], [], []
        for band, own in strips(x, width=len(qkv)):
            normed = _as(self.precision, self.norm(band))
            v, product, square = self.attention_sums(
                pixelwise(normed, qkv), depthwise, len(self.temperature), own
            )
            values.append(v)
            products.append(product)
            squares.append(square)
        attention = self._attention(
            *self.sums(torch.stack(products).sum(0), torch.stack(squares).sum(0))
        )
        mixing = _as(self.precision, self._mixing(attention))
        return joined([pixelwise_per_image(v, mixing) for v in values])

    def _attention(self, products: Tensor, squares: Tensor) -> Tensor:
        """[B, heads, C/heads, C/heads]; normalising the products spares normalising q and k.

        products: q k^T over all pixels, of the same shape. squares: |q|^2 and |k|^2, [B, 2C].
        """
        # Clamped before the root: in an image of nothing but air q is 0, where the root is steep.
        norms = squares.clamp_min(1e-24).sqrt().unflatten(1, (2, len(self.temperature), -1))
        cosines = products / (norms[:, 0, :, :, None] * norms[:, 1, :, None, :])
        attention: Tensor = (cosines * self.temperature).softmax(dim=-1)
        return attention

    def _mixing(self, attention: Tensor) -> Tensor:
        """Attention and projection as one matrix [B, C, C], so that v is read once."""
        project = self.project.weight.unflatten(1, (attention.shape[1], -1))
        mixing: Tensor = torch.einsum("ohc,bhcd->bohd", project, attention).flatten(2)
        return mixing


class GDFN(nn.Module):
    """Gated-Dconv feed-forward network of the normed x. [B, H, W, C] in and out.

    project(gelu(a) * b) with a, b = depthwise(expand(norm(x))). precision: as of MDTA.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = int(channels * GDFN_EXPANSION)
        self.norm = nn.LayerNorm(channels)
        self.expand = nn.Linear(channels, 2 * hidden, bias=False)
        self.depthwise = conv3x3(2 * hidden, 2 * hidden, groups=2 * hidden)
        self.project = nn.Linear(hidden, channels, bias=False)
        self.gated_depthwise = gated_depthwise  # or its twin: amir.models.kernel_choice
        self.precision: torch.dtype | None = None

    def forward(self, x: Tensor) -> Tensor:
        expand, depthwise, project = self._aligned_weights()
        fed = []
        for band, own in strips(x, width=len(expand)):
            normed = _as(self.precision, self.norm(band))
            gated = self.gated_depthwise(pixelwise(normed, expand), depthwise, own)
            fed.append(pixelwise(gated, project))
        return joined(fed)

    def _aligned_weights(self) -> tuple[Tensor, Tensor, Tensor]:
        """The weights with zero channels added to the hidden width, which tends to be odd.

        Matrix products run up to 1.5 times faster on aligned rows; zeros add nothing: gelu(0) = 0.
        """
        extra = -self.project.in_features % ALIGNMENT
        layers = (self.expand, self.depthwise, self.project)
        expand, depthwise, project = (_as(self.precision, layer.weight) for layer in layers)
        expand = F.pad(expand.unflatten(0, (2, -1)), (0, 0, 0, extra))
        depthwise = F.pad(depthwise.unflatten(0, (2, -1)), (*[0] * 7, extra))
        project = F.pad(project, (0, extra))
        return expand.flatten(0, 1), depthwise.flatten(0, 1), project


class TransformerBlock(nn.Module):
    """x + MDTA(norm(x)), then x + GDFN(norm(x)). [B, H, W, C] in and out.

    recompute: keep nothing but x for the gradient, and find the rest once more when it is due.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.attention = MDTA(channels, heads)
        self.feed_forward = GDFN(channels)
        self.recompute = False

    def forward(self, x: Tensor) -> Tensor:
        if self.recompute and torch.is_grad_enabled():
            return recomputed(self.compute, x, list(self.parameters()))
        return self.compute(x)

    def compute(self, x: Tensor) -> Tensor:
        """The block itself, whatever is kept of it."""
        x = added(x, self.attention(x))
        return added(x, self.feed_forward(x))


def transformer_blocks(number: int, channels: int, heads: int) -> nn.Sequential:
    return nn.Sequential(*(TransformerBlock(channels, heads) for _ in range(number)))


class Downsample(nn.Module):
    """[B, H, W, C] to [B, H/2, W/2, 2C]: 3x3 convolution, then 2x2 pixels become channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, channels // 2)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(nn.PixelUnshuffle(2), convolve(self.conv, x)).contiguous()


class Upsample(nn.Module):
    """[B, H, W, C] to [B, 2H, 2W, C/2]: 3x3 convolution, then channels become 2x2 pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = conv3x3(channels, 2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        return convolve(nn.PixelShuffle(2), convolve(self.conv, x)).contiguous()
