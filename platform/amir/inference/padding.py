"""Pad slices to what the networks take, and crop back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MULTIPLE = 8  # three halvings
MINIMUM = 16  # the instruction network needs at least 9 pixels


def pad(slices: NDArray[np.float32]) -> NDArray[np.float32]:
    """[..., H, W] grown at bottom and right, by reflection, to multiples of 8 and at least 16.

    Not exact: what averages over a slice (the instruction, channel attention) sees the reflected
    pixels as well. Sides smaller than what is missing are reflected back and forth.
    """
    height, width = slices.shape[-2:]
    grow = [(0, 0)] * (slices.ndim - 2) + [(0, _missing(height)), (0, _missing(width))]
    return np.pad(slices, grow, mode="reflect")


def crop(slices: NDArray[np.float32], height: int, width: int) -> NDArray[np.float32]:
    """The inverse of `pad`."""
    return slices[..., :height, :width]


def padded_size(height: int, width: int) -> tuple[int, int]:
    """What `pad` makes of a slice of this size."""
    return height + _missing(height), width + _missing(width)


def _missing(size: int) -> int:
    return max(MINIMUM, -(-size // MULTIPLE) * MULTIPLE) - size
