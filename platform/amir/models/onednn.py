"""The operators on a CPU, through oneDNN, which torch brings along.

Matrix products of float32 go to oneDNN as 1x1 convolutions: torch's own `linear` takes MKL, which
on some CPUs runs at half of oneDNN's speed (docs/performance.md, benchmarks/products.py).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable


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


def gate(a: Tensor, b: Tensor) -> Tensor:
    """gelu(a) * b, of b's type; torch's gelu of bfloat16 takes three times as long as float32's."""
    return F.gelu(a.float()).mul_(b).to(b.dtype)


class GatedDepthwise(torch.autograd.Function):
    """gelu(a) * b with a, b = depthwise(wide); saves what the convolution read and wrote alone.

    Plain autograd would keep gelu(a) too, and copy the gradients of a and b to one place.
    """

    @staticmethod
    def forward(ctx: Any, wide: Tensor, kernel: Tensor) -> Tensor:
        convolved = _depthwise(wide, kernel)
        ctx.save_for_backward(wide, kernel, convolved)
        a, b = convolved.chunk(2, dim=-1)
        return gate(a, b)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        wide, kernel, convolved = ctx.saved_tensors
        a, b = convolved.chunk(2, dim=-1)
        of_convolved = torch.empty_like(convolved)
        of_a, of_b = of_convolved.chunk(2, dim=-1)
        wide_a = a.float()  # itself, or from bfloat16
        of_b.copy_(F.gelu(wide_a).mul_(gradient))
        of_a.copy_(torch.ops.aten.gelu_backward((gradient * b).float(), wide_a))
        return depthwise_backward(of_convolved, wide, kernel)


def depthwise_backward(gradient: Tensor, x: Tensor, kernel: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of x and of the kernel of a depthwise convolution, images channels-last."""
    of_x, of_kernel, _ = torch.ops.aten.convolution_backward(
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
        [True, True, False],
    )
    return of_x.permute(0, 2, 3, 1), of_kernel


def _depthwise(x: Tensor, kernel: Tensor) -> Tensor:
    convolved = F.conv2d(x.permute(0, 3, 1, 2), kernel, padding=1, groups=len(kernel))
    return convolved.permute(0, 2, 3, 1)
