"""Slices in physical units to what the networks take, and back."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from amir.inference.padding import crop, pad
from amir.modality import MODELLING_RANGES, Modality

Slices = NDArray[np.float32]


def to_network(degraded: Slices, modality: Modality, *, scale: float) -> Slices:
    """[..., H, W] in physical units to 0..1, padded to what the networks take."""
    limits = MODELLING_RANGES[modality]
    return pad(limits.normalise(degraded * np.float32(scale)))


def from_network(images: Slices, degraded: Slices, modality: Modality, *, scale: float) -> Slices:
    """What the network made of `degraded`, in its size and units.

    Voxels outside the modelling range come back as they were.
    """
    height, width = degraded.shape[-2:]
    physical = crop(MODELLING_RANGES[modality].denormalise(images), height, width)
    restored: Slices = np.where(
        outside(degraded, modality, scale=scale), degraded, physical / np.float32(scale)
    )
    return restored


def outside(degraded: Slices, modality: Modality, *, scale: float) -> NDArray[np.bool_]:
    """Which voxels, in physical units, lie outside the modelling range."""
    limits, scaled = MODELLING_RANGES[modality], degraded * np.float32(scale)
    beyond: NDArray[np.bool_] = (scaled < limits.lower) | (scaled > limits.upper)
    return beyond
