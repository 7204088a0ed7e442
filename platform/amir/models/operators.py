"""What the blocks spend their time in, as operators; this is the reference, in plain torch.

A faster implementation of one takes the same tensors and answers the same up to rounding. Images
are channels-last, [B, H, W, channels]. Bytes are those of one pixel that a kernel has to read and
write once, at `e` bytes per element (float32 4, bfloat16 2); plain torch moves several times
as many.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from amir.models import onednn

EVERY_ROW = slice(None)


def added(x: Tensor, y: Tensor) -> Tensor:
    """x + y, of x's type, which is y's or a wider one: on a CPU torch is slow to add two types."""
    return x + (y.to(x.dtype) if x.device.type == "cpu" else y)


def pixelwise(x: Tensor, weight: Tensor) -> Tensor:
    """x [B, H, W, C] times weight [N, C], for every pixel: [B, H, W, N], a 1x1 convolution.

    Moves (C + N) * e bytes per pixel, 2CN operations.
    """
    if x.dtype == torch.float32 and onednn.fits(x):
        return onednn.pixelwise(x, weight)
    return F.linear(x, weight)


def pixelwise_per_image(x: Tensor, weights: Tensor) -> Tensor:
    """The same with a matrix for each image: weights [B, N, C]."""
    if x.dtype == torch.float32 and onednn.fits(x):
        images = zip(x.split(1), weights, strict=True)
        return torch.cat([onednn.pixelwise(image, weight) for image, weight in images])
    products = torch.bmm(x.flatten(1, 2), weights.transpose(1, 2))
    return products.view(*x.shape[:-1], -1)


def gated_depthwise(wide: Tensor, kernel: Tensor, rows: slice = EVERY_ROW) -> Tensor:
    """gelu(a) * b with a, b = the 3x3 depthwise convolution of `wide`, zeros around it.

    wide: [B, H, W, 2F]. kernel: [2F, 1, 3, 3]. rows: of the image, whose results are wanted.
    [B, rows, W, F], of wide's type. Moves 3F * e bytes per pixel; 36F operations beside the gelu.
    The GDFN of Restormer (Zamir et al., CVPR 2022, Eq. 4) between its two projections.
    """
    if onednn.fits(wide) and torch.is_grad_enabled() and rows == EVERY_ROW:
        gated: Tensor = onednn.GatedDepthwise.apply(wide, kernel)
        return gated
    a, b = onednn.depthwise(wide, kernel)[:, rows].chunk(2, dim=-1)
    return onednn.gate(a, b) if onednn.fits(wide) else F.gelu(a) * b


def attention_sums(
    qkv: Tensor, kernel: Tensor, heads: int, rows: slice = EVERY_ROW
) -> tuple[Tensor, Tensor, Tensor]:
    """v, q k^T and (|q|^2, |k|^2) with q, k, v = the 3x3 depthwise convolution of `qkv`.

    qkv: [B, H, W, 3C]. kernel: [3C, 1, 3, 3]. rows: of the image, which are summed and returned.
    v: [B, rows, W, C], contiguous, of qkv's type. products: [B, heads, C/heads, C/heads], squares:
    [B, 2C], each a sum over pixels in float32 or better. Moves 4C * e bytes per pixel: q and k are
    never written; 54C + 2C^2/heads operations. The MDTA of Restormer (Zamir et al., CVPR 2022,
    Eq. 1) up to its softmax; normalising the products spares normalising q and k.
    """
    if onednn.fits(qkv) and torch.is_grad_enabled() and rows == EVERY_ROW:
        summed: tuple[Tensor, Tensor, Tensor] = onednn.AttentionSums.apply(qkv, kernel, heads)
        return summed
    q, k, v = onednn.depthwise(qkv, kernel)[:, rows].flatten(1, 2).chunk(3, dim=-1)
    # A copy, or q and k would stay in memory with their v.
    kept = v.unflatten(1, (-1, qkv.shape[2])).contiguous()
    q, k = (_at_least_float32(part) for part in (q, k))
    products = _by_head(q, heads).transpose(2, 3) @ _by_head(k, heads)
    squares = torch.cat([q.square().sum(dim=1), k.square().sum(dim=1)], dim=1)
    return kept, products, squares


def _by_head(x: Tensor, heads: int) -> Tensor:
    """[B, pixels, C] to [B, heads, pixels, C/heads]."""
    by_head: Tensor = x.unflatten(2, (heads, -1))
    return by_head.transpose(1, 2)


def _at_least_float32(x: Tensor) -> Tensor:
    """Thousands of pixels are summed: bfloat16 would lose all but the first hundreds."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x
