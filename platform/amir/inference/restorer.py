"""The one restoration path: validation, the paper's tables, batch jobs and serving all take it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from amir.checkpoint import Checkpoint
from amir.config import IntensityScale
from amir.imaging import Scan
from amir.inference.above_range import bright_slices, with_bright_voxels
from amir.inference.normalising import from_network, to_network
from amir.inference.scan_restoration import Restoration, cut_scan
from amir.inference.transfer import to_device, to_host
from amir.modality import Modality
from amir.references import find_model

Slices = NDArray[np.float32]
PIXELS_PER_BATCH = 8 * 256 * 256  # bounds the memory of one forward


class Restorer:
    """A network with what surrounds it: scale, range, plane, padding, batches.

    model: any network of the contract, degraded [B, 1, H, W] in 0..1 -> Restored; in evaluation
    mode, unless noise in the answer is wanted. above_range: what `restore` does with voxels above
    the range of training; scores and tables, which look inside it alone, keep them.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        intensity: IntensityScale | None = None,
        digest: str = "",
        device: str | torch.device = "cpu",
        above_range: Literal["keep", "restore"] = "keep",
    ) -> None:
        self.model = model
        self.intensity = intensity or IntensityScale()
        self.digest = digest
        self.device = torch.device(device)
        self.above_range = above_range

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
    def of(
        cls,
        checkpoint: Checkpoint,
        *,
        device: str | torch.device = "cpu",
        above_range: Literal["keep", "restore"] = "keep",
    ) -> Restorer:
        return cls(
            checkpoint.network().to(device),
            intensity=checkpoint.intensity,
            digest=checkpoint.digest,
            device=device,
            above_range=above_range,
        )

    def restore(self, scan: Scan) -> Restoration:
        """The scan restored in slices of the plane of training, on its own grid, in its units."""
        cut = cut_scan(scan, self.intensity)
        restored = self.restore_stack(cut.slices, scan.modality, scale=cut.scale)
        return cut.restored(restored, model_digest=self.digest)

    def restore_stack(self, degraded: Slices, modality: Modality, *, scale: float) -> Slices:
        """All slices of a scan, [n, H, W]; what lies above the range as the restorer was told."""
        restored = self.restore_slices(degraded, modality, scale=scale)
        bright = bright_slices(degraded, modality, scale=scale)
        if self.above_range == "keep" or bright is None:
            return restored
        again = self.restore_slices(degraded[bright.index], modality, scale=bright.scale)
        return with_bright_voxels(restored, degraded, again, bright, modality, scale=scale)

    def restore_slices(self, degraded: Slices, modality: Modality, *, scale: float = 1.0) -> Slices:
        """Slices [n, H, W] in physical units restored, units and size kept.

        scale: the scan's intensity scale, undone in the answer. Voxels outside the modelling range
        come back unchanged.
        """
        degraded = np.asarray(degraded, np.float32)
        restored = np.empty_like(degraded)
        for part in _batches(degraded):
            images = self._forward(to_network(degraded[part], modality, scale=scale))
            restored[part] = from_network(images, degraded[part], modality, scale=scale)
        return restored

    def restore_slice(self, degraded: Slices, modality: Modality, *, scale: float = 1.0) -> Slices:
        """One slice [H, W], as `restore_slices`."""
        restored: Slices = self.restore_slices(degraded[None], modality, scale=scale)[0]
        return restored

    @torch.inference_mode()
    def _forward(self, images: Slices) -> Slices:
        restored = self.model(to_device(torch.from_numpy(images)[:, None], self.device)).image
        return to_host([restored[:, 0]])[0]


def _batches(slices: Slices) -> Iterator[slice]:
    """Parts of a stack that fit one forward."""
    count, height, width = slices.shape
    size = max(1, PIXELS_PER_BATCH // (height * width))
    for start in range(0, count, size):
        yield slice(start, start + size)
