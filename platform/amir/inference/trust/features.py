"""What a slice looks like in a few numbers: its intensities, its detail, what the network did to
it, and, where the network routes, by which way.

The first two dozen are the same for every network. They are compared with those of the slices a
network was trained on (`amir.inference.trust.outliers`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from amir.inference.trust.air import AIR

Images = NDArray[np.float32]
Features = NDArray[np.float64]

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
BANDS = (0.0, 1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)  # of the Nyquist frequency of each axis
SMALLEST = 1e-6  # of the range: below it, differences are rounding
SAMPLED = 4096  # pixels of a slice that quantiles are taken of

PLAIN = (
    "mean",
    "deviation",
    "air",
    *(f"quantile {share}" for share in QUANTILES),
    "noise",
    *(f"band {number}" for number in range(1, len(BANDS))),
    "change",
    "change of detail",
)


@torch.inference_mode()
def slice_features(
    degraded: Images,
    restored: Images,
    *,
    instruction: Images | None = None,
    expert_use: Mapping[str, Images] | None = None,
) -> Features:
    """[n, features] of n slices: `PLAIN`, then expert use by level, then the instruction.

    degraded, restored: [n, H, W], what the network was given and what it gave, 0..1, without
    padding. instruction: [n, width]. expert_use: by level, [n, M].
    """
    given, gave = (torch.from_numpy(np.ascontiguousarray(i))[:, None] for i in (degraded, restored))
    parts = [_intensities(given), _noise(given), _bands(given)]
    parts += [_strength(gave - given), _noise(gave - given)]
    routed = [*(expert_use or {}).values(), *([] if instruction is None else [instruction])]
    plain = torch.cat(parts, dim=1).numpy()
    return np.concatenate([plain, *routed], axis=1).astype(np.float64)


def _intensities(image: Tensor) -> Tensor:
    """[n, 9]: mean, deviation, share of air, quantiles."""
    pixels = image.flatten(1)
    sampled = pixels[:, :: max(1, pixels.shape[1] // SAMPLED)]
    quantiles = torch.quantile(sampled, torch.tensor(QUANTILES), dim=1).T
    air = (pixels < AIR).float().mean(dim=1)
    moments = [pixels.mean(dim=1), pixels.std(dim=1, correction=0), air]
    return torch.cat([torch.stack(moments, dim=1), quantiles], dim=1)


def _noise(image: Tensor) -> Tensor:
    """[n, 1]: decimal logarithm of the noise by a difference of Laplacians (Immerkaer, Computer
    Vision and Image Understanding 64(2), 1996), which edges hardly touch.
    """
    mask = image.new_tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])
    around = F.pad(image, (1, 1, 1, 1), mode="replicate")
    rough = F.conv2d(around, mask[None, None]).abs().flatten(1).mean(dim=1)
    return _logarithm(rough * float(np.sqrt(np.pi / 2) / 6))[:, None]


def _bands(image: Tensor) -> Tensor:
    """[n, 5]: decimal logarithm of the amplitude in square rings of k-space, the mean left out."""
    height, width = image.shape[-2:]
    spectrum = torch.fft.rfft2(image[:, 0], norm="forward")
    energy = spectrum.real.square() + spectrum.imag.square()
    energy[:, 0, 0] = 0
    rows = torch.fft.fftfreq(height, 0.5).abs()
    columns = torch.fft.rfftfreq(width, 0.5)
    ring = torch.bucketize(torch.maximum(rows[:, None], columns), energy.new_tensor(BANDS[1:-1]))
    sums = energy.new_zeros(len(energy), len(BANDS) - 1)
    sums.index_add_(1, ring.flatten(), energy.flatten(1))
    return _logarithm(sums.sqrt())


def _strength(change: Tensor) -> Tensor:
    """[n, 1]: decimal logarithm of the root mean square."""
    return _logarithm(change.flatten(1).square().mean(dim=1).sqrt())[:, None]


def _logarithm(amplitude: Tensor) -> Tensor:
    return torch.log10(amplitude + SMALLEST)
