"""The one restoration path: validation, the paper's tables, batch jobs and serving all take it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from amir.checkpoint import Checkpoint
from amir.config import IntensityScale
from amir.imaging import Scan, from_plane, to_plane
from amir.inference.padding import crop, pad
from amir.intensity import intensity_scale
from amir.modality import MODELLING_RANGES, TRAINING_PLANES, Modality
from amir.references import find_model

Slices = NDArray[np.float32]
PIXELS_PER_BATCH = 8 * 256 * 256  # bounds the memory of one forward


@dataclass(frozen=True)
class Restoration:
    """A restored scan and what a careful reader wants to know of it.

    clipped: voxels outside the modelling range, handed through unchanged. saturated: voxels that
    the file it was written to cannot hold, set to the nearest value.
    """

    scan: Scan
    clipped: int
    intensity_scale: float
    model_digest: str
    saturated: int = 0


class Restorer:
    """A network with what surrounds it: scale, range, plane, padding, batches.

    model: any network of the contract, degraded [B, 1, H, W] in 0..1 -> Restored; in evaluation
    mode, unless noise in the answer is wanted.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        intensity: IntensityScale | None = None,
        digest: str = "",
        device: str | torch.device = "cpu",
    ) -> None:
        self.model = model
        self.intensity = intensity or IntensityScale()
        self.digest = digest
        self.device = torch.device(device)

    @classmethod
    def load(
        cls,
        reference: str | Path,
        *,
        storage: Path = Path("storage"),
        tracking_uri: str | None = None,
        device: str | torch.device = "cpu",
    ) -> Restorer:
        """The model behind a reference of any kind; see `amir.references`."""
        checkpoint = find_model(str(reference), storage=storage, tracking_uri=tracking_uri)
        return cls.of(checkpoint, device=device)

    @classmethod
    def of(cls, checkpoint: Checkpoint, *, device: str | torch.device = "cpu") -> Restorer:
        network = checkpoint.network().to(device)
        return cls(network, intensity=checkpoint.intensity, digest=checkpoint.digest, device=device)

    def restore(self, scan: Scan) -> Restoration:
        """The scan restored in slices of the plane of training, on its own grid, in its units."""
        plane = TRAINING_PLANES[scan.modality]
        scale = intensity_scale(scan.voxels, scan.modality, self.intensity)
        degraded = to_plane(scan, plane).slices
        restored = self.restore_slices(degraded, scan.modality, scale=scale)
        clipped = int(np.count_nonzero(_outside(degraded * np.float32(scale), scan.modality)))
        return Restoration(from_plane(restored, scan, plane), clipped, scale, self.digest)

    def restore_slices(self, degraded: Slices, modality: Modality, *, scale: float = 1.0) -> Slices:
        """Slices [n, H, W] in physical units restored, units and size kept.

        scale: the scan's intensity scale, undone in the answer. Voxels outside the modelling range
        come back unchanged.
        """
        degraded = np.asarray(degraded, np.float32)
        restored = np.empty_like(degraded)
        for part in _batches(degraded):
            scaled = degraded[part] * np.float32(scale)
            image = self._forward(scaled, modality) / np.float32(scale)
            restored[part] = np.where(_outside(scaled, modality), degraded[part], image)
        return restored

    def restore_slice(self, degraded: Slices, modality: Modality, *, scale: float = 1.0) -> Slices:
        """One slice [H, W], as `restore_slices`."""
        restored: Slices = self.restore_slices(degraded[None], modality, scale=scale)[0]
        return restored

    @torch.inference_mode()
    def _forward(self, scaled: Slices, modality: Modality) -> Slices:
        limits = MODELLING_RANGES[modality]
        height, width = scaled.shape[-2:]
        network_input = torch.from_numpy(pad(limits.normalise(scaled)))[:, None]
        image = self.model(network_input.to(self.device)).image
        restored: Slices = limits.denormalise(image[:, 0].float().cpu().numpy())
        return crop(restored, height, width)


def _outside(scaled: Slices, modality: Modality) -> NDArray[np.bool_]:
    limits = MODELLING_RANGES[modality]
    return (scaled < limits.lower) | (scaled > limits.upper)


def _batches(slices: Slices) -> Iterator[slice]:
    """Parts of a stack that fit one forward."""
    count, height, width = slices.shape
    size = max(1, PIXELS_PER_BATCH // (height * width))
    for start in range(0, count, size):
        yield slice(start, start + size)
