"""The operators on a CPU, through oneDNN, which torch brings along.

Matrix products of float32 go to oneDNN as 1x1 convolutions: torch's own `linear` takes MKL, which
on some CPUs runs at half of oneDNN's speed (docs/performance.md, benchmarks/products.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

BAND_VALUES = 500_000


def fits(x: Tensor) -> bool:
    """Whether these forms take such a tensor here. A compiled or exported program holds the plain
    ones.
    """
    return bool(
        not torch.compiler.is_compiling()
        and x.device.type == "cpu"
        and x.dtype in (torch.float32, torch.bfloat16)
        and torch.backends.mkldnn.is_available()
        and torch.backends.mkldnn.enabled
    )


def pixelwise(x: Tensor, weight: Tensor) -> Tensor:
    """`operators.pixelwise` as a convolution.

    Rows of pixels stand in as images: below 16 images torch sends a 1x1 convolution of a single
    thread elsewhere.
    """
    rows = x.reshape(-1, 1, *x.shape[2:]).permute(0, 3, 1, 2)
    convolved = F.conv2d(rows, weight[:, :, None, None])
    return convolved.permute(0, 2, 3, 1).reshape(*x.shape[:-1], len(weight))


def gate(a: Tensor, b: Tensor, out: Tensor | None = None) -> Tensor:
    """gelu(a) * b, of b's type; torch's gelu of bfloat16 takes three times as long as float32's."""
    return torch.mul(F.gelu(a.float()).to(b.dtype), b, out=out)


def bands(x: Tensor) -> Iterator[slice]:
    """Rows of x [B, H, W, C], so few at a time that what is found in between stays in the cache."""
    rows = max(1, BAND_VALUES // (len(x) * x.shape[2] * x.shape[3]))
    for top in range(0, x.shape[1], rows):
        yield slice(top, top + rows)


class GatedDepthwise(torch.autograd.Function):
    """gelu(a) * b with a, b = depthwise(wide); saves what the convolution read and wrote alone.

    Plain autograd would keep gelu(a) too, and copy the gradients of a and b to one place.
    """

    @staticmethod
    def forward(ctx: Any, wide: Tensor, kernel: Tensor) -> Tensor:
        convolved = depthwise(wide, kernel)
        ctx.save_for_backward(wide, kernel, convolved)
        a, b = convolved.chunk(2, dim=-1)
        gated = a.new_empty(a.shape)
        for rows in bands(a):
            gate(a[:, rows], b[:, rows], out=gated[:, rows])
        return gated

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        wide, kernel, convolved = ctx.saved_tensors
        a, b = convolved.chunk(2, dim=-1)
        of_convolved = torch.empty_like(convolved)
        of_a, of_b = of_convolved.chunk(2, dim=-1)
        for rows in bands(a):
            wide_a, of_gated = a[:, rows].float(), gradient[:, rows]
            torch.mul(F.gelu(wide_a).to(b.dtype), of_gated, out=of_b[:, rows])
            of_a[:, rows] = torch.ops.aten.gelu_backward((of_gated * b[:, rows]).float(), wide_a)
        return depthwise_backward(of_convolved, wide, kernel)


class AttentionSums(torch.autograd.Function):
    """`operators.attention_sums`; the gradients of q and k are one product over all pixels.

    Plain autograd would keep float32 copies of bfloat16's q and k, and read and write them for
    each of products and squares anew.
    """

    @staticmethod
    def forward(ctx: Any, qkv: Tensor, kernel: Tensor, heads: int) -> tuple[Tensor, Tensor, Tensor]:
        convolved = depthwise(qkv, kernel)
        ctx.save_for_backward(qkv, kernel, convolved)
        channels = convolved.shape[-1] // 3
        qk, v = convolved.split([2 * channels, channels], dim=-1)
        parts = [pixel_sums(qk[:, rows], heads) for rows in bands(qk)]
        products, squares = (torch.stack(part).sum(0) for part in zip(*parts, strict=True))
        return v.contiguous(), products, squares

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, of_v: Tensor, of_products: Tensor, of_squares: Tensor
    ) -> tuple[Tensor, Tensor, None]:
        qkv, kernel, convolved = ctx.saved_tensors
        channels = of_v.shape[-1]
        of_convolved = torch.empty_like(convolved)
        of_convolved[..., 2 * channels :] = of_v
        weights = AttentionSums._weights(of_products, of_squares).to(convolved.dtype)
        for image, weight in enumerate(weights):
            qk = convolved[image : image + 1, ..., : 2 * channels]
            of_convolved[image : image + 1, ..., : 2 * channels] = pixelwise(qk, weight)
        return *depthwise_backward(of_convolved, qkv, kernel), None

    @staticmethod
    def _weights(of_products: Tensor, of_squares: Tensor) -> Tensor:
        """[B, 2C, 2C], what a pixel's q and k add to their own gradients.

        q gets k times the gradient of its products and twice q times that of its square; k too.
        """
        own = torch.diag_embed(2 * of_squares)
        channels = own.shape[-1] // 2
        across = torch.stack([torch.block_diag(*image) for image in of_products])
        own[:, :channels, channels:] = across
        own[:, channels:, :channels] = across.transpose(1, 2)
        return own


def pixel_sums(qk: Tensor, heads: int) -> tuple[Tensor, Tensor]:
    """q k^T of each head [B, heads, C/heads, C/heads] and (|q|^2, |k|^2) [B, 2C], in float32."""
    wide = qk.flatten(1, 2).float()
    q, k = (part.unflatten(2, (heads, -1)).transpose(1, 2) for part in wide.chunk(2, dim=-1))
    return q.transpose(2, 3) @ k, wide.square().sum(dim=1)


def depthwise_backward(gradient: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the kernel of a depthwise convolution, images channels-last.

    That of x is a convolution too, which oneDNN does in half of the time of its own backward one.
    """
    _, of_kernel, _ = torch.ops.aten.convolution_backward(
        gradient.permute(0, 3, 1, 2),
        x.permute(0, 3, 1, 2),
        kernel,
        None,
        [1, 1],
        [1, 1],
        [1, 1],
        False,
        [0, 0],
        len(kernel),
        [False, True, False],
    )
    # With a new tensor's strides, else DDP copies it and says so.
    return depthwise(gradient, kernel.flip(2, 3)), of_kernel.view(kernel.shape)


def depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    """[B, H, W, C] in and out; torch calls the permuted view channels_last."""
    convolved = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding=1, groups=len(kernel))
    return convolved.permute(0, 2, 3, 1)
