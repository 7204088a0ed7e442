"""The network as one program file that runs without this library, for any height and width."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

MULTIPLE = 8  # of which height and width must be; see amir.inference.padding
SIZES = ((64, 48), (40, 104), (128, 128))  # the first one is traced, all are compared
LARGEST = 512  # multiples of 8: pixels along an axis


class _Image(nn.Module):
    """A network of the contract as a plain function of one tensor."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, degraded: Tensor) -> Tensor:
        image: Tensor = self.network(degraded).image
        return image


def write_program(network: nn.Module, path: Path) -> float:
    """Export the network with torch.export and return the largest deviation of its answers.

    The program takes one slice, [1, 1, H, W] in 0..1, H and W any multiples of 8 from 16 to 4096,
    and runs in any torch that reads it: torch.export.load(path).module()(slice).
    """
    program = torch.export.export(
        _Image(network).eval(),
        (_noise(*SIZES[0]),),
        dynamic_shapes=({2: _axis("h"), 3: _axis("w")},),
    )
    torch.export.save(program, path)
    return _deviation(network, path)


@torch.inference_mode()
def _deviation(network: nn.Module, path: Path) -> float:
    """Of the stored program from the network, on noise of several sizes; the image is 0..1."""
    program = torch.export.load(path).module()
    images = [_noise(*size) for size in SIZES]
    return max(float((program(x) - network(x).image).abs().max()) for x in images)


def _noise(height: int, width: int) -> Tensor:
    return torch.rand(1, 1, height, width, generator=torch.Generator().manual_seed(0))


def _axis(name: str) -> torch.export.Dim:
    return MULTIPLE * torch.export.Dim(name, min=2, max=LARGEST)
